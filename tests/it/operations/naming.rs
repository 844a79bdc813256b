//! Which file a command is about, which gateway it asks, and what of either it needs to know.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::rig::process::{Process, difys, text};
use crate::rig::{chat, configuration, send};

const GOOD: &str = "apps: { shop: { user_tokens: [usertoken--shop], instances: \
    [{ name: a, host: h, token: app-key-of-a, max_concurrent: 10 }] } }\n";

/// Runs the program in a folder, with these variables and nothing that names a configuration.
fn run_in(folder: &Path, vars: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
    for name in ["DIFYGATE_CONFIG", "DIFYGATE_ADMIN_TOKEN", "MODEL_CONFIG", "DIFY_API_BASE"] {
        command.env_remove(name);
    }
    command.args(arguments).envs(vars.iter().copied()).current_dir(folder).output().unwrap()
}

async fn run(folder: &Path, vars: &[(&str, &str)], arguments: &[&str]) -> Output {
    let owned = |text: &str| text.to_owned();
    let (folder, vars): (_, Vec<_>) =
        (folder.to_owned(), vars.iter().map(|(name, value)| (owned(name), owned(value))).collect());
    let arguments: Vec<_> = arguments.iter().copied().map(owned).collect();
    let work = move || {
        let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
        run_in(&folder, &vars, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[test]
fn the_file_is_named_in_one_way_and_found_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let checked = |vars: &[(&str, &str)], arguments: &[&str]| {
        let output = run_in(folder.path(), vars, &[&["check"], arguments].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, said) = checked(&[], &[]);
    assert!(code == 2 && said.contains("no such file") && said.contains("difygate init"), "{said}");
    for name in ["here.yaml", "variable.yaml", "difygate.yaml"] {
        std::fs::write(folder.path().join(name), GOOD).unwrap();
    }
    let variable = [("DIFYGATE_CONFIG", "variable.yaml")];
    for (vars, arguments, taken) in [
        (&[][..], &[][..], "difygate.yaml"),
        (&variable, &[], "variable.yaml"),
        (&variable, &["here.yaml"], "here.yaml"),
        (&variable, &["-c", "here.yaml"], "here.yaml"),
        (&[("DIFYGATE_CONFIG", "")], &["--config", "here.yaml"], "here.yaml"),
        (&[("DIFYGATE_CONFIG", "")], &[], "difygate.yaml"),
    ] {
        let (code, said, error) = checked(vars, arguments);
        assert!(code == 0 && said.starts_with(&format!("{taken} is valid")), "{said}{error}");
    }
    assert_eq!(checked(&[], &["here.yaml", "-c", "here.yaml"]).0, 2);
    assert_eq!(checked(&[("DIFYGATE_CONFIG", "nothing.yaml")], &[]).0, 2);
    // The others take it in the same two ways: here nobody listens where it says.
    let nobody = format!("admin: {{ listen: 127.0.0.1:1 }}\n{GOOD}");
    std::fs::write(folder.path().join("nobody.yaml"), nobody).unwrap();
    for command in
        [&["status"][..], &["explain", "--app", "a"], &["conversations", "list"], &["plan"]]
    {
        for named in [&["nobody.yaml"][..], &["-c", "nobody.yaml"]] {
            let output = run_in(folder.path(), &[], &[command, named].concat());
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{command:?} {said}");
            assert!(said.contains("no gateway answers at 127.0.0.1:1"), "{command:?} {said}");
        }
    }
}

/// A gateway whose secrets only its own environment has.
async fn secretive(admin_token: &str) -> (Process, Vec<dify_sim::Dify>) {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let written = configuration(&difys, "", "")
        .replace("token: app-shop-1", "token: \"${SHOP_KEY}\"")
        .replace("[usertoken--flow]", "[\"file:flow-token\"]")
        .replace(
            "admin: { listen: 127.0.0.1:0",
            &format!("admin: {{ listen: 127.0.0.1:0{admin_token}"),
        );
    std::fs::write(folder.path().join("difygate.yaml"), written).unwrap();
    std::fs::write(folder.path().join("flow-token"), "usertoken--flow").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
    command.args(["serve", "-c"]).arg(folder.path().join("difygate.yaml"));
    command.env("SHOP_KEY", "app-shop-1").env("ADMIN", "admin-secret");
    (Process::run(command, folder).await, difys)
}

/// The file of that gateway as an operator has it: with its admin listener, without its secrets.
fn as_operators_see_it(gateway: &Process) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let written = std::fs::read_to_string(&gateway.config).unwrap();
    let written = written
        .replace("admin: { listen: 127.0.0.1:0", &format!("admin: {{ listen: {}", gateway.admin));
    std::fs::write(folder.path().join("difygate.yaml"), written).unwrap();
    folder
}

#[tokio::test]
async fn operators_ask_a_gateway_without_its_secrets() {
    let (gateway, _difys) = secretive("").await;
    assert_eq!(send(gateway.listen, chat("alice")).await.status, 200);
    let folder = as_operators_see_it(&gateway);
    for (command, word) in [
        (&["status"][..], "dify1"),
        (&["explain", "--app", "shop", "--user", "alice"], "alice of shop goes to dify1"),
        (&["conversations", "list"], "0 of 0 conversations"),
    ] {
        let output = run(folder.path(), &[], command).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output.stdout).contains(word), "{output:?}");
        // Which gateway that is, where nobody has named it.
        let from = format!("the gateway at {} (difygate.yaml)", gateway.admin);
        assert!(text(&output.stderr).contains(&from), "{output:?}");
    }
    let output = run(folder.path(), &[], &["plan"]).await;
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.contains("Not known here, and not compared: SHOP_KEY, file:flow-token"), "{said}");
    // The files differ in the port of the listener alone.
    assert!(said.contains("admin.listen") && !said.contains("token: changed"), "{said}");
    // What is known is compared.
    let output = run(folder.path(), &[("SHOP_KEY", "app-other")], &["plan"]).await;
    assert!(text(&output.stdout).contains("token: changed"), "{output:?}");
    // What is no secret is needed.
    let path = folder.path().join("difygate.yaml");
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("workers: \"${{HOW_MANY}}\"\n{written}")).unwrap();
    let output = run(folder.path(), &[], &["plan"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("`HOW_MANY` is not set"), "{output:?}");
    assert_eq!(run(folder.path(), &[], &["status"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_gateway_that_wants_its_token_says_so_and_the_exit_code_does() {
    let (gateway, _difys) = secretive(", token: \"${ADMIN}\"").await;
    let folder = as_operators_see_it(&gateway);
    for command in
        [&["status"][..], &["explain", "--app", "shop"], &["conversations", "list"], &["plan"]]
    {
        let output = run(folder.path(), &[], command).await;
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        let with_token = run(folder.path(), &[("DIFYGATE_ADMIN_TOKEN", "admin-secret")], command);
        assert_eq!(with_token.await.status.code(), Some(0), "{command:?}");
    }
    let output = run(folder.path(), &[], &["status"]).await;
    assert!(
        text(&output.stderr).contains("names an environment variable that is not set here"),
        "{output:?}"
    );
    let admin = gateway.admin.to_string();
    let named = ["status", "--admin", &admin, "--admin-token", "admin-secret", "--json"];
    let output = run(folder.path(), &[], &named).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["status"], "running", "{output:?}");
}

#[test]
fn every_command_says_its_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let all = text(&run_in(folder.path(), &[], &["--help"]).stdout);
    for code in 0..6 {
        assert!(all.contains(&format!("  {code}  ")), "{all}");
    }
    for command in ["serve", "check", "plan", "status", "explain", "conversations", "health"] {
        let help = text(&run_in(folder.path(), &[], &[command, "--help"]).stdout);
        assert!(help.contains("Exit codes: 0"), "{help}");
    }
}

#[test]
fn shells_and_man_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&run_in(folder.path(), &[], &["--help"]).stdout);
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: Vec<_> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 12, "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = run_in(folder.path(), &[], &["completions", shell]);
        assert_eq!(script.status.code(), Some(0));
        let script = text(&script.stdout);
        for command in &commands {
            assert!(script.contains(command), "{shell} {command}");
        }
        assert!(script.contains("allow-missing-env"), "{shell}");
        if shell == "bash" {
            let path = folder.path().join("script");
            std::fs::write(&path, script).unwrap();
            let read = Command::new("bash").arg("-n").arg(&path).output().unwrap();
            assert!(read.status.success(), "{read:?}");
        }
    }
    let written = run_in(folder.path(), &[], &["man", "pages/of"]);
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    let page =
        |name: &str| std::fs::read_to_string(folder.path().join("pages/of").join(name)).unwrap();
    assert!(page("difygate.1").contains(".TH difygate 1"));
    for command in &commands {
        assert!(page(&format!("difygate-{command}.1")).contains(".SH SYNOPSIS"), "{command}");
    }
    assert!(page("difygate-check.1").contains("Exit codes"));
    assert_eq!(run_in(folder.path(), &[], &["man", "/dev/null/pages"]).status.code(), Some(3));
    assert_eq!(run_in(folder.path(), &[], &["completions", "sh"]).status.code(), Some(2));
}
