//! What must outlive the worst day.

use std::time::Duration;

use dify_sim::{Dify, Fault};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rig::process::{Process, difys};
use crate::rig::{Answer, post, send, until};

fn turn(user: &str, conversation: &str) -> Request<bytes::Bytes> {
    let body = json!({
        "inputs": {}, "query": "hello", "response_mode": "blocking", "user": user,
        "conversation_id": conversation,
    });
    post("/v1/chat-messages", &body)
}

async fn status(gateway: &Process) -> Value {
    send(gateway.admin, Request::get("/status").body("").unwrap()).await.json()
}

/// Changes the configuration and has it read.
async fn reload(gateway: &Process, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(&gateway.config).unwrap();
    std::fs::write(&gateway.config, change(&text)).unwrap();
    let reload = Request::post("/reload-config").body("").unwrap();
    let answer = send(gateway.admin, reload).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

fn of_conversation(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["conversation_id"].as_str().unwrap().to_owned()
}

async fn break_all(difys: &[Dify], but: &str, fault: Fault) {
    for (number, dify) in (1..).zip(difys) {
        if format!("dify{number}") != but {
            dify.set_fault(fault).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_conversation_goes_on_at_its_instance_through_drain_restarts_and_kill_9() {
    let difys = difys(3).await;
    let gateway = Process::start(&difys, "").await;
    let first = send(gateway.listen, turn("alice", "")).await;
    let (home, conversation) = (first.instance(), of_conversation(&first));
    // What it learned is on the disk within a tenth of a second.
    let written = async {
        while status(&gateway).await["store"]["written"].as_u64().unwrap() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), written).await.unwrap();

    // A is drained: new conversations go elsewhere, this one stays.
    let draining = format!("name: {home},");
    let drain = |text: &str| text.replace(&draining, &format!("{draining} drain: true,"));
    reload(&gateway, drain).await;
    let fresh = send(gateway.listen, turn("alice", "")).await;
    assert_eq!(fresh.status, StatusCode::OK);
    assert_ne!(fresh.instance(), home);

    // B and C are restarted.
    break_all(&difys, &home, Fault::Killed).await;
    let during = send(gateway.listen, turn("alice", &conversation)).await;
    assert_eq!((during.instance(), of_conversation(&during)), (home.clone(), conversation.clone()));
    break_all(&difys, &home, Fault::None).await;

    // And the gateway is killed with -9 and started again.
    let gateway = gateway.killed_and_started().await;
    assert!(status(&gateway).await["owners"]["known"].as_u64().unwrap() >= 1);
    difys.iter().for_each(Dify::clear_served);
    let after = send(gateway.listen, turn("alice", &conversation)).await;
    assert_eq!((after.instance(), of_conversation(&after)), (home.clone(), conversation));
    let posts = |dify: &Dify| dify.served().iter().filter(|s| s.method == "POST").count();
    assert_eq!(difys.iter().map(posts).sum::<usize>(), 1, "nobody else had to be asked");
    until(gateway.admin, "shop", &home, "draining").await;
}
