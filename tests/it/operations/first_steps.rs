//! From nothing to an answer: `init`, `check --ask`, `status`, `demo`.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::rig::process::{Process, command, difygate, difys, text};
use crate::rig::{chat, configuration, send};

const PROGRAM: &str = env!("CARGO_BIN_EXE_difygate");

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn check_asks_every_instance_with_every_key() {
    let difys = difys(3).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    let good = configuration(&difys, "", "");
    std::fs::write(&path, &good).unwrap();
    let named = path.to_str().unwrap();
    let asked = command(&["check", "--ask", named]).await;
    let said = text(&asked.stdout);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    assert_eq!(said.lines().filter(|line| line.contains("good")).count(), 6, "{said}");
    // No run was started, and each key was used.
    for dify in &difys {
        let served: Vec<_> = dify.served().into_iter().map(|served| served.path).collect();
        assert!(
            served.iter().all(|path| path == "/v1/info" || path == "/v1/parameters"),
            "{served:?}"
        );
        assert_eq!(served.len(), 4, "{served:?}");
    }

    let wrong = good
        .replace("token: app-shop-2", "token: app-of-nobody-secret")
        .replace("token: app-shop-3", "token: app-flow-3")
        .replace(
            &format!("\"{}\", token: app-flow-1", difys[0].url()),
            "\"http://127.0.0.1:1\", token: app-flow-1",
        );
    std::fs::write(&path, wrong).unwrap();
    let asked = command(&["check", "--ask", named]).await;
    let said = text(&asked.stdout);
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    assert!(said.contains("shop/dify2: it refuses `token` (unauthorized: "), "{said}");
    assert!(said.contains("shop/dify3: its key opens an app of mode workflow"), "{said}");
    assert!(said.contains("flow/dify1: it does not answer: "), "{said}");
    assert!(!said.contains("nobody-secret"), "{said}");
    let asked = command(&["check", "--ask", "--json", named]).await;
    let report: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let list = report["asked"].as_array().unwrap();
    let wrong: Vec<_> = list.iter().filter(|one| one["good"] == false).collect();
    assert_eq!((list.len(), wrong.len(), asked.status.code()), (6, 3, Some(1)), "{report}");
}

#[tokio::test]
async fn status_says_that_an_instance_refuses_its_key() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    let wrong = configuration(&difys, "", "").replace("token: app-shop-1", "token: app-of-nobody");
    std::fs::write(&path, &wrong).unwrap();
    let mut serve = Command::new(PROGRAM);
    serve.args(["serve", "-c"]).arg(&path);
    let mut gateway = Process::run(serve, folder).await;
    let admin = gateway.admin.to_string();
    let status = async || text(&command(&["status", "--admin", &admin]).await.stdout);
    assert!(!status().await.contains("refused its key"));
    for _ in 0..2 {
        assert_eq!(send(gateway.listen, chat("alice")).await.status, 401);
    }
    let said = status().await;
    assert!(said.contains("shop/dify1: hint: it refused its key 2 times (401)"), "{said}");
    assert!(said.contains("check --ask") && !said.contains("app-of-nobody"), "{said}");
    let log = gateway.says("refuses the key of app shop (401)").await;
    assert_eq!(log.matches("refuses the key").count(), 1, "{log}");
    // A configuration that is refused is told until one is taken in; a new key is another matter.
    let refused = "the configuration on disk is refused since";
    assert!(!said.contains(refused), "{said}");
    std::fs::write(&path, wrong.replace("url:", "urll:")).unwrap();
    gateway.says("reload refused").await;
    let said = status().await;
    assert!(said.contains(refused) && said.contains("run `difygate check`"), "{said}");
    std::fs::write(&path, wrong.replace("app-of-nobody", "app-shop-1")).unwrap();
    gateway.says("reloaded: ").await;
    let said = status().await;
    assert!(!said.contains(refused) && !said.contains("refused its key"), "{said}");
}

#[test]
fn init_writes_a_file_for_its_owner_alone_that_can_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], vars: &[(&str, &str)]| {
        let mut init = Command::new(PROGRAM);
        init.arg("init").args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        for name in ["MODEL_CONFIG", "DIFY_API_BASE", "VALID_API_KEYS"] {
            init.env_remove(name);
        }
        init.envs(vars.iter().copied()).output().unwrap()
    };
    // Nobody to be asked.
    let output = run(&[], &[]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("--app NAME=KEY@URL"));
    let apps = [
        "--app",
        "shop=app-secret@http://10.0.0.1:5001/v1",
        "--app",
        "智能客服=app-2@10.0.0.2:5001",
    ];
    let output = run(&apps, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!text(&output.stdout).contains("app-secret"), "{output:?}");
    let path = folder.path().join("difygate.yaml");
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(
        written.contains("url: \"http://10.0.0.1:5001\"")
            && written.contains("# What clients send")
    );
    let checked = difygate(&["check", path.to_str().unwrap()]);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");

    let again = run(&["--app", "other=app-3@h"], &[]);
    assert_eq!(again.status.code(), Some(3));
    assert!(text(&again.stderr).contains("`--force` replaces it"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(run(&["--force", "--app", "other=app-3@h"], &[]).status.code(), Some(0));
    assert!(std::fs::read_to_string(&path).unwrap().contains("\"other\""));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(run(&["--force", "--app", "other"], &[]).status.code(), Some(2));
    let wrong = run(&["wrong.yaml", "--app", "other=app-3@http://h:99999"], &[]);
    assert!(
        wrong.status.code() == Some(2) && !folder.path().join("wrong.yaml").exists(),
        "{wrong:?}"
    );

    let vars = [
        ("MODEL_CONFIG", "{\"gpt 4\": \"app-1\", \"shop\": \"app-2\"}"),
        ("DIFY_API_BASE", "http://10.0.0.1/v1,http://10.0.0.2:5001/v1"),
        ("VALID_API_KEYS", "sk-of-a-client"),
    ];
    let output = run(&["env.yaml", "--from-env"], &vars);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = text(&output.stdout);
    assert!(told.contains("From now on env.yaml counts: OpenDify's variables"), "{told}");
    assert!(told.contains("`gpt 4` is app `gpt-4-"), "{told}");
    let path = folder.path().join("env.yaml");
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    for part in
        ["sk-of-a-client", "gpt 4", "http://10.0.0.1:80", "10.0.0.2:5001", "users: open_webui"]
    {
        assert!(written.contains(part), "{part}: {written}");
    }
    let checked = difygate(&["check", path.to_str().unwrap()]);
    assert!(text(&checked.stdout).contains("2 apps, 1 key, 4 instances"), "{checked:?}");
    assert_eq!(run(&["no.yaml", "--from-env"], &[]).status.code(), Some(2));
}

/// The lines that a program prints, as they come.
struct Told {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Told {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (lines, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|line| lines.send(line).is_ok())
        });
        Self { child, lines: told }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).expect("it prints no more")
    }

    /// The lines up to the first with this text.
    fn until(&self, text: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !lines.last().unwrap().contains(text) {
            lines.push(self.line());
        }
        lines
    }

    /// Tells it to end, as Ctrl-C does.
    fn interrupted(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn status_is_shown_again_and_again_until_it_is_interrupted() {
    let difys = difys(1).await;
    let gateway = Process::start(&difys, "").await;
    let mut watch = Command::new(PROGRAM);
    watch.args(["status", "--watch=50ms", "--admin", &gateway.admin.to_string()]);
    let told = Told::start(watch);
    tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            let lines = told.until("flow");
            // Nobody sees colours who has no terminal.
            assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:?}");
        }
        assert_eq!(told.interrupted(), Some(0));
    })
    .await
    .unwrap();
}

#[test]
fn colour_is_for_terminals_and_no_color_takes_it_away() {
    // `script` gives a program a terminal.
    let shown = |no_color: &str| {
        let mut script = Command::new("script");
        let check = format!("{PROGRAM} check /nowhere.yaml");
        script.args(["-qec", &check, "/dev/null"]).env("NO_COLOR", no_color).env("TERM", "xterm");
        text(&script.stdin(Stdio::null()).output().unwrap().stdout)
    };
    let (coloured, plain) = (shown(""), shown("1"));
    assert!(coloured.contains("\u{1b}[") && coloured.contains("no such file"), "{coloured:?}");
    assert!(!plain.contains('\u{1b}') && plain.contains("no such file"), "{plain:?}");
}

/// The shell commands of a text that talk to `/v1`.
fn commands_in(welcome: &[String]) -> Vec<String> {
    let text = welcome.join("\n").replace("\\\n", "");
    let lines = text.lines().map(str::trim);
    let calls = lines.filter(|line| line.starts_with("curl") && line.contains("/v1/"));
    calls.map(str::to_owned).collect()
}

#[test]
fn the_demos_commands_work_as_printed_and_its_lines_are_in_order_of_time() {
    let mut demo = Command::new(PROGRAM);
    demo.args(["demo", "--port", "0"]);
    let told = Told::start(demo);
    let welcome = told.until("Who answers whom");
    let commands = commands_in(&welcome);
    let paths = [
        "chat-messages",
        "chat-messages",
        "chat/completions",
        "/v1/messages",
        "files/upload",
        "workflows/run",
    ];
    assert_eq!(commands.len(), paths.len(), "{commands:#?}");
    std::fs::write("/tmp/hello.txt", "hello\n").unwrap();
    for (command, path) in commands.iter().zip(paths) {
        assert!(command.contains(path), "{command}");
        let ran =
            Command::new("sh").args(["-c", &format!("{command} --fail -sS")]).output().unwrap();
        assert!(ran.status.success() && ran.stdout.len() > 20, "{command}: {ran:?}");
    }
    let ends: Vec<_> = paths
        .iter()
        .map(|path| {
            let line = told.until(path.trim_start_matches("/v1/")).pop().unwrap();
            line.split(' ').next().unwrap().to_owned()
        })
        .collect();
    assert!(ends.iter().all(|time| time.len() == 8 && time.matches(':').count() == 2), "{ends:?}");
    // One asked after the other: their lines come in that order, whichever workers had them.
    assert!(ends.is_sorted() || ends.iter().any(|time| time.starts_with("00:")), "{ends:?}");
    assert_eq!(told.interrupted(), Some(0));
}
