//! What stands between the gateway and Dify, or in Dify's place, told to an AI client.

use http::StatusCode;
use serde_json::{Value, json};

use super::calls::events;
use super::canned::{Canned, Said, page, stream};

fn refusal(status: &'static str, fields: &str, code: &str) -> Said {
    let body = json!({"code": code, "message": "Not now.", "status": 429}).to_string();
    (status, format!("content-type: application/json\r\n{fields}"), body)
}

/// A gateway whose instance answers every run so.
async fn runs(said: Said) -> Canned {
    Canned::start("", move |line| line.starts_with("POST").then(|| said.clone())).await
}

#[tokio::test]
async fn difys_wait_reaches_the_client_and_is_not_too_long() {
    for (wait, expected) in [("17", "17"), ("86400", "300")] {
        let fields = format!("retry-after: {wait}\r\n");
        let canned = runs(refusal("429 TOO MANY REQUESTS", &fields, "too_many_requests")).await;
        for streamed in [false, true] {
            let answer = canned.ask(streamed).await;
            assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
            assert_eq!(answer.header("retry-after"), Some(expected));
        }
    }
    let canned = runs(refusal("429 TOO MANY REQUESTS", "", "too_many_requests")).await;
    assert_eq!(canned.ask(false).await.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_proxy_that_takes_no_more_bytes_is_told_as_too_large() {
    let canned = runs(page("413 Request Entity Too Large")).await;
    let answer = canned.ask(true).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    let error = answer.json()["error"].clone();
    assert_eq!(error["code"], "request_too_large");
    assert!(error["message"].as_str().unwrap().contains("too large for Dify"), "{error}");
}

#[tokio::test]
async fn a_server_that_redirects_is_named_and_where_to_is_for_the_log() {
    let place = "https://elsewhere.example/signin?token=hush";
    let canned = Canned::start("", move |_| {
        Some(("302 Found", format!("location: {place}\r\n"), String::new()))
    })
    .await;
    let answer = canned.ask(false).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.json()["error"]["code"], "upstream_not_dify");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    let text = answer.text();
    assert!(text.contains("redirects") && !text.contains("elsewhere.example"), "{text}");
    let log = canned.logged().await;
    let detail = log[0]["detail"].as_str().unwrap();
    assert!(detail.contains("https://elsewhere.example/signin"), "{detail}");
    assert!(!detail.contains("hush"), "{detail}");
}

#[tokio::test]
async fn a_server_that_is_not_dify_is_named() {
    type Says = fn(&str) -> Option<Said>;
    let cases: [Says; 4] = [
        |_| Some(page("200 OK")),
        |_| Some(page("404 Not Found")),
        |line| line.starts_with("POST").then(|| page("200 OK")),
        |line| line.starts_with("POST").then(|| page("403 Forbidden")),
    ];
    for says in cases {
        let answer = Canned::start("", says).await.ask(true).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
        let error = answer.json()["error"].clone();
        assert_eq!(error["code"], "upstream_not_dify", "{error}");
        assert!(error["message"].as_str().unwrap().contains("not Dify"), "{error}");
    }
}

#[tokio::test]
async fn no_line_of_a_stream_is_longer_than_clients_can_read() {
    let text = "\"Grüße\"\n你好 ".repeat(12_000);
    let ids = json!({"task_id": uuid::Uuid::nil().to_string(), "message_id": uuid::Uuid::nil().to_string(),
        "conversation_id": uuid::Uuid::nil().to_string(), "created_at": 1});
    let event = |more: Value| {
        let mut event = ids.clone();
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let said = stream(&[
        event(json!({"event": "message", "answer": text})),
        event(json!({"event": "message_end", "metadata": {}})),
    ]);
    let canned = runs(said).await;
    let answer = canned.ask(true).await;
    let events = events(&answer);
    assert!(events.iter().all(|event| event.len() < 64 << 10));
    let told: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(told, text);
}
