//! The admin listener among clients that do it no good.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rig::process::{Process, difys};
use crate::rig::{Plan, chat, configuration, raw, send};

const PATIENCE: Duration = Duration::from_secs(20);
const STATUS: &[u8] = b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

/// Holds half a request open on each of `count` connections.
async fn crowd(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        // Some are closed at once, for want of a place.
        let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHost: a").await;
        crowd.push(stream);
    }
    crowd
}

/// How many descriptors a process has open.
fn open(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

#[tokio::test]
async fn half_requests_of_the_admin_side_take_nothing_from_clients() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("difygate.yaml");
    std::fs::write(&config, configuration(&difys, "access_log: off\nworkers: 1\n", "")).unwrap();
    let mut command = Command::new("sh");
    let script = "ulimit -n 1024 && exec \"$0\" serve -c \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_difygate")]).arg(&config).stdin(Stdio::null());
    let mut gateway = Process::run(command, folder).await;
    let before = open(gateway.id());
    // More than it may have open, in parts that are as many as one of the test's own may have.
    for _ in 0..3 {
        let crowd = crowd(gateway.admin, 400).await;
        assert_eq!(send(gateway.listen, chat("anna")).await.status, 200);
        let answer = timeout(PATIENCE, raw(gateway.admin, STATUS)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let taken = open(gateway.id()) - before;
        assert!(taken < 64, "{taken} descriptors");
        drop(crowd);
    }
    assert_eq!(gateway.said("cannot accept"), 0);
}

#[tokio::test]
async fn clients_of_the_gateway_take_nothing_from_the_admin_side() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("difygate.yaml");
    std::fs::write(&config, configuration(&difys, "access_log: off\nworkers: 1\n", "")).unwrap();
    let mut command = Command::new("sh");
    let script = "ulimit -n 256 && exec \"$0\" serve -c \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_difygate")]).arg(&config).stdin(Stdio::null());
    let mut gateway = Process::run(command, folder).await;
    let _clients = crowd(gateway.listen, 300).await;
    for _ in 0..3 {
        let answer = timeout(PATIENCE, raw(gateway.admin, STATUS)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(gateway.said("cannot accept"), 0);
}

#[tokio::test]
async fn a_half_request_of_the_admin_side_has_an_end() {
    let rig = Plan::new(1).without_probes().start().await;
    let mut half = crowd(rig.gateway.admin(), 1).await.pop().unwrap();
    // Ten seconds, and a machine that is busy with other tests.
    let ended = timeout(Duration::from_secs(60), half.read(&mut [0; 16])).await.unwrap();
    assert_eq!(ended.unwrap_or(0), 0);
}

#[tokio::test]
async fn allow_closes_the_admin_listener_neither_to_its_machine_nor_to_a_token() {
    let rig = Plan::new(1).without_probes().start().await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let with = |admin: &str| text.replace("admin: { listen: 127.0.0.1:0 }", admin);
    let reload = async |admin: &str| {
        std::fs::write(&rig.config_path, with(admin)).unwrap();
        rig.gateway.reloader().reload().await.unwrap();
    };
    // The loopback may ask where there is no token, whatever else may.
    reload("admin: { listen: 127.0.0.1:0, allow: [10.0.0.0/8] }").await;
    assert_eq!(
        send(rig.gateway.admin(), Request::get("/status").body("").unwrap()).await.status,
        200
    );
    // With one, a client must be heard before it is known what it shows.
    reload("admin: { listen: 127.0.0.1:0, token: admin-secret }").await;
    assert_eq!(
        send(rig.gateway.admin(), Request::get("/status").body("").unwrap()).await.status,
        403
    );
    assert_eq!(
        send(rig.gateway.admin(), Request::get("/health").body("").unwrap()).await.status,
        200
    );
}

async fn asks(addr: SocketAddr, line: &str, fields: &str) -> String {
    let request = format!("{line} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
    timeout(PATIENCE, raw(addr, request.as_bytes())).await.unwrap()
}

#[tokio::test]
async fn a_web_page_cannot_drive_the_admin_side() {
    let rig = Plan::new(1).without_probes().start().await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let hosts = "admin: { listen: 127.0.0.1:0, hosts: [gate.example.com] }";
    std::fs::write(&rig.config_path, text.replace("admin: { listen: 127.0.0.1:0 }", hosts))
        .unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    let generation = || rig.gateway.shared().snapshot().generation;
    let before = generation();
    let refused = [
        ("421", "GET /status", "Host: evil.example\r\n"),
        ("421", "GET /metrics", "Host: localhost.evil.example:9090\r\n"),
        ("421", "POST /reload-config", "Host: evil.example\r\n"),
        ("403", "POST /reload-config", "Host: localhost\r\nOrigin: http://evil.example\r\n"),
        ("403", "POST /reload-config", "Host: localhost\r\nOrigin: null\r\n"),
        ("403", "POST /reload-config", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n"),
        ("403", "POST /conversations/cleanup", "Host: localhost\r\nSec-Fetch-Site: same-site\r\n"),
        ("403", "GET /reload-config", "Host: difygate:9090\r\n"),
        ("403", "GET /reload-config", "Host: gate.example.com\r\n"),
        ("403", "GET /reload-config", "Host: localhost\r\nReferer: http://evil.example/\r\n"),
        ("403", "HEAD /reload-config", "Host: localhost\r\nSec-Fetch-Site: none\r\n"),
    ];
    for (status, line, fields) in refused {
        let answer = asks(rig.gateway.admin(), line, fields).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line} {fields} {answer}");
    }
    let named = asks(rig.gateway.admin(), "GET /status", "Host: new.example.com:9090\r\n").await;
    assert!(named.contains("admin: { hosts: [new.example.com] }"), "{named}");
    assert_eq!(generation(), before);
    let served = [
        ("GET /status", "Host: difygate:9090\r\n"),
        ("GET /metrics", "Host: difygate.prod.svc:9090\r\n"),
        ("GET /status", "Host: gate.example.com\r\n"),
        ("GET /ready", "Host: evil.example\r\n"),
        ("GET /health", "Host: evil.example\r\n"),
        ("POST /reload-config", "Host: difygate\r\nContent-Length: 0\r\n"),
        ("POST /reload-config", "Host: localhost:1\r\nOrigin: http://localhost:1\r\n"),
        ("GET /reload-config", "Host: 127.0.0.1:9090\r\n"),
    ];
    for (line, fields) in served {
        let answer = asks(rig.gateway.admin(), line, fields).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{line} {fields} {answer}");
    }
    assert_eq!(generation(), before + 3);
}
