//! A balancer's Lua configuration becomes a gateway's.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use http::StatusCode;

use crate::rig::{Rig, chat, send};

fn import(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
    command.arg("import").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn an_imported_configuration_serves() {
    let rig = Rig::start(2).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config.lua");
    let mut lua = std::fs::read_to_string(data).unwrap();
    for (port, dify) in ["5001", "5002"].into_iter().zip(&rig.difys) {
        let url = dify.url();
        lua = lua.replace(port, url.trim_end_matches('/').rsplit_once(':').unwrap().1);
    }
    std::fs::write(at("config.lua"), lua).unwrap();

    let done = import(&[&at("config.lua"), "--output", &at("difygate.yaml")]);
    let said = text(&done.stderr);
    assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(0), ""), "{said}");
    assert!(said.starts_with(&format!("wrote {}", at("difygate.yaml"))), "{said}");
    let mode = std::fs::metadata(at("difygate.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let written = std::fs::read_to_string(at("difygate.yaml")).unwrap();
    assert!(written.contains("probe: { interval: 10s, timeout: 5s }"), "{written}");
    assert!(written.contains("${SUMMARY_TOKEN:-usertoken--document-summary}"), "{written}");
    let written = written
        .replace("usertoken--cs-2", crate::rig::TOKEN)
        .replace("listen: 0.0.0.0:82 ", "listen: 127.0.0.1:0 ")
        .replace("admin:\n", "admin:\n  listen: 127.0.0.1:0\n");
    std::fs::write(at("served.yaml"), written).unwrap();
    let path = folder.path().join("served.yaml");
    let loaded = config::load(&path, &Environment::default()).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.apps[0].instances[1].weight, 2);
    let gateway = Gateway::start(loaded.config, path, None).await.unwrap();
    assert_eq!(send(gateway.listen(), chat("alice")).await.status, StatusCode::OK);
}

#[test]
fn an_output_that_exists_is_replaced_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let lua = "return { apps = { a = { user_tokens = { 't' }, instances = { { name = 'd', host = 'h', token = 'k' } } } } }";
    std::fs::write(at("config.lua"), lua).unwrap();
    std::fs::write(at("out.yaml"), "mine").unwrap();
    let refused = import(&[&at("config.lua"), "-o", &at("out.yaml")]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("--force"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(at("out.yaml")).unwrap(), "mine");
    assert_eq!(
        import(&[&at("config.lua"), "-o", &at("out.yaml"), "--force"]).status.code(),
        Some(0)
    );
    let printed = import(&[&at("config.lua")]);
    assert_eq!(text(&printed.stdout), std::fs::read_to_string(at("out.yaml")).unwrap());
    let mode = std::fs::metadata(at("out.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_cannot_be_understood_is_named_without_its_secrets_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.lua");
    let path = path.to_str().unwrap();
    let lua = "return { apps = { a = { user_tokens = { 't-secret' }, instances = { { name = 'd', host = 'h', token = key('k-secret') } } } } }";
    std::fs::write(path, lua).unwrap();
    let refused = import(&[path]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("config.lua:1:103: error: the value of `token`"), "{said}");
    assert!(said.contains("hint") && !said.contains("secret"), "{said}");

    // What is Lua and yet no configuration that may be served.
    std::fs::write(path, lua.replace("key('k-secret')", "'k-secret', weight = 0")).unwrap();
    let refused = import(&[path]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("config.lua:1:124: error: `weight`"), "{said}");
    assert!(!said.contains("the result") && !said.contains("secret"), "{said}");
    assert!(refused.stdout.is_empty());

    assert_eq!(import(&["/nowhere/config.lua"]).status.code(), Some(2));
}

/// An import of what comes on standard input.
fn piped(lua: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
    command.args(["import", "-"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lua).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn standard_input_is_read_and_what_is_wrong_with_a_value_is_placed_there() {
    let lua = "config.applications = {\n  shop = {\n    user_tokens = { 't', 't' },\n    instances = {\n      \
        { name = 'd', host = 'h', port = 70000, token = 'k', max_fails = 0 },\n      { name = 'd', host = 'i' },\n    },\n  },\n}\n\
        config.consistent_hash = { virtual_nodes = 0 }\n";
    let refused = piped(lua.as_bytes());
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for place in [
        "standard input:3:26: error: ",
        "standard input:5:40: error: `port`",
        "standard input:6:7: error: ",
        "standard input:6:16: error: ",
        "standard input:10:44: error: `virtual_nodes`",
    ] {
        assert!(said.contains(place), "{place}\n{said}");
    }
    assert!(!said.contains("the result"), "{said}");

    let good = "config.applications = { shop = { user_tokens = { 't' }, instances = { { name = 'd', host = 'h', token = 'k' } } } }";
    let done = piped(good.as_bytes());
    assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(0), ""));
    assert!(text(&done.stdout).starts_with("# Made of standard input by `difygate import`."));
    let stray = piped(format!("{good}`").as_bytes());
    assert_eq!(stray.status.code(), Some(2));
    assert!(
        text(&stray.stderr)
            .contains(&format!("standard input:1:{}: error: a backtick", good.len() + 1))
    );
}
