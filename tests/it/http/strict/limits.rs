//! What is ambiguous or malformed is refused, and nobody hangs: the table of cases in `requests` and
//! `answers`, and what takes time or a configuration of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Plan, Rig, TOKEN, raw, requests};

pub(super) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[tokio::test]
async fn a_head_that_is_not_finished_in_time_is_408() {
    let rig = Plan::new(1).with("timeouts: { header: 500ms }").start().await;
    let began = Instant::now();
    let answer = raw(rig.addr(), b"GET /v1/info HTTP/1.1\r\nHost: g\r\nX-Slow: ").await;
    assert_eq!(status(&answer), "408", "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["status"], 408);
    assert!(began.elapsed() < Duration::from_secs(10), "that is the default");
}

#[tokio::test]
async fn a_body_that_stands_still_is_408() {
    let rig = Plan::new(1).with("timeouts: { body: 300ms }").start().await;
    let request = format!(
        "POST /v1/chat-messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let answer = raw(rig.addr(), request.as_bytes()).await;
    assert_eq!(status(&answer), "408", "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_but_not_by_the_header_timeout() {
    let rig = Plan::new(1).with("timeouts: { header: 100ms, keep_alive: 2s }").start().await;
    let mut stream = TcpStream::connect(rig.addr()).await.unwrap();
    let get = b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n";
    let mut answer = [0; 4096];
    for _ in 0..2 {
        stream.write_all(get).await.unwrap();
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        // The time is the subject: a worker looks every 250 ms, and must find nothing to close.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let closed = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await;
    assert_eq!(closed.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn forwarded_headers_of_strangers_are_replaced_and_of_proxies_kept() {
    let header = |rig: &Rig, name: &str| {
        let served = requests(&rig.difys[0]);
        let headers = &served.last().unwrap().headers;
        headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let request = format!(
        "GET /v1/info HTTP/1.1\r\nHost: dify.example.com\r\nAuthorization: Bearer {TOKEN}\r\n\
         X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Request-ID: mine-1\r\n\
         Connection: close, X-Secret\r\nX-Secret: 1\r\n\r\n"
    );
    let rig = Rig::start(1).await;
    let answer = raw(rig.addr(), request.as_bytes()).await;
    assert!(answer.contains("x-request-id: mine-1"), "{answer}");
    assert_eq!(header(&rig, "x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(header(&rig, "x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(header(&rig, "x-forwarded-host").as_deref(), Some("dify.example.com"));
    assert_eq!(header(&rig, "x-request-id").as_deref(), Some("mine-1"));
    assert_eq!(header(&rig, "x-secret"), None);

    let rig = Plan::new(1).with("trusted_proxies: [127.0.0.1]").start().await;
    raw(rig.addr(), request.as_bytes()).await;
    assert_eq!(header(&rig, "x-forwarded-for").as_deref(), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(header(&rig, "x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(header(&rig, "x-real-ip").as_deref(), Some("192.0.2.1"));
}

#[tokio::test]
async fn a_body_that_trickles_is_408() {
    let settings = "timeouts: { body: 600ms }\nlimits: { body_rate: 1KiB }";
    let rig = Plan::new(1).with(settings).start().await;
    let mut stream = TcpStream::connect(rig.addr()).await.unwrap();
    let head = format!(
        "POST /v1/chat-messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: 100000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    // No pause is as long as `timeouts.body`, and the whole would take more than a minute.
    let told = async {
        loop {
            tokio::select! {
                read = stream.read(&mut answer) => return read.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            let _ = stream.write_all(b"x").await;
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(answer.contains("limits.body_rate"), "{answer}");
}

/// A connection that has had an answer and stays open.
async fn connected(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n").await.unwrap();
    let read = stream.read(&mut [0; 4096]).await.unwrap();
    assert!(read > 0);
    stream
}

const LAST: &[u8] = b"GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let rig = Plan::new(1).with("limits: { connections_per_address: 2 }").start().await;
    let (first, _second) = (connected(rig.addr()).await, connected(rig.addr()).await);
    let refused = raw(rig.addr(), b"").await;
    assert_eq!(status(&refused), "429", "{refused}");
    drop(first);
    let served = async {
        while status(&raw(rig.addr(), LAST).await) != "200" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap();
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_are_not_counted_together() {
    let settings = "limits: { connections_per_address: 1 }\ntrusted_proxies: [127.0.0.1]";
    let rig = Plan::new(1).with(settings).start().await;
    let _first = connected(rig.addr()).await;
    assert_eq!(status(&raw(rig.addr(), LAST).await), "200");
}
