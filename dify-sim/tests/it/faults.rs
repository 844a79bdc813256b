//! Every fault does what it says, and healing brings the same Dify back on the same port.

use crate::client::Client;
use crate::{ask, dify, get, post, setup};
use dify_sim::{Dify, Fault, Pace};
use serde_json::json;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What comes back for a request on a new connection, up to its end, and how it ends.
async fn raw(dify: &Dify, bytes: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut stream = TcpStream::connect(dify.addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got).await.map(drop).map_err(|error| error.kind());
    (got, end)
}

fn streaming(query: &str) -> Vec<u8> {
    let body = json!({"inputs": {}, "query": query, "response_mode": "streaming", "user": "alice"});
    post("/v1/chat-messages", "chat", &body)
}

#[tokio::test]
async fn reset_is_an_rst_after_the_request() {
    let dify = dify().await;
    dify.set_fault(Fault::Reset).await.unwrap();
    let (got, end) = raw(&dify, &streaming("x")).await;
    assert_eq!((got.len(), end), (0, Err(ErrorKind::ConnectionReset)));
    assert_eq!(dify.served()[0].status, 0);
}

#[tokio::test]
async fn close_after_request_is_a_fin_without_an_answer() {
    let dify = dify().await;
    dify.set_fault(Fault::CloseAfterRequest).await.unwrap();
    let (got, end) = raw(&dify, &get("/v1/info", "chat")).await;
    assert_eq!((got.len(), end), (0, Ok(())));
}

#[tokio::test]
async fn cut_answers_end_after_exactly_the_bytes() {
    let dify = dify().await;
    for count in [1, 100, 250] {
        dify.set_fault(Fault::CutAfter(count)).await.unwrap();
        let (got, end) = raw(&dify, &get("/v1/info", "chat")).await;
        assert_eq!((got.len() as u64, end), (count, Ok(())));
        let (got, _) = raw(&dify, &streaming("x")).await;
        assert_eq!(got.len() as u64, count);
    }
}

#[tokio::test]
async fn half_heads_and_half_bodies_are_halves() {
    let dify = dify().await;
    let mut whole = Client::send(dify.addr(), &get("/v1/info", "chat")).await;
    whole.read_all("GET").await;
    let (head, body) = (whole.head.len(), whole.body.len());
    dify.set_fault(Fault::HalfHead).await.unwrap();
    let (got, _) = raw(&dify, &get("/v1/info", "chat")).await;
    assert_eq!(got.len(), head / 2);
    dify.set_fault(Fault::HalfBody).await.unwrap();
    let (got, _) = raw(&dify, &get("/v1/info", "chat")).await;
    assert_eq!(got.len(), head + body / 2);
    let (got, _) = raw(&dify, &streaming("a b c d")).await;
    let got = String::from_utf8(got).unwrap();
    assert_eq!(got.matches("\n\n\r\n").count(), 1, "one whole event: {got}");
    assert!(got.matches("data: {").count() == 2 && !got.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn garbage_is_no_http_and_a_status_is_any_status() {
    let dify = dify().await;
    dify.set_fault(Fault::Garbage).await.unwrap();
    let (got, _) = raw(&dify, &get("/health", "")).await;
    assert!(!got.is_empty() && !got.starts_with(b"HTTP"));
    dify.set_fault(Fault::Status(503)).await.unwrap();
    let answer = ask(&dify, &streaming("x")).await;
    assert!(answer.head.starts_with("HTTP/1.1 503 SERVICE UNAVAILABLE\r\n"), "{}", answer.head);
    assert_eq!(dify.served()[1].status, 503);
}

#[tokio::test]
async fn a_status_of_runs_spares_health_checks() {
    let dify = dify().await;
    dify.set_fault(Fault::RunStatus(503)).await.unwrap();
    for request in [streaming("x"), post("/v1/workflows/run", "workflow", &json!({}))] {
        let answer = ask(&dify, &request).await;
        assert!(answer.head.starts_with("HTTP/1.1 503 "), "{}", answer.head);
    }
    for request in [get("/v1/", ""), get("/v1/parameters", "chat"), get("/health", "")] {
        let answer = ask(&dify, &request).await;
        assert!(answer.head.starts_with("HTTP/1.1 200 "), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_slow_answer_comes_later() {
    let dify = dify().await;
    dify.set_fault(Fault::Slow(Duration::from_millis(200))).await.unwrap();
    let start = Instant::now();
    ask(&dify, &get("/v1/info", "chat")).await;
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_refusing_instance_comes_back_on_its_port_with_its_data() {
    let dify = dify().await;
    let chat = post("/v1/chat-messages", "chat", &json!({"inputs": {}, "query": "x", "user": "u"}));
    ask(&dify, &chat).await;
    let mut idle = Client::send(dify.addr(), b"").await;
    dify.wait_for_open(1).await;
    dify.set_fault(Fault::Refused).await.unwrap();
    let refused = TcpStream::connect(dify.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(idle.is_closed(Duration::from_secs(5)).await);
    dify.set_fault(Fault::None).await.unwrap();
    let list = ask(&dify, &get("/v1/conversations?user=u", "chat")).await;
    assert_eq!(String::from_utf8_lossy(&list.body).matches("\"name\": \"x\"").count(), 1);
}

#[tokio::test]
async fn a_killed_instance_cuts_streams_without_their_terminal_chunk() {
    let dify = dify().await;
    let mut client = Client::send(dify.addr(), &streaming("tokens 100 3600")).await;
    client.read_chunks(1).await;
    dify.set_fault(Fault::Killed).await.unwrap();
    assert_eq!(dify.open_connections(), 0);
    client.read_all("POST").await;
    assert_eq!((client.chunks.len(), client.complete), (1, false));
    assert!(TcpStream::connect(dify.addr()).await.is_err());
    dify.set_fault(Fault::None).await.unwrap();
    ask(&dify, &get("/health", "")).await;
}

#[tokio::test]
async fn a_frozen_instance_accepts_and_says_nothing_until_it_thaws() {
    let pace = Pace { between_tokens: Duration::from_millis(5), ..Pace::default() };
    let dify = Dify::start(setup().with_pace(pace)).await.unwrap();
    let mut client = Client::send(dify.addr(), &streaming("tokens 30")).await;
    client.read_chunks(2).await;
    dify.set_fault(Fault::Frozen).await.unwrap();
    let frozen = tokio::time::timeout(Duration::from_millis(300), client.read_chunks(30)).await;
    assert!(frozen.is_err(), "went on while frozen");
    let mut other = Client::send(dify.addr(), &get("/health", "")).await;
    let silent = tokio::time::timeout(Duration::from_millis(100), other.read_head()).await;
    assert!(silent.is_err(), "answered while frozen");
    dify.set_fault(Fault::None).await.unwrap();
    client.read_all("POST").await;
    assert!(client.complete && client.chunks.len() == 33);
    other.read_all("GET").await;
    assert!(other.head.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_black_hole_answers_no_connection_and_is_silent_on_open_ones() {
    let dify = dify().await;
    let mut open = Client::send(dify.addr(), b"").await;
    dify.wait_for_open(1).await;
    dify.set_fault(Fault::BlackHole).await.unwrap();
    for _ in 0..3 {
        let connect = TcpStream::connect(dify.addr());
        let unanswered = tokio::time::timeout(Duration::from_millis(200), connect).await;
        assert!(unanswered.is_err(), "{unanswered:?}");
    }
    open.write(&get("/health", "")).await;
    let silent = tokio::time::timeout(Duration::from_millis(200), open.read_head()).await;
    assert!(silent.is_err(), "answered out of a black hole");
    dify.set_fault(Fault::None).await.unwrap();
    open.read_all("GET").await;
    assert!(open.head.starts_with("HTTP/1.1 200"));
    ask(&dify, &get("/health", "")).await;
}

#[tokio::test]
async fn every_fault_may_follow_every_other() {
    let dify = dify().await;
    let faults = [Fault::BlackHole, Fault::Killed, Fault::Frozen, Fault::Refused, Fault::Stopped];
    for first in faults {
        for second in faults {
            dify.set_fault(first).await.unwrap();
            dify.set_fault(second).await.unwrap();
            assert_eq!(dify.fault(), second);
        }
    }
    dify.set_fault(Fault::None).await.unwrap();
    ask(&dify, &get("/health", "")).await;
}

#[tokio::test]
async fn a_polite_stop_lets_streams_finish() {
    let pace = Pace { between_tokens: Duration::from_millis(5), ..Pace::default() };
    let dify = Dify::start(setup().with_pace(pace)).await.unwrap();
    let mut client = Client::send(dify.addr(), &streaming("tokens 30")).await;
    client.read_chunks(1).await;
    dify.set_fault(Fault::Stopped).await.unwrap();
    assert!(TcpStream::connect(dify.addr()).await.is_err());
    client.read_all("POST").await;
    assert!(client.complete);
    dify.finished().await;
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_instance() {
    let dify = dify().await;
    let addr = dify.addr();
    let mut client = Client::send(addr, &streaming("tokens 100 3600")).await;
    client.read_chunks(1).await;
    drop(dify);
    client.read_all("POST").await;
    assert!(!client.complete);
    assert!(TcpStream::connect(addr).await.is_err());
}
