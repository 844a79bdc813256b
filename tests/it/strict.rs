//! What is ambiguous or malformed is refused, and nobody hangs: the table of cases in `requests` and
//! `answers`, and what takes time or a configuration of its own.

mod case;
mod origin;
mod suite;
mod wire;

use std::time::{Duration, Instant};

use crate::rig::{Plan, Rig, TOKEN, raw, requests};

fn status(answer: &str) -> &str {
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
    assert!(began.elapsed() < Duration::from_secs(5));
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let rig = Plan::new(1).with("timeouts: { header: 300ms, keep_alive: 2s }").start().await;
    let mut stream = tokio::net::TcpStream::connect(rig.addr()).await.unwrap();
    let get = b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n";
    let mut answer = [0; 4096];
    for _ in 0..2 {
        stream.write_all(get).await.unwrap();
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(900)).await;
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
