//! What survives a restart, and where it is kept.

use std::time::Duration;

use difygate::store::{self, Change, Table};
use http::{Request, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::rig::redis_server::RedisServer;
use crate::rig::{Plan, Rig, send};

fn at(folder: &TempDir, more: &str) -> String {
    format!("store: {{ path: \"{}\" }}\n{more}", folder.path().display())
}

async fn metrics(rig: &Rig) -> String {
    send(rig.gateway.admin(), Request::get("/metrics").body("").unwrap()).await.text()
}

#[tokio::test]
async fn the_store_is_a_folder_beside_the_configuration() {
    let rig = Rig::start(1).await;
    let status = rig.status().await;
    assert_eq!(status["store"]["kind"], "redb", "{status}");
    let file = rig.config_path.parent().unwrap().join("difygate-data/difygate.redb");
    assert_eq!(status["store"]["path"], file.to_str().unwrap());
    assert!(file.exists());
    assert_eq!(status["store"]["warning"], serde_json::Value::Null);
    assert!(metrics(&rig).await.contains("\ndifygate_store_durable 1\n"));
}

#[tokio::test]
async fn a_store_in_use_elsewhere_gives_memory_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let first = Plan::new(1).with(&at(&folder, "")).start().await;
    let second = Plan::new(1).with(&at(&folder, "")).start().await;
    assert_eq!(first.status().await["store"]["kind"], "redb");
    let status = second.status().await;
    assert_eq!(status["store"]["kind"], "memory");
    let warning = status["store"]["warning"].as_str().unwrap();
    assert!(warning.contains("in use by another process"), "{warning}");
    assert!(metrics(&second).await.contains("\ndifygate_store_durable 0\n"));
    assert_eq!(second.chat("alice").await.status, StatusCode::OK);
}

/// Rows used `days` ago.
fn rows(numbers: std::ops::Range<u8>, days: u32) -> Vec<Change> {
    let at_s = difygate::affinity::now_s() - days * 86_400;
    let value = [&at_s.to_be_bytes()[..], b"dify1"].concat();
    let key = |number| vec![number; 16];
    let row =
        |number| Change { table: Table::Owners, key: key(number), value: Some(value.clone()) };
    numbers.map(row).collect()
}

#[tokio::test]
async fn owners_are_found_again_within_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store::open(folder.path());
    store.commit(&[rows(0..30, 1), rows(30..50, 5), rows(50..60, 40)].concat()).unwrap();
    drop(store);
    for (owners, known, stored) in
        [("", 50, 50), ("owners: { max_age: 3d }", 30, 30), ("owners: { max_entries: 8 }", 8, 30)]
    {
        let rig = Plan::new(1).with(&at(&folder, owners)).start().await;
        assert_eq!(rig.status().await["owners"]["known"], known, "{owners}");
        rig.gateway.drain().await;
        let (store, warning) = store::open(folder.path());
        assert_eq!((store.count(Table::Owners).unwrap(), warning), (stored, None), "{owners}");
    }
}

#[tokio::test]
async fn a_change_of_the_store_takes_a_restart() {
    let rig = Plan::new(1).start().await;
    let mut text = std::fs::read_to_string(&rig.config_path).unwrap();
    text.insert_str(0, "owners: { max_entries: 5 }\nstore: { path: elsewhere }\nconversations: { max_entries: 5 }\n");
    std::fs::write(&rig.config_path, text).unwrap();
    let reloaded = rig.gateway.reloader().reload().await.unwrap();
    assert_eq!(reloaded.changes.needs_restart, ["owners", "store", "conversations"]);
}

#[tokio::test]
async fn conversations_are_kept_beside_the_owners_or_in_redis() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Plan::new(1).with(&at(&folder, "")).start().await;
    let status = rig.status().await;
    let file = folder.path().join("difygate.redb");
    assert_eq!(status["conversations"]["place"], file.to_str().unwrap(), "{status}");
    assert_eq!(status["conversations"]["store"], "redb");
    let server = RedisServer::start();
    let url = server.url().replace("redis://", "redis://:geheim@");
    let store = format!("store: {{ path: \"{}\", redis: \"{url}\" }}", folder.path().display());
    rig.gateway.drain().await;
    let rig = Plan::new(1).with(&store).start().await;
    let status = rig.status().await;
    let place = server.url().replace("redis://", "") + "/0";
    assert_eq!(status["conversations"]["place"], place, "{status}");
    assert_eq!(
        (&status["conversations"]["store"], &status["store"]["kind"]),
        (&json!("redis"), &json!("redb"))
    );
    // The password is wrong: it says so, serves all the same, and shows nothing of it.
    until_failing(&rig, true).await;
    assert!(!rig.status().await.to_string().contains("geheim"));
    let metrics = metrics(&rig).await;
    assert!(metrics.contains("\ndifygate_conversations_failing 1\n"), "{metrics}");
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
}

async fn until_failing(rig: &Rig, failing: bool) {
    let conversation_store = rig.gateway.shared().conversation_store();
    let reached = async {
        while conversation_store.stats().error.is_some() != failing {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), reached).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_goes_and_comes_back_is_noticed_and_holds_up_nothing() {
    let mut server = RedisServer::start();
    server.kill();
    let rig = Plan::new(1).with(&format!("store: {}", server.url())).start().await;
    until_failing(&rig, true).await;
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
    server.start_again();
    until_failing(&rig, false).await;
    server.kill();
    until_failing(&rig, true).await;
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
}
