//! A store that fails while AI clients talk, and turns are to be refused then.

use std::time::Duration;

use bytes::Bytes;
use dify_sim::Dify;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rig::process::{Process, difys};
use crate::rig::redis_server::RedisServer;
use crate::rig::{Answer, Plan, chat, open, post, send};

const REFUSE: &str = "conversations: { on_store_failure: refuse }\n";
/// What the log says while writing to the disk fails.
const FAILURES: [&str; 3] =
    ["conversations are not stored", "owners are not stored", "access log: "];
/// And when it works again.
const MENDED: [&str; 3] =
    ["the store of conversations works again", "the store works again", "access log works again"];

fn ask(texts: &[&str], more: Value) -> Request<Bytes> {
    let roles = ["user", "assistant"].into_iter().cycle();
    let message = |(role, text): (&str, &&str)| json!({"role": role, "content": text});
    let messages: Value = roles.zip(texts).map(message).collect();
    let mut body = json!({"model": "shop", "messages": messages, "user": "alice"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    post("/v1/chat/completions", &body)
}

fn runs(difys: &[Dify]) -> usize {
    difys.iter().map(|dify| dify.runs().len()).sum()
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], "conversations_unavailable", "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
}

/// Makes every write to a file fail, or no more.
fn fill_disk(gateway: &Process, bytes: Option<u64>) {
    let pid = Pid::from_raw(gateway.id().cast_signed());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// Collects what the log says until it has all of these.
async fn until_all(gateway: &mut Process, texts: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    let said = async {
        while !texts.iter().all(|text| lines.iter().any(|line: &String| line.contains(text))) {
            lines.push(gateway.says("").await);
        }
    };
    timeout(Duration::from_secs(30), said).await.unwrap();
    lines
}

#[tokio::test]
async fn a_full_disk_refuses_the_first_turn_already_and_is_said_once() {
    let difys = difys(1).await;
    let mut gateway = Process::start(&difys, REFUSE).await;
    let first = send(gateway.listen, ask(&["one"], json!({}))).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    fill_disk(&gateway, Some(0));
    let before = runs(&difys);
    assert_refused(&send(gateway.listen, ask(&["two"], json!({}))).await);
    assert_refused(&send(gateway.listen, ask(&["two"], json!({"stream": true}))).await);
    let go_on = ["one", "Echo: one", "two"];
    assert_refused(&send(gateway.listen, ask(&go_on, json!({}))).await);
    assert_eq!(runs(&difys), before, "nothing was run");
    // Dify's own API goes on without the store.
    assert_eq!(send(gateway.listen, chat("bob")).await.status, StatusCode::OK);
    until_all(&mut gateway, &FAILURES).await;
    // It is tried again meanwhile, every second, and fails in other words. Nothing of that is
    // to be seen from outside, so the time is what there is.
    for _ in 0..15 {
        assert_refused(&send(gateway.listen, ask(&["two"], json!({}))).await);
        assert_eq!(send(gateway.listen, chat("bob")).await.status, StatusCode::OK);
        sleep(Duration::from_millis(200)).await;
    }
    fill_disk(&gateway, None);
    let lines = until_all(&mut gateway, &MENDED[..2]).await;
    let again = |line: &&String| FAILURES.iter().any(|text| line.contains(text));
    assert_eq!(lines.iter().filter(again).count(), 0, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("WARN")), "{lines:#?}");
    let third = send(gateway.listen, ask(&go_on, json!({}))).await;
    assert_eq!(third.status, StatusCode::OK, "{third:?}");
    let conversation =
        |answer: &Answer| answer.header("x-difygate-conversation").unwrap().to_owned();
    assert_eq!(conversation(&third), conversation(&first));
    if !lines.iter().any(|line| line.contains(MENDED[2])) {
        until_all(&mut gateway, &MENDED[2..]).await;
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_end_of_a_turn_refuses_its_answer() {
    let difys = difys(1).await;
    let gateway = Process::start(&difys, REFUSE).await;
    let long = ["tokens 20 0.05"];
    // Streamed: what was said is out, and the end is an error.
    let answer = open(gateway.listen, ask(&long, json!({"stream": true}))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    fill_disk(&gateway, Some(0));
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("conversations_unavailable"), "{text}");
    assert!(!text.contains("\"finish_reason\":\"stop\""), "{text}");
    fill_disk(&gateway, None);
    let status =
        || async { send(gateway.admin, Request::get("/status").body("").unwrap()).await.json() };
    while !status().await["conversations"]["error"].is_null() {
        sleep(Duration::from_millis(50)).await;
    }
    // Whole: there is no answer.
    let before = runs(&difys);
    let asking = tokio::spawn(send(gateway.listen, ask(&long, json!({}))));
    while runs(&difys) == before {
        sleep(Duration::from_millis(5)).await;
    }
    fill_disk(&gateway, Some(0));
    assert_refused(&asking.await.unwrap());
}

#[tokio::test]
async fn a_redis_that_is_gone_refuses_the_first_turn_already() {
    let mut server = RedisServer::start();
    let settings = format!("store: \"{}\"\n{REFUSE}", server.url());
    let rig = Plan::new(1).with(&settings).start().await;
    let first = rig.send(ask(&["one"], json!({}))).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    server.kill();
    let before = runs(&rig.difys);
    assert_refused(&rig.send(ask(&["two"], json!({}))).await);
    assert_refused(&rig.send(ask(&["one", "Echo: one", "two"], json!({}))).await);
    assert_eq!(runs(&rig.difys), before);
    server.start_again();
    let stored = async {
        while rig.send(ask(&["two"], json!({}))).await.status != StatusCode::OK {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(30), stored).await.unwrap();
}
