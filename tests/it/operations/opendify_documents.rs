//! What the documents of OpenDify have: its files and variables, as they are written there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use dify_sim::{Dify, Fault};
use http::Request;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::opendify::{ANY_PORT, base, difygate, ran};
use crate::rig::process::{Process, difys};
use crate::rig::{Answer, send};

/// The file that OpenDify's script writes, with a free port.
fn generated(dify: &Dify) -> String {
    format!(
        "# .env.production\nDIFY_API_BASE=\"{}\"\n\
         MODEL_CONFIG='{{\"shop\":\"app-shop-1\",\"flow\":\"app-flow-1\"}}'\n\
         SERVER_HOST=\"0.0.0.0\"\nSERVER_PORT=0\n",
        base(dify)
    )
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What stands in the n-th pair of backticks behind a text.
fn quoted(said: &str, behind: &str) -> String {
    let rest = said.split_once(behind).unwrap_or_else(|| panic!("{said}")).1;
    rest.split('`').nth(1).unwrap().to_owned()
}

async fn models(gateway: &Process, key: Option<&str>) -> Answer {
    let mut request = Request::get("/v1/models");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    send(gateway.listen, request.body("").unwrap()).await
}

async fn ask(gateway: &Process) -> Answer {
    let body = json!({ "model": "shop", "messages": [{ "role": "user", "content": "hello" }] });
    let request = Request::post("/v1/chat/completions").header("content-type", "application/json");
    send(gateway.listen, request.body(body.to_string()).unwrap()).await
}

#[tokio::test]
async fn the_generated_file_serves_once_the_line_that_is_printed_is_added() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env.production");
    write(&file, &generated(&difys[0]));
    let arguments = ["serve", "--env-file", ".env.production"];
    let (status, said) = ran(folder.path(), &arguments, &ANY_PORT);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("`SERVER_HOST` lets other machines in without any key"), "{said}");
    let line = quoted(&said, "add one line to .env.production:");
    write(&file, &format!("{}{line}\n", generated(&difys[0])));
    let key = line.strip_prefix("VALID_API_KEYS=").unwrap().to_owned();
    let command = difygate(folder.path(), &arguments, &ANY_PORT);
    let gateway = Process::run(command, folder).await;
    let listed = models(&gateway, Some(&key)).await;
    assert_eq!(listed.json()["data"][1]["id"], "flow", "{listed:?}");
    assert_eq!(models(&gateway, None).await.status, 401);
}

#[tokio::test]
async fn the_generated_file_serves_as_it_is_where_only_this_machine_reaches_it() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join(".env.production"), &generated(&difys[0]));
    let arguments = ["serve", "--env-file", ".env.production"];
    let local = [&ANY_PORT[..], &[("SERVER_HOST", "127.0.0.1")]].concat();
    let gateway = Process::run(difygate(folder.path(), &arguments, &local), folder).await;
    // What OpenDify's health check asked for.
    assert_eq!(models(&gateway, None).await.status, 200);
    assert_eq!(ask(&gateway).await.status, 200);
}

#[tokio::test]
async fn what_the_compose_file_sets_is_honoured_or_named_once_as_not_needed() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let base = base(&difys[0]);
    let vars = [
        ("MODEL_CONFIG", "{\"shop\":\"app-shop-1\"}"),
        ("DIFY_API_BASE", &base),
        ("ENVIRONMENT", "production"),
        ("GUNICORN_WORKERS", "4"),
        ("GUNICORN_RELOAD", "false"),
        ("GUNICORN_MAX_REQUESTS", "2000"),
        ("CONVERSATION_MEMORY_MODE", "1"),
        ("LOG_LEVEL", "info"),
        ("VALID_API_KEY", "sk-one"),
    ];
    let vars = [&vars[..], &ANY_PORT].concat();
    let (status, said) = ran(folder.path(), &["check"], &vars);
    assert_eq!(status, Some(0), "{said}");
    let asked = quoted(&said, "`VALID_API_KEY` is set, and nothing reads it");
    assert_eq!(asked, "VALID_API_KEYS", "{said}");
    let note = said.lines().find(|line| line.starts_with("note: not needed here:")).expect(&said);
    let names = "`CONVERSATION_MEMORY_MODE`, `GUNICORN_MAX_REQUESTS`, `GUNICORN_RELOAD`. ";
    assert!(note.contains(names), "{note}");

    let command = difygate(folder.path(), &["serve"], &vars);
    let mut gateway = Process::run(command, folder).await;
    // A thread names itself when it runs.
    let workers = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap();
        let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
        names.filter(|name| name.as_ref().is_ok_and(|name| name.starts_with("worker-"))).count()
    };
    let all = async {
        while workers() != 4 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), all).await.unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    gateway.says("reloaded").await;
    assert_eq!(gateway.said("not needed here"), 0);
}

#[tokio::test]
async fn the_start_names_once_what_is_not_needed() {
    let folder = tempfile::tempdir().unwrap();
    let vars = [
        ("MODEL_CONFIG", "{\"shop\":\"app-shop-1\"}"),
        ("DIFY_API_BASE", "http://127.0.0.1:1/v1"),
        ("GUNICORN_RELOAD", "true"),
    ];
    // A port that cannot be taken, so that it ends by itself.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let vars = [&vars[..], &[("SERVER_PORT", &port), ("DIFYGATE_ADMIN_LISTEN", "127.0.0.1:0")]];
    let (status, said) = ran(folder.path(), &["serve"], &vars.concat());
    assert_eq!(status, Some(3), "{said}");
    assert_eq!(said.matches("not needed here: `GUNICORN_RELOAD`").count(), 1, "{said}");
    assert!(said.contains("(`SERVER_HOST` and `SERVER_PORT`)"), "{said}");
}

#[tokio::test]
async fn development_is_a_log_of_details_and_a_file_that_is_read_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env.development");
    let text = |model: &str| {
        format!(
            "ENVIRONMENT=development\nGUNICORN_RELOAD=true\nGUNICORN_WORKERS=1\n\
                 MODEL_CONFIG={{\"{model}\": \"app-shop-1\"}}\nDIFY_API_BASE=http://127.0.0.1:1/v1\n"
        )
    };
    write(&file, &text("shop"));
    let arguments = ["serve", "--env-file", ".env.development"];
    let command = difygate(folder.path(), &arguments, &ANY_PORT);
    let mut gateway = Process::run(command, folder).await;
    assert!(!ask(&gateway).await.status.is_success());
    let line = gateway.says("DEBUG").await;
    assert!(line.contains("instance 127.0.0.1:1"), "{line}");
    write(&file, &text("stock"));
    gateway.says("reloaded: ").await;
    assert_eq!(models(&gateway, None).await.json()["data"][0]["id"], "stock");
}

#[tokio::test]
async fn the_timeout_of_opendifys_client_is_that_of_a_run() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let base = base(&difys[0]);
    let vars = [
        ("MODEL_CONFIG", "{\"shop\":\"app-shop-1\"}"),
        ("DIFY_API_BASE", &*base),
        ("HTTP_TIMEOUT", "0.5"),
    ];
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let gateway = Process::run(command, folder).await;
    assert_eq!(ask(&gateway).await.status, 200);
    // Without the variable this would take twenty minutes.
    difys[0].set_fault(Fault::Slow(Duration::from_secs(600))).await.unwrap();
    let answer = ask(&gateway).await;
    assert_eq!(answer.status, 504, "{answer:?}");
}

#[tokio::test]
async fn an_env_file_fills_a_configuration_file_and_is_watched_with_it() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let yaml = "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\napps:\n  shop:\n    \
                user_tokens: [\"${CLIENT}\"]\n    instances: [{ name: one, url: \"${DIFY}\", token: app-shop-1 }]\n";
    write(&folder.path().join("gateway.yaml"), yaml);
    let file = folder.path().join("gateway.env");
    let text = |client: &str| format!("CLIENT={client}\nDIFY={}\n", difys[0].url());
    write(&file, &text("token-one"));
    let arguments = ["serve", "--config", "gateway.yaml", "--env-file", "gateway.env"];
    // What the process has itself counts before the file.
    let (status, said) = ran(
        folder.path(),
        &["check", "gateway.yaml", "--env-file", "gateway.env"],
        &[("DIFY", "nowhere")],
    );
    assert!(status == Some(2) && said.contains("`url` has no scheme"), "{said}");
    let command = difygate(folder.path(), &arguments, &[]);
    let mut gateway = Process::run(command, folder).await;
    let info = async |token: &str, gateway: &Process| {
        let request = Request::get("/v1/info").header("authorization", format!("Bearer {token}"));
        send(gateway.listen, request.body("").unwrap()).await.status
    };
    assert_eq!(info("token-one", &gateway).await, 200);
    write(&file, &text("token-two"));
    gateway.says("reloaded: ").await;
    assert_eq!(info("token-two", &gateway).await, 200);
    assert_eq!(info("token-one", &gateway).await, 401);
}

#[test]
fn an_env_file_that_others_may_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let others = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), others).unwrap();
    let file = folder.path().join(".env");
    let text = "MODEL_CONFIG={\"shop\": \"app-shop-1\"}\nDIFY_API_BASE=http://127.0.0.1:1/v1\n";
    for (mode, warned) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let (status, said) = ran(folder.path(), &["check"], &[]);
        assert_eq!(status, Some(0), "{said}");
        assert_eq!(said.contains("chmod 600 .env"), warned, "{mode:o}: {said}");
    }
}
