//! Connections: slots, keep-alive, pipelining, bodies.

use crate::client::Client;
use crate::{ask, dify, get, post, setup};
use dify_sim::{Dify, Mode};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test]
async fn one_connection_more_than_slots_hangs_until_one_closes() {
    let dify = Dify::start(setup().with_slots(2)).await.unwrap();
    let stream = json!({"inputs": {}, "query": "tokens 9 3600", "response_mode": "streaming",
        "user": "u"});
    let mut first = Client::send(dify.addr(), &post("/v1/chat-messages", "chat", &stream)).await;
    let mut second = Client::send(dify.addr(), &post("/v1/chat-messages", "chat", &stream)).await;
    first.read_chunks(1).await;
    second.read_chunks(1).await;
    let mut third = Client::send(dify.addr(), &get("/health", "")).await;
    let hanging = tokio::time::timeout(Duration::from_millis(200), third.read_head()).await;
    assert!(hanging.is_err(), "answered without a slot");
    assert_eq!((dify.open_connections(), dify.accepted_connections()), (2, 2));
    // A stopped run ends its stream; the connection then idles, and its close frees the slot.
    let task: Value = serde_json::from_str(&first.chunks[0][6..]).unwrap();
    drop(first);
    drop(second);
    assert!(task["task_id"].is_string());
    dify.set_fault(dify_sim::Fault::Killed).await.unwrap();
    dify.set_fault(dify_sim::Fault::None).await.unwrap();
    assert!(ask(&dify, &get("/health", "")).await.head.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_slot_is_free_again_when_a_connection_closes() {
    let dify = Dify::start(setup().with_slots(1)).await.unwrap();
    let idle = Client::send(dify.addr(), b"").await;
    dify.wait_for_open(1).await;
    let mut waiting = Client::send(dify.addr(), &get("/health", "")).await;
    drop(idle);
    waiting.read_all("GET").await;
    assert!(waiting.head.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_two_seconds() {
    let dify = dify().await;
    let mut client = Client::send(dify.addr(), &get("/health", "")).await;
    client.read_all("GET").await;
    let start = Instant::now();
    assert!(client.is_closed(Duration::from_secs(10)).await);
    let idle = start.elapsed();
    assert!(idle >= Duration::from_millis(1900) && idle < Duration::from_secs(4), "{idle:?}");
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let dify = dify().await;
    let mut bytes = get("/health", "");
    bytes.extend(get("/v1/", ""));
    let mut client = Client::send(dify.addr(), &bytes).await;
    client.read_all("GET").await;
    assert!(String::from_utf8_lossy(&client.body).contains("\"pid\""));
    client.forget_answer();
    client.read_all("GET").await;
    assert!(String::from_utf8_lossy(&client.body).contains("Dify OpenAPI"));
    let served = dify.served();
    assert_eq!(served.len(), 2);
    assert_eq!(served[0].connection, served[1].connection);
}

#[tokio::test]
async fn a_big_upload_is_counted_and_not_kept() {
    let dify = dify().await;
    let content = vec![b'x'; 12 * 1024 * 1024];
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
        Content-Type: text/plain\r\n\r\n";
    let end = "\r\n--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nbob\r\n--b--\r\n";
    let length = head.len() + content.len() + end.len();
    let mut bytes = format!(
        "POST /v1/files/upload HTTP/1.1\r\nAuthorization: Bearer chat\r\nContent-Type: \
         multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n{head}"
    )
    .into_bytes();
    bytes.extend_from_slice(&content);
    bytes.extend_from_slice(end.as_bytes());
    let answer = ask(&dify, &bytes).await;
    assert!(answer.head.starts_with("HTTP/1.1 201 CREATED"), "{}", answer.head);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["size"], content.len());
    let served = &dify.served()[0];
    assert_eq!((served.body_bytes, served.body.len()), (length as u64, 64 * 1024));
    assert_eq!((served.user.as_deref(), served.status), (Some("bob"), 201));
}

#[tokio::test]
async fn a_wrong_key_is_refused_before_the_body_and_the_connection_serves_on() {
    let dify = dify().await;
    let head = "POST /v1/files/upload HTTP/1.1\r\nAuthorization: Bearer wrong\r\nContent-Type: \
        multipart/form-data; boundary=b\r\nContent-Length: 300000\r\n\r\n";
    let mut client = Client::send(dify.addr(), head.as_bytes()).await;
    client.read_all("POST").await;
    assert!(client.head.starts_with("HTTP/1.1 401 UNAUTHORIZED"));
    client.forget_answer();
    client.write(&vec![b'x'; 300_000]).await;
    client.write(&get("/health", "")).await;
    client.read_all("GET").await;
    assert!(client.head.starts_with("HTTP/1.1 200"));
    assert_eq!(dify.served()[0].body_bytes, 300_000);
}

#[tokio::test]
async fn a_refused_body_that_never_comes_ends_the_connection() {
    let setup = setup().with_keep_alive(Duration::from_millis(100));
    let dify = Dify::start(setup).await.unwrap();
    let head = "POST /v1/chat-messages HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
    let mut client = Client::send(dify.addr(), head.as_bytes()).await;
    client.read_all("POST").await;
    assert!(client.head.starts_with("HTTP/1.1 401"));
    assert!(client.is_closed(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn what_was_served_can_be_waited_for_and_forgotten() {
    let dify = dify().await;
    let blocking = json!({"inputs": {"query": "x"}, "user": 7});
    let mut client =
        Client::send(dify.addr(), &post("/v1/completion-messages?a=b", "completion", &blocking))
            .await;
    dify.wait_for_served(1).await;
    client.read_all("POST").await;
    let served = dify.served();
    assert_eq!(served[0].method, "POST");
    assert_eq!(served[0].path, "/v1/completion-messages?a=b");
    assert_eq!(served[0].key.as_deref(), Some(Mode::Completion.name()));
    assert_eq!(served[0].user.as_deref(), Some("7"));
    assert_eq!(served[0].body, blocking.to_string().as_bytes());
    assert_eq!(served[0].headers[0], ("Host".to_owned(), "a".to_owned()));
    dify.clear_served();
    assert!(dify.served().is_empty());
}
