//! The control server of the command line.

use crate::client::Client;
use crate::dify;
use dify_sim::{Fault, control};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpListener;

async fn call(addr: SocketAddr, method: &str, path: &str, body: &str) -> (String, Value) {
    let request =
        format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut client = Client::send(addr, request.as_bytes()).await;
    client.read_all(method).await;
    let status = client.head.split(' ').nth(1).unwrap().to_owned();
    (status, serde_json::from_slice(&client.body).unwrap())
}

#[tokio::test]
async fn instances_are_listed_broken_and_healed_by_name() {
    let one = dify().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(control(listener, vec![("one".to_owned(), one.clone())]));
    let (status, list) = call(addr, "GET", "/instances", "").await;
    assert_eq!(status, "200");
    let expected = json!([{"name": "one", "url": one.url(), "fault": "none", "served": 0,
        "open_connections": 0}]);
    assert_eq!(list, expected);
    let body = r#"{"fault": "status", "value": 503}"#;
    let (status, now) = call(addr, "POST", "/instances/one/fault", body).await;
    assert_eq!(
        (status.as_str(), &now["fault"], &now["value"]),
        ("200", &json!("status"), &json!(503))
    );
    assert_eq!(one.fault(), Fault::Status(503));
    call(addr, "POST", "/instances/one/fault", r#"{"fault": "none"}"#).await;
    assert_eq!(one.fault(), Fault::None);
}

#[tokio::test]
async fn runs_are_listed_by_name() {
    let one = dify().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(control(listener, vec![("one".to_owned(), one.clone())]));
    let body = json!({"inputs": {"query": "hello"}, "user": "alice"});
    crate::ask(&one, &crate::post("/v1/completion-messages", "completion", &body)).await;
    let (status, runs) = call(addr, "GET", "/instances/one/runs", "").await;
    assert_eq!((status.as_str(), runs.as_array().unwrap().len()), ("200", 1));
    let said = (&runs[0]["user"], &runs[0]["inputs"]["query"], &runs[0]["end"]);
    assert_eq!(said, (&json!("alice"), &json!("hello"), &json!("succeeded")));
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let one = dify().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(control(listener, vec![("one".to_owned(), one)]));
    for (method, path, body, status, text) in [
        ("GET", "/", "", "404", "/instances"),
        ("POST", "/instances", "", "405", "GET"),
        ("GET", "/instances/one/fault", "", "405", "POST"),
        ("POST", "/instances/one/runs", "", "405", "GET"),
        ("GET", "/instances/two/runs", "", "404", "two"),
        ("POST", "/instances/two/fault", "{}", "404", "two"),
        ("POST", "/instances/one/fault", "{", "400", "JSON"),
        ("POST", "/instances/one/fault", "{}", "400", "frozen"),
        ("POST", "/instances/one/fault", r#"{"fault": "cut_after"}"#, "400", "bytes"),
    ] {
        let (got, answer) = call(addr, method, path, body).await;
        assert_eq!(got, status, "{method} {path}");
        assert!(answer["error"].as_str().unwrap().contains(text), "{answer}");
    }
}
