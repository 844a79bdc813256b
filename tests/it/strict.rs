//! What is ambiguous or malformed is refused, and nobody hangs.

use std::time::{Duration, Instant};

use crate::rig::{Plan, Rig, TOKEN, raw, requests};

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[tokio::test]
async fn malformed_and_ambiguous_requests_are_refused() {
    let rig = Rig::start(1).await;
    let auth = format!("Authorization: Bearer {TOKEN}\r\n");
    let close = "Connection: close\r\n\r\n";
    let long = "x".repeat(9000);
    let many = "X-A: 1\r\n".repeat(101);
    let cases: Vec<(&str, String)> = vec![
        ("200", format!("GET /v1/info HTTP/1.1\r\nHost: g\r\n{auth}{close}")),
        ("200", format!("GET http://g/v1/info HTTP/1.1\r\nHost: g\r\n{auth}{close}")),
        ("200", format!("GET /v1/info HTTP/1.0\r\n{auth}\r\n")),
        ("400", format!("GET /v1/info HTTP/1.1\r\n{auth}{close}")),
        ("400", format!("GET /v1/info HTTP/1.1\r\nHost: g\r\nHost: g\r\n{auth}{close}")),
        ("400", format!("GET /v1/info HTTP/1.1\r\nHost: a b\r\n{auth}{close}")),
        ("400", format!("GET /v1/info HTTP/1.1\r\nHost : g\r\n{auth}{close}")),
        (
            "400",
            format!("POST /v1/x HTTP/1.1\r\nHost: g\r\n{auth}Content-Length: 1, 1\r\n{close}a"),
        ),
        (
            "400",
            format!(
                "POST /v1/x HTTP/1.1\r\nHost: g\r\n{auth}Content-Length: 1\r\nContent-Length: 1\r\n{close}a"
            ),
        ),
        (
            "400",
            format!(
                "POST /v1/x HTTP/1.1\r\nHost: g\r\n{auth}Content-Length: 1\r\nContent-Length: 2\r\n{close}ab"
            ),
        ),
        ("400", format!("POST /v1/x HTTP/1.1\r\nHost: g\r\n{auth}Content-Length: -1\r\n{close}")),
        (
            "400",
            format!(
                "POST /v1/x HTTP/1.1\r\nHost: g\r\n{auth}Transfer-Encoding: gzip, chunked\r\n{close}0\r\n\r\n"
            ),
        ),
        (
            "400",
            format!(
                "POST /v1/x HTTP/1.1\r\nHost: g\r\n{auth}Transfer-Encoding: identity\r\n{close}"
            ),
        ),
        (
            "400",
            format!(
                "POST /v1/x HTTP/1.1\r\nHost: g\r\n{auth}Transfer-Encoding: chunked\r\n{close}zz\r\n"
            ),
        ),
        ("400", "GARBAGE\r\n\r\n".to_owned()),
        ("405", format!("TRACE /v1/info HTTP/1.1\r\nHost: g\r\n{auth}{close}")),
        ("414", format!("GET /v1/info?{long} HTTP/1.1\r\nHost: g\r\n{auth}{close}")),
        ("431", format!("GET /v1/info HTTP/1.1\r\nHost: g\r\n{auth}{many}{close}")),
        (
            "431",
            format!("GET /v1/info HTTP/1.1\r\nHost: g\r\nX-A: {}\r\n{close}", "x".repeat(70_000)),
        ),
    ];
    for (expected, request) in cases {
        let answer = raw(rig.addr(), request.as_bytes()).await;
        let shown = &request[..request.len().min(120)];
        assert_eq!(status(&answer), expected, "{shown:?}\n{answer}");
        if expected != "200" {
            // Whoever found the fault, the refusal has Dify's shape and says what to mend.
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let refusal: serde_json::Value = serde_json::from_str(body).expect(&answer);
            assert_eq!(refusal["status"].to_string(), expected, "{shown:?}");
            assert!(refusal["message"].as_str().is_some_and(|text| text.len() > 20), "{answer}");
        }
    }
    // The gateway has survived it.
    assert_eq!(rig.chat("alice").await.status, 200);
}

#[tokio::test]
async fn transfer_encoding_wins_over_content_length_and_the_connection_closes() {
    let rig = Rig::start(1).await;
    let body = "{\"inputs\": {}, \"query\": \"hi\", \"user\": \"alice\"}";
    let smuggled = "GET /v1/smuggled HTTP/1.1\r\nHost: g\r\n\r\n";
    let request = format!(
        "POST /v1/chat-messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n{smuggled}",
        body.len()
    );
    let answer = raw(rig.addr(), request.as_bytes()).await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    let served = &requests(&rig.difys[0])[0];
    let lengths: Vec<_> = served
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(lengths, [body.len().to_string()]);
    assert!(served.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("transfer-encoding")));
}

#[tokio::test]
async fn a_chunked_request_alone_leaves_the_connection_open() {
    let rig = Rig::start(1).await;
    let body = "{\"inputs\": {}, \"query\": \"hi\", \"user\": \"alice\"}";
    let request = format!(
        "POST /v1/chat-messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let next = "GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";
    let answers = raw(rig.addr(), (request + next).as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
}

#[tokio::test]
async fn requests_in_a_row_on_one_connection_are_answered_in_order() {
    let rig = Rig::start(1).await;
    let get = |path: &str, end: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n{end}\r\n")
    };
    let pipelined =
        get("/v1/info", "") + &get("/nothing", "") + &get("/v1/meta", "Connection: close\r\n");
    let answers = raw(rig.addr(), pipelined.as_bytes()).await;
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200"]);
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
