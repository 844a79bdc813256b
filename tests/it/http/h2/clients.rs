//! Clients that speak HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::rig::certs::{Authority, folder};
use crate::rig::process::{Process, difys};
use crate::rig::tls::{PATIENCE, Secured, connect, whole};
use crate::rig::{chat, post, request, requests, stream, upload};

/// A connection that speaks HTTP/2.
async fn http2(secured: &Secured) -> http2::SendRequest<Full<Bytes>> {
    let mut config = secured.authority.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = connect(secured.addr(), config, "localhost").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A request of the rig for HTTP/2.
fn for_http2(request: Request<impl Into<Bytes>>) -> Request<Full<Bytes>> {
    let mut request = request.map(|body| Full::new(body.into()));
    let path = request.uri().path_and_query().unwrap().as_str();
    *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    request
}

#[tokio::test]
async fn curl_speaks_http2() {
    let secured = Secured::start().await;
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--http2", "--cacert"]);
    command.arg(secured.folder.path().join("ca.pem"));
    command.args(["--write-out", "|%{http_version}", "--header"]);
    command.arg("Authorization: Bearer usertoken--shop");
    command.args([
        "--data",
        r#"{"inputs":{},"query":"hi","response_mode":"streaming","user":"anna"}"#,
    ]);
    command.args(["--header", "Content-Type: application/json"]);
    command.arg(format!("https://localhost:{}/v1/chat-messages", secured.addr().port()));
    let ran = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("message_end") && said.ends_with("|2"), "{said} {ran:?}");
}

#[tokio::test]
async fn http2_carries_many_requests_at_a_time() {
    let secured = Secured::start().await;
    let sender = http2(&secured).await;
    let ask = |user: usize| {
        let mut sender = sender.clone();
        async move {
            let request = for_http2(stream(&format!("user-{user}"), 5, 0.05));
            whole(sender.send_request(request).await.unwrap()).await
        }
    };
    let mut asked = tokio::task::JoinSet::new();
    (0..50).for_each(|user| drop(asked.spawn(ask(user))));
    while let Some(answer) = asked.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.text().contains("message_end"));
    }
    let info = for_http2(request("GET", "/v1/info").body(Bytes::new()).unwrap());
    assert_eq!(whole(sender.clone().send_request(info).await.unwrap()).await.status, 200);
    assert!(secured.metric("difygate_tls_handshakes_total{result=\"full\"} 1").await);
}

#[tokio::test]
async fn bodies_larger_than_any_window_arrive_whole_and_beyond_the_limit_get_413() {
    let secured = Secured::with("limits: { max_body: 4MiB }").await;
    let mut sender = http2(&secured).await;
    let file = vec![b'x'; 3 << 20];
    let sent = upload(&[("user", None, b"anna"), ("file", Some("a.txt"), &file)]);
    let answer = whole(sender.send_request(for_http2(sent)).await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let served = requests(&secured.rig.difys[0]);
    assert!(served[0].body_bytes > 3 << 20, "{}", served[0].body_bytes);

    let file = vec![b'x'; 5 << 20];
    let sent = upload(&[("user", None, b"anna"), ("file", Some("a.txt"), &file)]);
    let answer = whole(sender.send_request(for_http2(sent)).await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    // Other requests on the connection do not mind.
    let answer = whole(sender.send_request(for_http2(chat("anna"))).await.unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_stream_that_is_taken_back_stops_its_run_and_no_other() {
    let secured = Secured::start().await;
    let mut sender = http2(&secured).await;
    let other = sender.send_request(for_http2(stream("bert", 30, 0.05))).await.unwrap();
    let left = sender.send_request(for_http2(stream("anna", 2000, 0.05))).await.unwrap();
    let mut body = left.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    secured.rig.until_status(|status| status["applications"]["shop"]["stopped"] == 1).await;
    assert!(whole(other).await.text().contains("message_end"));
}

#[tokio::test]
async fn who_reads_slowly_holds_up_nobody_else() {
    let secured = Secured::start().await;
    let mut sender = http2(&secured).await;
    let query = format!("tokens 40000 0 {}", "x".repeat(10));
    let body = serde_json::json!({
        "inputs": {}, "query": query, "response_mode": "streaming", "user": "anna"
    });
    let unread = sender.send_request(for_http2(post("/v1/chat-messages", &body))).await.unwrap();
    let answer = whole(sender.send_request(for_http2(chat("bert"))).await.unwrap()).await;
    assert_eq!(answer.status, 200);
    assert!(whole(unread).await.text().contains("message_end"));
}

#[tokio::test]
async fn the_end_of_the_gateway_lets_streams_end() {
    let secured = Secured::start().await;
    let mut sender = http2(&secured).await;
    let answer = sender.send_request(for_http2(stream("anna", 20, 0.05))).await.unwrap();
    let drained = tokio::spawn(secured.rig.gateway.drain());
    let text = whole(answer).await.text();
    assert!(text.contains("message_end"), "{text}");
    timeout(PATIENCE, drained).await.unwrap().unwrap();
    assert!(sender.send_request(for_http2(chat("anna"))).await.is_err());
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_busy_one_does_not() {
    let secured = Secured::with("timeouts: { keep_alive: 1s }").await;
    let (idle, mut busy) = (http2(&secured).await, http2(&secured).await);
    let answer = busy.send_request(for_http2(stream("anna", 40, 0.05))).await.unwrap();
    let ended = async {
        while !idle.is_closed() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
    assert!(whole(answer).await.text().contains("message_end"));
}

#[tokio::test]
async fn dify_gets_http1_with_the_clients_host_and_one_cookie() {
    let secured = Secured::start().await;
    let mut sender = http2(&secured).await;
    let asked = request("GET", "/v1/info").header("cookie", "a=1").header("cookie", "b=2");
    let answer = sender.send_request(for_http2(asked.body("").unwrap())).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    for gone in ["connection", "keep-alive", "transfer-encoding"] {
        assert!(!answer.headers().contains_key(gone), "{answer:?}");
    }
    let served = &requests(&secured.rig.difys[0])[0];
    let values = |name: &str| -> Vec<_> {
        let headers = served.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        headers.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(values("host"), ["localhost"]);
    assert_eq!(values("cookie"), ["a=1; b=2"]);
    assert_eq!(values("x-forwarded-proto"), ["https"]);
    assert_eq!(values("x-forwarded-host"), ["localhost"]);
}

#[tokio::test]
async fn the_access_log_says_http2_and_the_error_log_https() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let (cert, key) = authority.issue(&["localhost"]).write(folder.path(), "gateway");
    let (cert, key) = (cert.display(), key.display());
    let settings = format!("probe: {{ enabled: false }}\ntls: [{{ cert: {cert}, key: {key} }}]");
    let difys = difys(1).await;
    let process = Process::start(&difys, &settings).await;
    let mut config = authority.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let io = TokioIo::new(connect(process.listen, config, "localhost").await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let answer = whole(sender.send_request(for_http2(chat("anna"))).await.unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let logged = async {
        loop {
            let log = std::fs::read_to_string(&process.log).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains("chat-messages")) {
                return line.to_owned();
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let line = timeout(PATIENCE, logged).await.unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["protocol"], &line["path"]), (&"HTTP/2".into(), &"/v1/chat-messages".into()));
}
