//! The program itself: its commands, its signals, its memory, and the clients people use.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::rig::process::{Process, difygate, difys};
use crate::rig::{TOKEN, chat, configuration, open, request, send, stream, upload};

#[tokio::test]
async fn sigterm_lets_the_running_stream_end_and_exits_with_0() {
    let difys = difys(1).await;
    let mut gateway = Process::start(&difys, "").await;
    let running = open(gateway.listen, stream("alice", 20, 0.05)).await.unwrap();
    gateway.signal(Signal::TERM);
    let text = http_body_util::BodyExt::collect(running.into_body()).await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("message_end"));
    assert_eq!(gateway.ended().await, Some(0));
    let log = std::fs::read_to_string(&gateway.log).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test]
async fn a_second_sigterm_ends_it_at_once() {
    let difys = difys(1).await;
    let mut gateway = Process::start(&difys, "").await;
    let _running = open(gateway.listen, stream("alice", 10_000, 0.05)).await.unwrap();
    gateway.signal(Signal::TERM);
    // Signals of one kind that come together are one signal, so the second follows the first's effect.
    while send(gateway.admin, request("GET", "/status").body("").unwrap()).await.json()["status"]
        != "draining"
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().await, Some(4));
}

#[tokio::test]
async fn sighup_reloads_and_sigusr1_opens_the_log_again() {
    let difys = difys(2).await;
    let mut gateway = Process::start(&difys, "").await;
    gateway.signal(Signal::HUP);
    let line = gateway.said.recv().await.unwrap();
    assert!(line.ends_with("reloaded: nothing changed"), "{line}");
    let rotated = gateway.log.with_extension("1");
    std::fs::rename(&gateway.log, &rotated).unwrap();
    gateway.signal(Signal::USR1);
    while !gateway.log.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_broken_file_is_logged_once_and_changes_nothing() {
    let difys = difys(1).await;
    let mut gateway = Process::start(&difys, "").await;
    let text = std::fs::read_to_string(&gateway.config).unwrap();
    std::fs::write(&gateway.config, text.replace("instances:", "instnaces:")).unwrap();
    let line = gateway.said.recv().await.unwrap();
    assert!(line.contains("reload refused") && line.contains("difygate.yaml:"), "{line}");
    assert_eq!(send(gateway.listen, chat("alice")).await.status, 200);
    // What is mended is taken, and nothing was said in between but the findings of one refusal.
    std::fs::write(&gateway.config, text).unwrap();
    loop {
        let line = gateway.said.recv().await.unwrap();
        assert!(!line.contains("reload refused"), "{line}");
        if line.contains("reloaded") {
            break;
        }
    }
}

#[tokio::test]
async fn each_request_has_one_line_in_the_log_and_no_secret_is_in_it() {
    let difys = difys(2).await;
    let mut gateway = Process::start(&difys, "").await;
    send(gateway.listen, chat("alice")).await;
    send(gateway.listen, request("GET", "/nothing").body("").unwrap()).await;
    let body = open(gateway.listen, stream("bob", 10_000, 0.05)).await.unwrap();
    drop(body);
    let health = http::Request::get("/health").body("").unwrap();
    send(gateway.listen, health).await;
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().await, Some(0));
    let log = std::fs::read_to_string(&gateway.log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut reasons: Vec<_> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["answered", "client_gone", "local", "no_route"], "{log}");
    let chat = lines.iter().find(|line| line["reason"] == "answered").unwrap();
    assert_eq!((&chat["app"], &chat["user"]), (&Value::from("shop"), &Value::from("alice")));
    assert!(chat["instance"].as_str().unwrap().starts_with("dify"));
    assert!(chat["first_byte_ms"].as_f64().unwrap() <= chat["duration_ms"].as_f64().unwrap());
    assert!(!log.contains(TOKEN) && !log.contains("app-shop"), "{log}");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_port_is_an_error() {
    let difys = difys(1).await;
    let gateway = Process::start(&difys, "").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("second.yaml");
    let text = configuration(&difys, "", "")
        .replace("listen: 127.0.0.1:0\n", &format!("listen: {}\n", gateway.listen));
    std::fs::write(&path, text).unwrap();
    let second = difygate(&["serve", "-c", path.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("cannot listen on") && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn an_upload_of_20_mib_costs_less_than_2_mib_of_memory() {
    let difys = difys(3).await;
    let gateway = Process::start(&difys, "workers: 1").await;
    let home = send(gateway.listen, chat("alice")).await.instance();
    // A small upload first, so that what a first request costs once is not counted.
    send(
        gateway.listen,
        upload(&[("file", Some("a.txt"), &[b'x'; 600_000]), ("user", None, b"alice")]),
    )
    .await;
    let before = gateway.resident_kib();
    let content = vec![b'x'; 14 << 20];
    let answer = send(
        gateway.listen,
        upload(&[("file", Some("a.txt"), &content), ("user", None, b"alice")]),
    )
    .await;
    assert_eq!((answer.status.as_u16(), answer.instance()), (201, home.clone()), "{answer:?}");
    let content = vec![b'x'; 20 << 20];
    let image = [("file", Some("a.mp4"), &content[..]), ("user", None, &b"alice"[..])];
    let answer = send(gateway.listen, upload(&image)).await;
    // The kernel counts memory roughly, so the peak may even seem to fall.
    let grown = gateway.resident_kib().saturating_sub(before);
    println!(
        "20 MiB upload, user after the file: {} at {}, peak memory +{grown} KiB over {before} KiB",
        answer.status,
        answer.instance()
    );
    assert_eq!(answer.instance(), home);
    assert!(grown < 2048, "{grown} KiB");
}

#[test]
fn check_says_where_a_file_is_wrong_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.yaml");
    let good = "apps:\n  shop:\n    user_tokens: [t-secret]\n    instances: [{ name: a, host: h, token: k-secret }]\n";
    std::fs::write(&path, good).unwrap();
    let checked = difygate(&["check", path.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(
        String::from_utf8_lossy(&checked.stdout).contains("is valid: 1 app, 1 token, 1 instance\n")
    );

    std::fs::write(&path, good.replace("token: k-secret", "tokn: k-secret, weight: 0")).unwrap();
    let checked = difygate(&["check", path.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(2));
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        said.contains("gateway.yaml:4:") && said.contains("tokn") && !said.contains("secret"),
        "{said}"
    );

    let json = difygate(&["check", "--json", path.to_str().unwrap()]);
    assert_eq!(json.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["valid"], false);
    assert_eq!(report["findings"][0]["line"], 4);
}

#[test]
fn schema_is_json_and_help_is_there_for_every_command() {
    let schema = difygate(&["schema"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["apps"].is_object(), "{schema}");
    for command in ["serve", "check", "schema", "import", "status", "health", "demo", "sim"] {
        let help = difygate(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(help.stdout.len() > 100, "{command}");
    }
    assert_eq!(difygate(&["srve"]).status.code(), Some(2));
    let nowhere = difygate(&["status", "--admin", "127.0.0.1:1"]);
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("is it running"));
}

#[tokio::test]
async fn status_prints_a_table_and_json() {
    let difys = difys(2).await;
    let gateway = Process::start(&difys, "").await;
    send(gateway.listen, chat("alice")).await;
    let admin = gateway.admin.to_string();
    let table = tokio::task::spawn_blocking({
        let admin = admin.clone();
        move || difygate(&["status", "--admin", &admin])
    });
    let table = table.await.unwrap();
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert_eq!(table.status.code(), Some(0), "{text}");
    assert!(text.contains("shop  dify1") && text.contains("healthy"), "{text}");
    let json =
        tokio::task::spawn_blocking(move || difygate(&["status", "--admin", &admin, "--json"]));
    let json: Value = serde_json::from_slice(&json.await.unwrap().stdout).unwrap();
    assert_eq!(json["stats"]["total_requests"], 1);
}

#[tokio::test]
async fn health_exits_with_0_when_the_answer_is_200_and_with_1_when_it_is_not() {
    let difys = difys(1).await;
    let gateway = Process::start(&difys, "").await;
    let ask = async |url: String| {
        let arguments = move || difygate(&["health", "--url", &url]);
        tokio::task::spawn_blocking(arguments).await.unwrap()
    };
    for url in [format!("http://{}/health", gateway.listen), format!("{}/health", difys[0].url())] {
        let asked = ask(url).await;
        assert_eq!(
            (asked.status.code(), &asked.stdout[..]),
            (Some(0), &b"healthy\n"[..]),
            "{asked:?}"
        );
    }
    for (url, why) in [
        (format!("http://{}/nothing", gateway.listen), "answers 404"),
        ("http://127.0.0.1:1/health".to_owned(), "nothing listens"),
    ] {
        let asked = ask(url).await;
        let said = String::from_utf8_lossy(&asked.stderr);
        assert!(asked.status.code() == Some(1) && said.contains(why), "{asked:?}");
    }
    // The kernel accepts for a program that never reads.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = ask(format!("http://{}/health", silent.local_addr().unwrap())).await;
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.code() == Some(1) && said.contains("in 2 s"), "{asked:?}");
    assert_eq!(ask("https://127.0.0.1/health".to_owned()).await.status.code(), Some(2));
}

#[test]
fn sim_listens_where_it_is_told() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_difygate"))
        .args(["sim", "--listen", "127.0.0.2", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept open: the program ends when nobody reads what it prints.
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let url = line.split_whitespace().find(|word| word.starts_with("http://127.0.0.2:"));
    let asked = url.map(|url| difygate(&["health", "--url", &format!("{url}/health")]));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(asked.expect(&line).status.code(), Some(0));
}

/// The folder of the Python environment that `make test` prepares.
fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/bin/python")
}

#[tokio::test]
async fn difys_own_python_client_and_curl_work_through_the_gateway() {
    assert!(python().exists(), "the client is missing: `make clients` installs it");
    let difys = difys(3).await;
    let gateway = Process::start(&difys, "").await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/dify_client_turn.py");
    let url = format!("http://{}/v1", gateway.listen);
    let ran =
        tokio::process::Command::new(python()).arg(script).arg(&url).arg(TOKEN).output().await;
    let ran = ran.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    println!("{said}");

    let body = r#"{"inputs": {}, "query": "hello", "response_mode": "streaming", "user": "alice"}"#;
    let curl = tokio::process::Command::new("curl")
        .args(["-sSN", "--fail", "-H", "Content-Type: application/json", "-d", body])
        .args(["-H", &format!("Authorization: Bearer {TOKEN}"), &format!("{url}/chat-messages")])
        .output()
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&curl.stdout).contains("message_end"), "{curl:?}");
}
