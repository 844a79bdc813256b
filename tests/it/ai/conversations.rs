//! What operators do with conversations: `difygate conversations` and the admin listener.

use std::fmt::Write;
use std::net::SocketAddr;

use difygate::conversation::{
    ConversationMatch, ConversationState, FinishedTurn, PendingTurn, Thread, TranscriptMatch,
    TranscriptQuery, Turn, now_s,
};
use http::{Request, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rig::process::command;
use crate::rig::process::{Process, difys};
use crate::rig::{Plan, Rig, chat, send};

fn thread(key: &str, chat: &str) -> Thread {
    let [key, app] = [key, "shop"].map(str::to_owned);
    Thread { user: format!("{key}:alice"), key, app, chat: Some(chat.to_owned()) }
}

async fn turn(rig: &Rig, thread: &Thread, conversation: Uuid) {
    let user = Turn::user("question");
    let pending = PendingTurn::new(thread.clone(), &[] as &[Turn<'_>], &user);
    let (assistant, message) = ("answer", Some(Uuid::new_v4()));
    let finished = FinishedTurn { pending, conversation, assistant, message };
    rig.gateway.shared().conversation_store().finish(finished).await.unwrap();
}

async fn found(rig: &Rig, thread: &Thread) -> TranscriptMatch {
    let before = [Turn::user("question"), Turn::assistant("answer")];
    rig.gateway
        .shared()
        .conversation_store()
        .find(TranscriptQuery::new(thread.clone(), &before))
        .await
        .unwrap()
}

/// Runs the command against the rig's admin listener, and gives its exit code and what it printed.
async fn run(rig: &Rig, arguments: &[&str]) -> (Option<i32>, String, String) {
    run_at(rig.gateway.admin(), arguments).await
}

async fn run_at(admin: SocketAddr, arguments: &[&str]) -> (Option<i32>, String, String) {
    let admin = admin.to_string();
    let all: Vec<_> = ["conversations"].iter().chain(arguments).copied().collect();
    let output = command(&[&all[..], &["--admin", &admin]].concat()).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn an_operator_lists_exports_cleans_up_and_imports() {
    let rig = Plan::new(1).start().await;
    let web = thread("web", "chat-1");
    let ids: Vec<_> = (0..3).map(|_| Uuid::new_v4()).collect();
    turn(&rig, &web, ids[0]).await;
    turn(&rig, &thread("web", "chat-2"), ids[1]).await;
    turn(&rig, &thread("app", "chat-1"), ids[2]).await;

    let (code, out, _) = run(&rig, &["list"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("web:alice") && out.ends_with("\n3 of 3 conversations\n"), "{out}");
    let (_, out, _) = run(&rig, &["list", "--key", "web", "--limit", "1", "--json"]).await;
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (listed["count"].as_u64(), listed["conversations"].as_array().unwrap().len()),
        (Some(2), 1)
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.jsonl");
    let path = file.to_str().unwrap();
    let (_, out, _) = run(&rig, &["export", "--output", path]).await;
    assert_eq!(out, format!("3 conversations written to {path}\n"));
    let (_, out, _) = run(&rig, &["export", "--key", "app"]).await;
    assert_eq!(out.lines().count(), 2, "a header and a row: {out}");
    assert!(out.starts_with("{\"difygate_conversations\":1,") && !out.contains("question"));

    let (_, out, _) = run(&rig, &["cleanup", "--max-age", "1d"]).await;
    assert_eq!(out, "0 conversations forgotten\n");
    // All of them are used for the last time three days ago.
    let old = std::fs::read_to_string(&file).unwrap();
    let aged = old.lines().map(|line| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        if let Some(used) = row.get_mut("used") {
            *used = (used.as_u64().unwrap() - 3 * 86_400).into();
        }
        row.to_string() + "\n"
    });
    std::fs::write(&file, aged.collect::<String>()).unwrap();
    for id in &ids {
        rig.gateway.shared().conversation_store().forget(*id).await.unwrap();
    }
    let (_, out, _) = run(&rig, &["import", path]).await;
    assert_eq!(out, "3 conversations taken in, 0 were known, 0 cannot be used\n");
    let TranscriptMatch::Resume(resumed) = found(&rig, &web).await else {
        panic!("it is not resumed")
    };
    assert_eq!((resumed.id, resumed.state), (ids[0], ConversationState::Clean));
    let (_, out, _) = run(&rig, &["cleanup", "--max-age", "1d", "--key", "app", "--json"]).await;
    assert_eq!(out, "{\"removed\":1}\n");
    let (_, out, _) = run(&rig, &["import", path, "--json"]).await;
    assert_eq!(out, "{\"added\":1,\"present\":2,\"skipped\":0}\n");
    let conversation_store = rig.gateway.shared().conversation_store();
    let app = thread("app", "");
    assert!(matches!(
        conversation_store.by_id(&app, ids[2]).await.unwrap(),
        ConversationMatch::Owned(_)
    ));
}

#[tokio::test]
async fn the_mappings_of_opendify_are_taken_over() {
    let rig = Plan::new(1).start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("conversation_mappings.json");
    let id = Uuid::new_v4();
    let text = format!(
        "{{\"chat-1\": {{\"dify_conversation_id\": \"{id}\", \"created_at\": 7, \"last_used\": {}}}, \"chat-2\": {{\"dify_conversation_id\": \"conv_x\"}}}}",
        now_s()
    );
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let (code, _, error) = run(&rig, &["import", path]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("name it with `--app`"), "{error}");
    let (code, _, error) = run(&rig, &["import", path, "--app", "nosuch"]).await;
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("there is no app `nosuch`; the apps are `shop`"), "{error}");
    let (_, out, _) = run(&rig, &["import", path, "--app", "shop"]).await;
    assert_eq!(out, "1 conversation taken in, 0 were known, 1 cannot be used\n");
    let TranscriptMatch::Resume(resumed) = found(&rig, &thread("web", "chat-1")).await else {
        panic!()
    };
    assert_eq!((resumed.id, resumed.state), (id, ConversationState::Imported));
}

#[tokio::test]
async fn conversations_are_for_the_admin_listener_alone() {
    let rig = Plan::new(1).start().await;
    let list = || Request::get("/conversations").body("").unwrap();
    assert_eq!(send(rig.gateway.admin(), list()).await.status, StatusCode::OK);
    let answer = send(rig.addr(), list()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    // A store that fails says so.
    let gone = Plan::new(1).with("store: redis://127.0.0.1:1").start().await;
    let answer = send(gone.gateway.admin(), list()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    let (code, _, error) = run(&gone, &["list"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("Redis at 127.0.0.1:1/0 cannot be used"), "{error}");
}

#[tokio::test]
async fn a_gateway_whose_store_cannot_grow_serves_on_and_stores_again_when_it_can() {
    let difys = difys(1).await;
    let gateway = Process::start(&difys, "").await;
    let store = gateway.config.with_file_name("difygate-data").join("difygate.redb");
    let file = gateway.config.with_file_name("many.jsonl");
    let mut text = "{\"difygate_conversations\":1,\"digests\":\"another\"}\n".to_owned();
    for number in 0..20_000u128 {
        let id = Uuid::from_u128(number << 64).to_string();
        let row = json!({ "conversation": id, "app": "shop", "key": "web", "user": "web:alice",
            "chat": id, "created": now_s(), "used": now_s() });
        writeln!(text, "{row}").unwrap();
    }
    std::fs::write(&file, text).unwrap();
    let import = ["import", file.to_str().unwrap()];
    let pid = Pid::from_raw(gateway.id().cast_signed());
    let limit = |bytes: Option<u64>| {
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    };
    limit(Some(std::fs::metadata(&store).unwrap().len() + 4096));
    let (code, _, error) = run_at(gateway.admin, &import).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("is the disk full?"), "{error}");
    assert_eq!(send(gateway.listen, chat("alice")).await.status, StatusCode::OK);
    limit(None);
    let (code, out, error) = run_at(gateway.admin, &import).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.ends_with("were known, 0 cannot be used\n"), "{out}");
    let (_, out, _) = run_at(gateway.admin, &["list", "--limit", "1"]).await;
    assert!(out.ends_with("\n1 of 20000 conversations\n"), "{out}");
}
