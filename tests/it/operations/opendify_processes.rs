//! Several processes with OpenDify's variables on one machine, as its document starts them behind nginx.

use http::Request;
use serde_json::{Value, json};

use super::opendify::{ANY_PORT, base, difygate, ran};
use crate::rig::process::{Process, difys};
use crate::rig::redis_server::RedisServer;
use crate::rig::{Answer, requests, send};

const MODELS: (&str, &str) = ("MODEL_CONFIG", "{\"shop\":\"app-shop-1\"}");

async fn turn(gateway: &Process, said: &[&str]) -> Answer {
    let messages: Vec<_> = said
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let role = if at % 2 == 0 { "user" } else { "assistant" };
            json!({ "role": role, "content": text })
        })
        .collect();
    let body = json!({ "model": "shop", "messages": messages });
    let request = Request::post("/v1/chat/completions").header("content-type", "application/json");
    let answer = send(gateway.listen, request.body(body.to_string()).unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn text(answer: &Answer) -> String {
    answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// The conversations of the turns that a Dify was asked for; a new one is empty.
fn conversations(dify: &dify_sim::Dify) -> Vec<String> {
    let turns = requests(dify).into_iter().filter(|request| request.path == "/v1/chat-messages");
    let bodies = turns.map(|turn| serde_json::from_slice::<Value>(&turn.body).unwrap());
    bodies.map(|body| body["conversation_id"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn store(gateway: &Process) -> Value {
    send(gateway.admin, Request::get("/status").body("").unwrap()).await.json()["store"].clone()
}

#[tokio::test]
async fn each_process_keeps_its_conversations_in_a_folder_of_its_own() {
    let difys = difys(1).await;
    let base = base(&difys[0]);
    let folder = tempfile::tempdir().unwrap();
    let mut gateways = Vec::new();
    for number in ["one", "two"] {
        let kept = folder.path().join(number);
        let vars = [MODELS, ("DIFY_API_BASE", &*base), ("DIFYGATE_STORE", kept.to_str().unwrap())];
        let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
        let gateway = Process::run(command, tempfile::tempdir().unwrap()).await;
        let store = store(&gateway).await;
        assert!(store["path"].as_str().unwrap().contains(number), "{store}");
        assert_eq!(store["warning"], Value::Null);
        gateways.push(gateway);
    }
    for gateway in &gateways {
        let first = text(&turn(gateway, &["hello"]).await);
        turn(gateway, &["hello", &first, "and more"]).await;
    }
    let asked = conversations(&difys[0]);
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[0].is_empty() && !asked[1].is_empty(), "{asked:?}");
    assert!(asked[2].is_empty() && !asked[3].is_empty() && asked[1] != asked[3], "{asked:?}");
}

#[tokio::test]
async fn a_conversation_goes_on_in_the_other_process_where_they_share_a_redis() {
    let (difys, redis) = (difys(1).await, RedisServer::start());
    let (base, url) = (base(&difys[0]), redis.url());
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let vars = [MODELS, ("DIFY_API_BASE", &*base), ("DIFYGATE_REDIS_URL", &*url)];
        let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
        gateways.push(Process::run(command, folder).await);
    }
    let first = text(&turn(&gateways[0], &["hello"]).await);
    turn(&gateways[1], &["hello", &first, "and more"]).await;
    let asked = conversations(&difys[0]);
    assert!(asked.len() == 2 && asked[0].is_empty() && !asked[1].is_empty(), "{asked:?}");
}

#[tokio::test]
async fn what_collides_is_named_by_its_variable() {
    let difys = difys(1).await;
    let base = base(&difys[0]);
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let vars = [MODELS, ("DIFY_API_BASE", &*base), ("DIFYGATE_STORE", kept.to_str().unwrap())];
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let first = Process::run(command, tempfile::tempdir().unwrap()).await;
    let admin = first.admin.to_string();
    let taken = [("SERVER_PORT", "0"), ("DIFYGATE_ADMIN_LISTEN", &*admin)];
    let (status, said) = ran(folder.path(), &["serve"], &[&vars[..], &taken].concat());
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains(&format!("{admin} (`DIFYGATE_ADMIN_LISTEN`)")), "{said}");
    // The store is no reason not to serve.
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let second = Process::run(command, tempfile::tempdir().unwrap()).await;
    let warning = store(&second).await["warning"].clone();
    let warning = warning.as_str().unwrap();
    assert!(warning.contains("name another folder in `DIFYGATE_STORE`"), "{warning}");
}

#[tokio::test]
async fn the_access_log_is_off_or_a_file_or_in_another_form() {
    let difys = difys(1).await;
    let base = base(&difys[0]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.log");
    let vars = [MODELS, ("DIFY_API_BASE", &*base), ("DIFYGATE_ACCESS_LOG", path.to_str().unwrap())];
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let mut gateway = Process::run(command, tempfile::tempdir().unwrap()).await;
    turn(&gateway, &["hello"]).await;
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.ended().await, Some(0));
    let log = std::fs::read_to_string(&path).unwrap();
    let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(line["app"], "shop", "{log}");
}
