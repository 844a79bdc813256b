//! More than one API process over a database, and nginx in front.

use crate::client::Client;
use crate::{ask, events, get, newer, post, setup};
use dify_sim::{Dify, Fault, Pace, Release};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn apis_over_one_database_know_the_same_and_break_each_on_its_own() {
    let one = Dify::start(newer(Release::Main)).await.unwrap();
    let two = one.start_beside(anywhere()).await.unwrap();
    let body = json!({"inputs": {}, "query": "x", "response_mode": "blocking", "user": "alice"});
    let first = ask(&one, &post("/v1/chat-messages", "chat", &body)).await;
    let first: Value = serde_json::from_slice(&first.body).unwrap();
    let mut more = body.clone();
    more["conversation_id"] = first["conversation_id"].clone();
    one.set_fault(Fault::Refused).await.unwrap();
    let second = ask(&two, &post("/v1/chat-messages", "chat", &more)).await;
    assert!(second.head.starts_with("HTTP/1.1 200"), "{}", second.head);
    drop(one);
    let flow = json!({"inputs": {"text": "x"}, "response_mode": "streaming", "user": "alice"});
    let streamed = ask(&two, &post("/v1/workflows/run", "workflow", &flow)).await;
    assert_eq!(events(&streamed).last().unwrap()["event"], "workflow_finished");
}

#[tokio::test]
async fn a_stream_passes_through_nginx_and_the_connection_stays() {
    let dify = Dify::start(setup().with_nginx()).await.unwrap();
    let body = json!({"inputs": {}, "query": "a b", "response_mode": "streaming", "user": "alice"});
    let mut client = Client::send(dify.addr(), &post("/v1/chat-messages", "chat", &body)).await;
    for _ in 0..2 {
        client.read_all("POST").await;
        assert!(client.complete);
        assert!(client.head.contains("Server: nginx/"), "{}", client.head);
        assert_eq!(events(&client).last().unwrap()["event"], "message_end");
        client.forget_answer();
        client.write(&post("/v1/chat-messages", "chat", &body)).await;
    }
}

#[tokio::test]
async fn nginx_shows_the_web_page_for_what_is_not_the_api() {
    let dify = Dify::start(setup().with_nginx()).await.unwrap();
    let mut client = Client::send(dify.addr(), &get("/", "")).await;
    for (status, next) in [("200 OK", "/health"), ("404 Not Found", "/v1/info"), ("200 OK", "/")] {
        client.read_all("GET").await;
        assert!(client.head.starts_with(&format!("HTTP/1.1 {status}")), "{}", client.head);
        client.forget_answer();
        client.write(&get(next, "chat")).await;
    }
}

#[tokio::test]
async fn nginx_answers_itself_for_a_lost_api_and_a_body_too_long() {
    for (release, limit) in [(Release::V1_5, 15), (Release::Main, 100)] {
        let dify = Dify::start(newer(release).with_nginx()).await.unwrap();
        for (megabytes, status) in [(limit, "HTTP/1.1 100"), (limit + 1, "HTTP/1.1 413")] {
            let head = format!(
                "POST /v1/files/upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                 Content-Length: {}\r\n\r\n",
                megabytes * 1024 * 1024
            );
            let mut client = Client::send(dify.addr(), head.as_bytes()).await;
            if status.ends_with("413") {
                client.read_all("POST").await;
                assert!(client.head.starts_with(status), "{}", client.head);
                assert!(String::from_utf8_lossy(&client.body).contains("Too Large"));
            }
        }
        dify.set_fault(Fault::Refused).await.unwrap();
        let answer = ask(&dify, &get("/v1/info", "chat")).await;
        assert!(answer.head.starts_with("HTTP/1.1 502 Bad Gateway"), "{}", answer.head);
        assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"));
    }
}

#[tokio::test]
async fn nginx_gives_up_on_an_api_that_takes_no_connection() {
    let pace = Pace { second: Duration::from_millis(5), ..Pace::default() };
    let dify = Dify::start(setup().with_pace(pace).with_nginx()).await.unwrap();
    dify.set_fault(Fault::BlackHole).await.unwrap();
    let answer = ask(&dify, &get("/v1/info", "chat")).await;
    assert!(answer.head.starts_with("HTTP/1.1 504 Gateway Time-out"), "{}", answer.head);
}

#[tokio::test]
async fn the_api_hears_from_nginx_who_asks() {
    let dify = Dify::start(setup().with_nginx()).await.unwrap();
    ask(&dify, &get("/v1/info", "chat")).await;
    let served = dify.served();
    let name = |name: &str| {
        let found = served[0].headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(name("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(name("X-Forwarded-Port"), Some(dify.addr().port().to_string().as_str()));
}

#[tokio::test]
async fn who_leaves_nginx_leaves_the_api() {
    let pace = Pace { ping_interval: Duration::from_millis(50), ..Pace::default() };
    let dify = Dify::start(setup().with_pace(pace).with_nginx()).await.unwrap();
    let body = json!({"inputs": {}, "query": "tokens 9 3600", "response_mode": "streaming",
        "user": "alice"});
    let mut client = Client::send(dify.addr(), &post("/v1/chat-messages", "chat", &body)).await;
    client.read_chunks(1).await;
    assert_eq!(dify.open_connections(), 1);
    drop(client);
    tokio::time::timeout(Duration::from_secs(5), dify.wait_for_open(0)).await.unwrap();
}
