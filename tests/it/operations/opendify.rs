//! `difygate serve` in the place of OpenDify: variables, and no configuration file.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dify_sim::Dify;
use http::Request;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::rig::process::{Process, difys};
use crate::rig::{Answer, requests, send};

/// The program in a folder of its own, with these variables and no others of OpenDify.
pub(super) fn difygate(folder: &Path, arguments: &[&str], vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
    command.args(arguments).current_dir(folder).stdout(Stdio::piped());
    for name in ["MODEL_CONFIG", "DIFY_API_BASE", "SERVER_HOST", "SERVER_PORT", "LOG_LEVEL"] {
        command.env_remove(name);
    }
    for name in ["RUST_LOG", "ENVIRONMENT", "STATE_DIRECTORY"] {
        command.env_remove(name);
    }
    command.envs(vars.iter().copied());
    command
}

pub(super) fn ran(
    folder: &Path,
    arguments: &[&str],
    vars: &[(&str, &str)],
) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = difygate(folder, arguments, vars).output().unwrap();
    let said = [stdout, stderr].concat();
    let said = String::from_utf8(said).unwrap();
    // A key that it makes up itself is nobody's yet.
    let keys = said.replace("VALID_API_KEYS=sk-", "");
    assert!(!keys.contains("app-shop") && !keys.contains("sk-"), "{said}");
    (status.code(), said)
}

pub(super) fn base(dify: &Dify) -> String {
    format!("{}/v1/", dify.url())
}

async fn info(gateway: &Process, key: &str, app: &str) -> Answer {
    let request = Request::get("/v1/info")
        .header("authorization", format!("Bearer {key}"))
        .header("x-difygate-app", app);
    send(gateway.listen, request.body("").unwrap()).await
}

pub(super) const ANY_PORT: [(&str, &str); 2] =
    [("SERVER_PORT", "0"), ("DIFYGATE_ADMIN_LISTEN", "127.0.0.1:0")];

#[tokio::test]
async fn the_variables_of_opendify_are_enough_to_serve() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let base = base(&difys[0]);
    let vars = [
        ("MODEL_CONFIG", "{'shop': 'app-shop-1', 'flow': 'app-flow-1',}"),
        ("DIFY_API_BASE", &base),
        ("VALID_API_KEYS", "sk-one, sk-two"),
        ("LOG_LEVEL", "INFO"),
    ];
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let gateway = Process::run(command, folder).await;
    assert_eq!(info(&gateway, "sk-one", "shop").await.json()["mode"], "chat");
    assert_eq!(info(&gateway, "sk-two", "flow").await.json()["mode"], "workflow");
    assert_eq!(info(&gateway, "sk-three", "shop").await.status, 401);
    let keys: Vec<_> = requests(&difys[0]).into_iter().filter_map(|request| request.key).collect();
    assert_eq!(keys, ["app-shop-1", "app-flow-1"]);
}

#[tokio::test]
async fn models_answer_whoever_is_on_this_machine_as_opendify_did() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let base = base(&difys[0]);
    let vars = [
        ("MODEL_CONFIG", "{'my shop': 'app-shop-1', 'flow': 'app-flow-1'}"),
        ("DIFY_API_BASE", &base),
    ];
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let gateway = Process::run(command, folder).await;
    let models = send(gateway.listen, Request::get("/v1/models").body("").unwrap()).await.json();
    let ids: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["my shop", "flow"]);
    let body = json!({ "model": "my shop", "messages": [{ "role": "user", "content": "hello" }] });
    let ask = || {
        let request = Request::post("/v1/chat/completions");
        request.header("content-type", "application/json")
    };
    for request in
        [ask().header("x-openwebui-user-id", "7"), ask().header("authorization", "Bearer x")]
    {
        let answer = send(gateway.listen, request.body(body.to_string()).unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let served = requests(&difys[0]).into_iter();
    let turns = served.filter(|request| request.path == "/v1/chat-messages");
    let users: Vec<_> =
        turns.map(|request| (request.key.unwrap(), request.user.unwrap())).collect();
    let user = |user: &str| ("app-shop-1".to_owned(), user.to_owned());
    assert_eq!(users, [user("open_webui_7"), user("open_webui_default_user")]);
}

#[tokio::test]
async fn an_env_file_is_read_and_read_again_when_it_changes() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let text = |models: &str| {
        format!(
            "# what OpenDify had\nMODEL_CONFIG={models}\nDIFY_API_BASE=\"{}\"\nSERVER_PORT=0\n\
             DIFYGATE_ADMIN_LISTEN=127.0.0.1:0\nVALID_API_KEYS=sk-one\n",
            base(&difys[0])
        )
    };
    std::fs::write(&path, text(r#"{"shop": "app-shop-1"}"#)).unwrap();
    let command = difygate(folder.path(), &["serve"], &[]);
    let mut gateway = Process::run(command, folder).await;
    assert_eq!(info(&gateway, "sk-one", "flow").await.status, 400);
    std::fs::write(&path, text(r#"{"shop": "app-shop-1", "flow": "app-flow-1"}"#)).unwrap();
    let line = gateway.says("reloaded").await;
    assert!(line.contains("the environment with .env reloaded: +flow"), "{line}");
    assert_eq!(info(&gateway, "sk-one", "flow").await.status, 200);
    std::fs::write(&path, text("{")).unwrap();
    let line = gateway.says("reload refused").await;
    assert!(line.contains("`MODEL_CONFIG` is neither JSON nor"), "{line}");
    assert_eq!(info(&gateway, "sk-one", "flow").await.status, 200);
}

#[test]
fn without_keys_nobody_listens_beyond_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let vars = [
        ("MODEL_CONFIG", r#"{"shop": "app-shop-1"}"#),
        ("DIFY_API_BASE", "http://127.0.0.1:1/v1"),
        ("SERVER_HOST", "0.0.0.0"),
    ];
    for command in ["serve", "check"] {
        let (status, said) = ran(folder.path(), &[command], &vars);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("add one line: `VALID_API_KEYS=sk-"), "{said}");
        assert!(said.contains("`ALLOW_ANONYMOUS=true`"), "{said}");
    }
}

#[tokio::test]
async fn the_log_level_is_that_of_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let vars = [
        ("MODEL_CONFIG", r#"{"shop": "app-shop-1"}"#),
        ("DIFY_API_BASE", "http://127.0.0.1:1"),
        ("LOG_LEVEL", "ERROR"),
    ];
    let mut command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let mut child = command.env_remove("RUST_LOG").stderr(Stdio::piped()).spawn().unwrap();
    // Made when it listens; that it does is said on the level `info` alone.
    let state = folder.path().join("difygate-data");
    let listens = async {
        while !state.exists() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), listens).await.unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (child.wait().unwrap().code(), said)
    });
    assert_eq!(ended.await.unwrap(), (Some(0), String::new()));
}

#[test]
fn check_and_plan_take_the_environment_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("opendify.env");
    let text = "MODEL_CONFIG={'shop': 'app-shop-1', 'a b': 'app-shop-2'}\n\
                DIFY_API_BASE=http://one:1/v1,http://two:2/v1\n";
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (status, said) = ran(folder.path(), &["check", "--env-file", "opendify.env"], &[]);
    let valid = "the environment with opendify.env is valid: 2 apps, 1 key, 4 instances\n";
    assert_eq!((status, &*said), (Some(0), valid));
    let old = "listen: 127.0.0.1:5000\napps: { shop: { user_tokens: [t], instances: [{ name: dify1, \
               url: \"http://one:1\", token: k }] } }\n";
    std::fs::write(folder.path().join("old.yaml"), old).unwrap();
    let plan = ["plan", "--env-file", "opendify.env", "--from", "old.yaml", "--json"];
    let (status, said) = ran(folder.path(), &plan, &[]);
    assert_eq!(status, Some(0), "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let apps = said["changes"]["apps"].as_array().unwrap();
    let fates: Vec<_> = apps.iter().map(|app| (&app["app"], &app["fate"])).collect();
    assert_eq!(fates[0], (&json!("shop"), &json!("changed")));
    assert_eq!((fates.len(), fates[1].1), (2, &json!("added")));
}

#[test]
fn a_configuration_file_counts_before_the_variables() {
    let folder = tempfile::tempdir().unwrap();
    let vars = [("MODEL_CONFIG", "{"), ("DIFY_API_BASE", "http://one:1")];
    let (status, said) = ran(folder.path(), &["check"], &vars);
    assert!(status == Some(2) && said.contains("`MODEL_CONFIG` is neither"), "{said}");
    let good = "apps: { a: { user_tokens: [t], instances: [{ name: i, host: h, token: k }] } }";
    std::fs::write(folder.path().join("difygate.yaml"), good).unwrap();
    let (status, said) = ran(folder.path(), &["check"], &vars);
    assert!(status == Some(0) && said.starts_with("difygate.yaml is valid"), "{said}");
    std::fs::remove_file(folder.path().join("difygate.yaml")).unwrap();
    let (status, said) = ran(folder.path(), &["check"], &[]);
    assert!(status == Some(2) && said.contains("difygate.yaml"), "{said}");
}
