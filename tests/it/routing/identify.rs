//! Who asks: tokens, and the user's six places.

use std::fmt::Write;

use http::{Request, StatusCode};
use serde_json::json;

use crate::rig::{Plan, Rig, TOKEN, chat, form, post, raw, request, requests, send, upload};

#[tokio::test]
async fn a_bad_token_is_refused_in_difys_words_and_reaches_no_instance() {
    let rig = Rig::start(1).await;
    let cases = [
        (None, "Authorization header must be provided and start with 'Bearer'"),
        (Some("Bearer"), "Authorization header must be provided and start with 'Bearer'"),
        (Some("Basic YTpi"), "Authorization scheme must be 'Bearer'"),
        (Some("Bearer wrong"), "Access token is invalid"),
        (Some("Bearer app-shop-1"), "Access token is invalid"),
    ];
    for (authorization, message) in cases {
        let mut request = Request::get("/v1/info");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = rig.send(request.body("").unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let expected = json!({ "code": "unauthorized", "message": message, "status": 401 });
        assert_eq!(answer.json(), expected);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(rig.served(), [0]);
}

#[tokio::test]
async fn the_scheme_takes_any_case_and_several_blanks() {
    let rig = Rig::start(1).await;
    for value in [format!("bearer {TOKEN}"), format!("BEARER   {TOKEN} ")] {
        let request = Request::get("/v1/info").header("authorization", value).body("").unwrap();
        assert_eq!(rig.send(request).await.status, StatusCode::OK);
    }
}

/// The user whose instance answers `answer`, of `users` that live on different instances.
async fn two_users_on_two_instances(rig: &Rig) -> ((String, String), (String, String)) {
    let first = ("user-0".to_owned(), rig.instance_of("user-0").await);
    for number in 1.. {
        let user = format!("user-{number}");
        let instance = rig.instance_of(&user).await;
        if instance != first.1 {
            return (first, (user, instance));
        }
    }
    unreachable!()
}

#[tokio::test]
async fn the_first_place_that_names_a_user_wins() {
    let rig = Rig::start(2).await;
    let ((one, at_one), (other, at_other)) = two_users_on_two_instances(&rig).await;
    let body = |user: &str| {
        json!({ "inputs": {}, "query": "q", "response_mode": "blocking", "user": user }).to_string()
    };
    // Each place in its order, with the next place naming the other user.
    type Case<'a> = (&'static str, &'static str, Option<(&'static str, String)>, &'a str);
    let cases: [Case<'_>; 5] = [
        ("header", "/v1/chat-messages?user_id=OTHER", Some(("x-user-id", one.clone())), &other),
        (
            "user_id",
            "/v1/chat-messages?user_id=ONE",
            Some(("cookie", format!("user_id={other}"))),
            &other,
        ),
        ("cookie", "/v1/chat-messages", Some(("cookie", format!("a=b; user_id={one}"))), &other),
        ("body", "/v1/chat-messages?user=OTHER", None, &one),
        ("empty header", "/v1/chat-messages?user=OTHER", Some(("x-user-id", String::new())), &one),
    ];
    for (place, path, header, in_body) in cases {
        let path = path.replace("ONE", &one).replace("OTHER", &other);
        let mut request = request("POST", &path).header("content-type", "application/json");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = rig.send(request.body(body(in_body)).unwrap()).await;
        assert_eq!(answer.instance(), at_one, "{place}");
    }
    let query = request("GET", &format!("/v1/conversations?user={other}")).body("").unwrap();
    assert_eq!(rig.send(query).await.instance(), at_other);
    let form = upload(&[("file", Some("a.txt"), b"hello"), ("user", None, other.as_bytes())]);
    assert_eq!(rig.send(form).await.instance(), at_other);
}

#[tokio::test]
async fn a_user_far_behind_in_a_body_is_found() {
    let rig = Rig::start(3).await;
    let at = rig.instance_of("alice").await;
    for filler in [1_000, 300_000, 3_000_000] {
        let body = json!({
            "inputs": { "user": "mallory", "text": "x\"user\":\"eve\"".repeat(filler / 14) },
            "query": "hello", "response_mode": "blocking", "user": "alice",
        });
        let answer = rig.send(post("/v1/chat-messages", &body)).await;
        assert_eq!((answer.status, answer.instance()), (StatusCode::OK, at.clone()), "{filler}");
    }
}

#[tokio::test]
async fn a_user_after_a_large_file_is_found_and_the_file_does_not_mislead() {
    let rig = Rig::start(3).await;
    let at = rig.instance_of("alice").await;
    let trap = form(&[("user", None, b"mallory")]);
    let trap = String::from_utf8(trap).unwrap().replace("--rig", "--other");
    let mut content = trap.repeat(30_000).into_bytes();
    content.truncate(2_000_000);
    let answer =
        rig.send(upload(&[("file", Some("a.txt"), &content), ("user", None, b"alice")])).await;
    assert_eq!((answer.status, answer.instance()), (StatusCode::CREATED, at.clone()), "{answer:?}");
    assert_eq!(answer.json()["size"], 2_000_000);
    let before = rig.send(upload(&[("user", None, b"alice"), ("file", Some("a.txt"), b"x")])).await;
    assert_eq!(before.instance(), at);
}

#[tokio::test]
async fn what_dify_would_answer_with_500_is_refused() {
    let rig = Rig::start(1).await;
    let long = json!({ "user": "u".repeat(256) }).to_string();
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: [&[u8]; 5] = [b"[1]", b"null", long.as_bytes(), &utf16, b"{\"user\": \"alice\""];
    for body in bodies {
        let request =
            request("POST", "/v1/chat-messages").header("content-type", "application/json");
        let answer = rig.send(request.body(body.to_vec()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        let error = answer.json();
        assert_eq!(error["status"], 400);
        assert!(error["message"].as_str().is_some_and(|text| text.len() > 20), "{error}");
    }
    assert_eq!(rig.served(), [0]);
}

#[tokio::test]
async fn a_body_that_only_dify_can_judge_is_passed_on() {
    let rig = Rig::start(1).await;
    let text = request("POST", "/v1/chat-messages").header("content-type", "text/plain");
    let answer = rig.send(text.body("{}").unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let empty = request("POST", "/v1/chat-messages").header("content-type", "application/json");
    assert_eq!(rig.send(empty.body("").unwrap()).await.json()["code"], "bad_request");
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_whether_announced_or_not() {
    let rig = Plan::new(1).with("limits: { max_body: 100KiB, memory_body: 10KiB }").start().await;
    let body = json!({ "user": "alice", "query": "x".repeat(200_000) });
    let announced = rig.send(post("/v1/chat-messages", &body)).await;
    assert_eq!(announced.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(announced.text().contains("limits.max_body"), "{announced:?}");

    let mut chunked = format!(
        "POST /v1/chat-messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let piece = format!("{{\"query\": \"{}", "x".repeat(60_000));
    for _ in 0..3 {
        write!(chunked, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
    }
    let answer = raw(rig.addr(), chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(rig.served(), [0]);
}

#[tokio::test]
async fn a_spooled_body_arrives_whole_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        format!("limits: {{ memory_body: 64KiB }}\nspool_dir: {}", folder.path().display());
    let rig = Plan::new(2).with(&settings).start().await;
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let answer = rig.send(upload(&[("file", Some("a.txt"), &content), ("user", None, b"u")])).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.json()["size"], 5_000_000);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_is_507() {
    let rig = Plan::new(1)
        .with("limits: { memory_body: 1KiB }\nspool_dir: /nonexistent/spool")
        .start()
        .await;
    let large = json!({ "user": "alice", "query": "x".repeat(9_000) });
    let answer = rig.send(post("/v1/chat-messages", &large)).await;
    assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE, "{answer:?}");
    assert!(!answer.text().contains("/nonexistent"), "{answer:?}");
    // A body that fits in memory needs no spool.
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_answered() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let rig = Rig::start(1).await;
    let body = json!({ "inputs": {}, "query": "hi", "user": "alice" }).to_string();
    let head = |token: &str| {
        format!(
            "POST /v1/chat-messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
             Connection: close\r\n\r\n",
            body.len()
        )
    };
    let mut stream = tokio::net::TcpStream::connect(rig.addr()).await.unwrap();
    stream.write_all(head(TOKEN).as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    // A refusal comes at once, without asking for the body.
    let refused = raw(rig.addr(), head("wrong").as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert!(
        requests(&rig.difys[0])[0]
            .headers
            .iter()
            .all(|(name, _)| !name.eq_ignore_ascii_case("expect"))
    );
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_is_complete_and_arrives() {
    let rig = Rig::start(1).await;
    let mut request = chat("alice").map(|_| vec![b' '; 20 << 20]);
    request.headers_mut().insert("authorization", "Bearer wrong".parse().unwrap());
    let answer = send(rig.addr(), request).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
