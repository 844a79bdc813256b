//! Bodies that are large, packed or full of elements: what they cost, and where they end.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{Request, StatusCode};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::rig::process::Process;
use crate::rig::{Answer, Plan, Rig, TOKEN, chat, post, request, send};

/// What is said of a body with too many elements.
const MANY: &str = "100000 fields and list items";
const JSON: &str = "application/json";

pub(crate) fn body_to(path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    request("POST", path).header("content-type", JSON).body(body.into()).unwrap()
}

fn packed(path: &str, coding: &str, body: Vec<u8>) -> Request<Bytes> {
    let request = request("POST", path).header("content-type", JSON);
    request.header("content-encoding", coding).body(body.into()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A request of about so many bytes, full of one thing.
fn full_of(begin: &str, one: &str, bytes: usize) -> String {
    let many = vec![one; bytes / (one.len() + 1)].join(",");
    format!("{{\"model\":\"shop\",\"user\":\"u\",{begin}:[{many}]}}")
}

/// An instance that takes whatever comes, and answers each run with a status and few words: what a long
/// answer costs is no part of what a request costs.
pub(crate) async fn sink(run: (&'static str, &'static str)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(swallow(stream, run));
        }
    });
    address
}

async fn swallow(stream: TcpStream, run: (&'static str, &'static str)) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
            let line = head[begin..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = (&mut stream).take(length);
        tokio::io::copy(&mut body, &mut tokio::io::sink()).await.unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let (status, json) = match path.split('?').next().unwrap() {
            "/v1/info" => ("200 OK", json!({"name": "a", "mode": "chat", "tags": []})),
            "/v1/parameters" => ("200 OK", json!({"user_input_form": []})),
            "/v1/files/upload" => {
                ("201 Created", json!({"id": "0f2a62e1-6a3b-4a80-b8a4-3c9c7a4a9d11"}))
            }
            _ => (run.0, json!(null)),
        };
        let text = if json.is_null() { run.1.to_owned() } else { json.to_string() };
        let kind = if text.starts_with("data:") { "text/event-stream" } else { JSON };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A gateway of its own before an instance.
pub(crate) async fn gateway(instance: SocketAddr) -> Process {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\nworkers: 2\naccess_log: off\n\
         probe: {{ enabled: false }}\napps:\n  shop:\n    user_tokens: [{TOKEN}]\n    instances:\n      \
         - {{ name: a, url: \"http://{instance}\", token: app-shop-1 }}\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
    command.args(["serve", "-c"]).arg(path);
    Process::run(command, folder).await
}

/// What a gateway that has served its first request needs more for another one at its peak, in KiB.
async fn growth(instance: SocketAddr, path: &str, body: String) -> (Answer, u64) {
    let gateway = gateway(instance).await;
    let question = json!({"model": "shop", "messages": [{"role": "user", "content": "hi"}]});
    let first = send(gateway.listen, post("/v1/chat/completions", &question)).await;
    assert_eq!(first.json()["error"]["message"], "no");
    let before = gateway.resident_kib();
    let answer = send(gateway.listen, body_to(path, body)).await;
    (answer, gateway.resident_kib().saturating_sub(before))
}

#[tokio::test]
async fn a_body_costs_at_most_three_times_its_size_whatever_is_in_it() {
    let refused = r#"{"code": "invalid_param", "message": "no"}"#;
    let instance = sink(("400 Bad Request", refused)).await;
    let numbers = full_of("\"messages\"", "1", 21_000_000);
    let tools = full_of(
        "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\"",
        "{\"\":0}",
        22_000_000,
    );
    let text = "x".repeat(30_000_000);
    let text =
        json!({"model": "shop", "messages": [{"role": "user", "content": text}]}).to_string();
    let file = format!("data:text/plain;base64,{}", "QUJD".repeat(7_000_000));
    let file = json!({"type": "file", "file": {"filename": "a.txt", "file_data": file}});
    let file = json!({"model": "shop", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "read"}, file]}]});
    for (what, path, body, why) in [
        ("numbers", "/v1/chat/completions", numbers.clone(), MANY),
        ("numbers", "/v1/completions", numbers.clone(), MANY),
        ("numbers", "/v1/responses", numbers.clone(), MANY),
        ("numbers", "/v1/messages", numbers.clone(), MANY),
        ("numbers", "/v1/audio/speech", numbers, MANY),
        ("tools", "/v1/chat/completions", tools, MANY),
        ("a text", "/v1/chat/completions", text, "\"no\""),
        ("a file", "/v1/chat/completions", file.to_string(), "\"no\""),
    ] {
        println!("{}", costs_little(instance, (what, path), body, why).await);
    }
}

/// Sends a body that is refused, looks at the growth, and tells it.
async fn costs_little(
    instance: SocketAddr,
    (what, path): (&str, &str),
    body: String,
    why: &str,
) -> String {
    let size = body.len() as u64 / 1024;
    let (answer, grown) = growth(instance, path, body).await;
    let text = answer.text();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what} at {path}: {text}");
    assert!(text.contains(why), "{what} at {path}: {text}");
    // Of the smaller ones, what any such request takes is seen as well: two threads, and what the
    // allocator keeps for each. What is larger than 8 MiB it gives back at once.
    let fixed = if size < 8 * 1024 { 2048 } else { 0 };
    let line = format!("{what} at {path}: {size} KiB, +{grown} KiB");
    assert!(grown <= 3 * size + fixed, "{line}");
    line
}

#[tokio::test]
async fn so_does_one_of_as_many_values_as_there_may_be() {
    let refused = r#"{"code": "invalid_param", "message": "no"}"#;
    let instance = sink(("400 Bad Request", refused)).await;
    let free = |name: &str, value: &str| {
        let fields: Vec<_> = (0..99_000).map(|number| format!("\"k{number}\":{value}")).collect();
        let question = json!([{"role": "user", "content": "hi"}]);
        let question = format!("\"messages\":{question},\"input\":\"hi\",\"max_tokens\":9");
        let fields = fields.join(",");
        format!("{{\"model\":\"shop\",\"user\":\"u\",{question},\"{name}\":{{{fields}}}}}")
    };
    let long = format!("\"{}\"", "x".repeat(50));
    let question = r#"{"role":"user","content":"hi"}"#;
    let parts = vec![r#"{"type":"text","text":"w"}"#; 32_000].join(",");
    let parts = format!(
        "{{\"model\":\"shop\",\"max_tokens\":9,\"messages\":[{{\"role\":\"user\",\"content\":[{parts}]}}]}}"
    );
    let tools_beside = |name: &str| {
        let list = vec![r#"{"type":"function"}"#; 49_000].join(",");
        format!(
            "{{\"model\":\"shop\",\"max_tokens\":9,\"{name}\":[{question}],\"tools\":[{list}]}}"
        )
    };
    let many_fields: Vec<_> = (0..99_000).map(|number| format!("\"k{number}\":1")).collect();
    let many_fields = many_fields.join(",");
    let many_fields = format!("{{\"model\":\"shop\",\"messages\":[{question}],{many_fields}}}");
    let pair = r#"{"role":"user","content":"q"},{"role":"assistant","content":"a"}"#;
    let messages = |name: &str| {
        let list = vec![pair; 16_500].join(",");
        format!("{{\"model\":\"shop\",\"max_tokens\":9,\"{name}\":[{list},{question}]}}")
    };
    for (what, path, body) in [
        ("messages", "/v1/chat/completions", messages("messages")),
        ("messages", "/v1/messages", messages("messages")),
        ("messages", "/v1/responses", messages("input")),
        ("inputs", "/v1/chat/completions", free("inputs", "1")),
        ("inputs", "/v1/responses", free("inputs", "1")),
        ("inputs", "/v1/messages", free("inputs", "1")),
        ("long inputs", "/v1/chat/completions", free("inputs", &long)),
        ("metadata", "/v1/chat/completions", free("metadata", "1")),
        ("metadata", "/v1/responses", free("metadata", "1")),
        ("long metadata", "/v1/messages", free("metadata", &long)),
        ("a field of its own", "/v1/chat/completions", free("mine", "1")),
        ("parts", "/v1/chat/completions", parts.clone()),
        ("parts", "/v1/messages", parts),
        ("tools", "/v1/messages", tools_beside("messages")),
        ("tools", "/v1/responses", tools_beside("input")),
        ("fields", "/v1/chat/completions", many_fields),
    ] {
        println!("{}", costs_little(instance, (what, path), body, "\"no\"").await);
    }
}

#[tokio::test]
async fn a_body_that_is_too_deep_is_refused_by_name() {
    let rig = Rig::start(1).await;
    let deep = format!("{{\"model\":\"shop\",\"x\":{}{}}}", "[".repeat(64), "]".repeat(64));
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/audio/speech"] {
        let answer = rig.send(body_to(path, deep.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text().contains("64 deep"), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_larger_than_its_app_takes_is_413_by_the_key_that_says_so() {
    let settings = "ai: { max_body: 64KiB }\nlimits: { max_body: 1MiB }";
    let rig = Plan::new(1).with(settings).start().await;
    let ask = |bytes: usize| {
        let messages = json!([{"role": "user", "content": "x".repeat(bytes)}]);
        post("/v1/chat/completions", &json!({"model": "shop", "messages": messages}))
    };
    assert_eq!(rig.send(ask(60_000)).await.status, StatusCode::OK);
    let answer = rig.send(ask(70_000)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text().contains("`ai.max_body`"), "{answer:?}");
    // Dify's own API has a limit of its own.
    let body = json!({ "inputs": {}, "query": "x".repeat(70_000), "response_mode": "blocking",
        "user": "u" });
    assert_eq!(rig.send(post("/v1/chat-messages", &body)).await.status, StatusCode::OK);

    // Where another app takes more, the app's own limit still holds.
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let flow = text.replace("  flow:\n", "  flow:\n    ai: { max_body: 8MiB }\n");
    std::fs::write(&rig.config_path, flow).unwrap();
    let reload = Request::post("/reload-config").body("").unwrap();
    assert_eq!(send(rig.gateway.admin(), reload).await.status, StatusCode::OK);
    assert_eq!(rig.send(ask(60_000)).await.status, StatusCode::OK);
    let answer = rig.send(ask(70_000)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text().contains("`ai.max_body`"), "{answer:?}");
}

#[tokio::test]
async fn beyond_the_memory_for_all_bodies_requests_are_503_until_others_have_gone() {
    let limits = "limits: { memory_body: 2MiB, all_bodies_memory: 1MiB }";
    let rig = Plan::new(1).with(limits).start().await;
    let query = "x".repeat(700_000);
    let body = json!({ "inputs": {}, "query": query, "response_mode": "blocking", "user": "u" });
    let body = body.to_string();
    // One body is there but for its last byte.
    let mut held = TcpStream::connect(rig.addr()).await.unwrap();
    let head = format!(
        "POST /v1/chat-messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    held.write_all(head.as_bytes()).await.unwrap();
    held.write_all(&body.as_bytes()[..body.len() - 1]).await.unwrap();

    let came_in = async {
        while rig.status().await["stats"]["body_memory_bytes"].as_u64() < Some(600_000) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), came_in).await.unwrap();
    let refused = rig.send(body_to("/v1/chat-messages", body.clone())).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(refused.text().contains("limits.all_bodies_memory"), "{refused:?}");
    let question = json!({"model": "shop", "messages": [{"role": "user", "content": query}]});
    let at_ai = rig.send(post("/v1/chat/completions", &question)).await;
    assert_eq!(at_ai.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(at_ai.header("retry-after"), Some("5"));
    assert_eq!(at_ai.json()["error"]["code"], "service_unavailable", "{at_ai:?}");
    // A small body is no more than a connection's buffers.
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);

    held.write_all(&body.as_bytes()[body.len() - 1..]).await.unwrap();
    let mut answer = [0; 12];
    held.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(rig.send(body_to("/v1/chat-messages", body)).await.status, StatusCode::OK);
    assert_eq!(rig.send(post("/v1/chat/completions", &question)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn packed_bodies_are_unpacked_where_the_gateway_reads_them() {
    let rig = Plan::new(1).with("ai: { max_body: 1MiB }").start().await;
    let question = json!({"model": "shop", "messages": [{"role": "user", "content": "hi"}]});
    let text = question.to_string().into_bytes();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(&text).unwrap();
    let zlib = zlib.finish().unwrap();
    // One block of brotli that is not compressed (RFC 7932 §9.2).
    let length = u32::try_from(text.len() - 1).unwrap();
    let block = (length << 7 | 1 << 23 | 0x0B).to_le_bytes();
    let brotli = [&block[..3], &text, &[3]].concat();
    let zstd = compress_to_vec(&text[..], CompressionLevel::Fastest);
    for (coding, body) in [
        ("gzip", gzip(&text)),
        ("deflate", zlib),
        ("br", brotli),
        ("zstd", zstd.clone()),
        ("zstd, gzip", gzip(&zstd)),
        ("identity", text.clone()),
    ] {
        let answer = rig.send(packed("/v1/chat/completions", coding, body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{coding}: {answer:?}");
    }
    let unknown = rig.send(packed("/v1/chat/completions", "compress", text.clone())).await;
    assert_eq!(unknown.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(unknown.text().contains("gzip, deflate, br or zstd"), "{unknown:?}");
    let lied = rig.send(packed("/v1/chat/completions", "gzip", text)).await;
    assert_eq!(lied.json()["error"]["code"], "invalid_encoding");

    // A bomb ends at the limit, which counts what comes out.
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let answer = rig.send(packed("/v1/chat/completions", "gzip", bomb)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text().contains("`ai.max_body`"), "{answer:?}");
}

#[tokio::test]
async fn identity_is_no_packing_so_a_user_stays_at_home() {
    let rig = Rig::start(2).await;
    let user = (0..).map(|n| format!("user-{n}")).take(15);
    for user in user {
        let home = rig.instance_of(&user).await;
        let mut again = chat(&user);
        again.headers_mut().insert("content-encoding", "identity".parse().unwrap());
        assert_eq!(rig.send(again).await.instance(), home, "{user}");
        let form = request("POST", "/v1/files/upload")
            .header("content-type", "multipart/form-data; boundary=rig")
            .header("content-encoding", "Identity")
            .body(crate::rig::form(&[
                ("file", Some("a.txt"), b"x"),
                ("user", None, user.as_bytes()),
            ]))
            .unwrap();
        assert_eq!(rig.send(form).await.instance(), home, "{user}");
    }
}

#[tokio::test]
async fn large_bodies_are_read_right() {
    let rig = Rig::start(1).await;
    let text = "x".repeat(2_500_000);
    let messages = json!([{"role": "user", "content": text}]);
    let question = json!({"model": "shop", "messages": messages, "user": "alice"});
    let answer = rig.send(post("/v1/chat/completions", &question)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let runs = rig.difys[0].runs();
    assert!(runs[0].query == text, "{} bytes", runs[0].query.len());
    assert!(runs[0].user.ends_with(":alice"), "{}", runs[0].user);
}
