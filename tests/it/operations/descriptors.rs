//! A gateway that may open too few files.

use std::process::{Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::rig::process::{Process, difys};
use crate::rig::{chat, configuration, raw, send};

const PATIENCE: Duration = Duration::from_secs(20);
const CANNOT: &str = "cannot accept connections";

/// What a shell runs in the gateway's place: the same with a limit that it cannot raise.
fn limited(files: u32, config: &std::path::Path) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {files} && exec \"$0\" serve -c \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_difygate")]).arg(config);
    command
}

#[tokio::test]
async fn a_limit_too_low_for_the_configuration_is_said_at_the_start() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("difygate.yaml");
    let settings = "limits: { max_connections: 500 }\n";
    std::fs::write(&config, configuration(&difys, settings, "")).unwrap();
    let ran = limited(300, &config).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success(), "{said}");
    assert!(said.contains("needs 1128 open files, but this process may open 300"), "{said}");
    assert!(said.contains("lower `max_connections` to 86"), "{said}");
}

#[tokio::test]
async fn more_clients_than_the_limit_has_room_for_wait_for_their_turn() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("difygate.yaml");
    std::fs::write(&config, configuration(&difys, "access_log: off\nworkers: 1\n", "")).unwrap();
    // Room for (140 − 128) / 2.
    let mut gateway = Process::run(limited(140, &config), folder).await;
    let mut first = Vec::new();
    for _ in 0..6 {
        first.push(TcpStream::connect(gateway.listen).await.unwrap());
    }
    let waiting = tokio::spawn(send(gateway.listen, chat("anna")));
    // Nothing must come meanwhile.
    sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    first.pop();
    let answer = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(gateway.said(CANNOT), 0);
}

#[tokio::test]
async fn without_descriptors_it_rests_and_then_serves_again() {
    let difys = difys(1).await;
    let mut gateway = Process::start(&difys, "workers: 1\nprobe: { enabled: false }").await;
    // Who is connected stays so.
    let stream = TcpStream::connect(gateway.listen).await.unwrap();
    let (mut kept, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut health = || {
        let request = http::Request::get("/health").header("host", "g");
        kept.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap())
    };
    health().await.unwrap().into_body().collect().await.unwrap();

    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).unwrap().count();
    let pid = Pid::from_raw(gateway.id().try_into().unwrap());
    let few = |current: usize| Rlimit { current: Some(current as u64), maximum: Some(4096) };
    prlimit(pid, Resource::Nofile, few(open + 8)).unwrap();
    let mut crowd = Vec::new();
    for _ in 0..32 {
        crowd.push(TcpStream::connect(gateway.listen).await.unwrap());
    }
    timeout(PATIENCE, gateway.says(CANNOT)).await.unwrap();

    // The least of several, since what else happens to fall into one is no matter.
    let mut shares = Vec::new();
    for _ in 0..3 {
        let (began, before) = (std::time::Instant::now(), gateway.cpu());
        // The CPU time of a while is the subject; of a shorter one it is too coarse.
        sleep(Duration::from_millis(500)).await;
        shares.push((gateway.cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64());
    }
    assert!(shares.iter().any(|share| *share < 0.05), "{shares:?}");
    assert_eq!(gateway.said(CANNOT), 0, "once is enough");
    assert_eq!(health().await.unwrap().status(), 200);

    drop(crowd);
    let get = b"GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";
    let answer = timeout(PATIENCE, raw(gateway.listen, get)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(send(gateway.listen, chat("anna")).await.status, 200);
}
