//! Runs: who may stop one, and what of it is found again.

use dify_sim::Release;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::json;

use super::landscapes::{id, landscapes, rig, stranger, turn};
use crate::rig::{has_event, open, post, request};

/// Begins a long stream and reads it until its task is known.
async fn begin(rig: &crate::rig::Rig, user: &str) -> (String, hyper::body::Incoming, String) {
    let body = json!({ "inputs": {}, "query": "tokens 40 1", "response_mode": "streaming",
        "user": user });
    let mut stream = open(rig.addr(), post("/v1/chat-messages", &body)).await.unwrap().into_body();
    let mut seen = String::new();
    loop {
        let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
        seen.push_str(&String::from_utf8_lossy(&frame));
        let events = seen.lines().filter_map(|line| line.strip_prefix("data:"));
        let values = events.filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok());
        if let Some(task) = values.filter_map(|v| v["task_id"].as_str().map(str::to_owned)).next() {
            return (task, stream, seen);
        }
    }
}

#[tokio::test]
async fn a_stop_reaches_only_the_users_own_run() {
    for release in Release::ALL {
        for settings in ["", "storage: shared"] {
            let rig = rig(&[release; 2], settings).await;
            let (task, stream, seen) = begin(&rig, "alice").await;
            let path = format!("/v1/chat-messages/{task}/stop");
            let bob = rig.send(post(&path, &json!({ "user": "bob" }))).await;
            assert_eq!(bob.status, StatusCode::NOT_FOUND, "{release}: {bob:?}");
            // However the path is written.
            for path in [
                format!("/v1/chat%2dmessages/{task}/stop"),
                format!("/v1/chat-messages/{task}/st%6fp"),
                format!("/v1/chat-messages/{task}%2Fstop"),
                format!("/v1/chat-messages/%{:02x}{}/stop", task.as_bytes()[0], &task[1..]),
            ] {
                let bob = rig.send(post(&path, &json!({ "user": "bob" }))).await;
                assert_eq!(bob.status, StatusCode::NOT_FOUND, "{release} {path}: {bob:?}");
            }
            let elsewhere: Vec<_> = rig.difys.iter().flat_map(dify_sim::Dify::served).collect();
            assert!(elsewhere.iter().all(|served| !served.path.ends_with("/stop")), "{release}");
            if settings.is_empty() {
                let alice = rig.send(post(&path, &json!({ "user": "alice" }))).await;
                assert_eq!(alice.status, StatusCode::OK, "{release}: {alice:?}");
                assert_eq!(alice.json()["result"], "success");
            }
            let rest = stream.collect().await.unwrap().to_bytes();
            let text = seen + &String::from_utf8_lossy(&rest);
            let stopped = !text.contains("tok39");
            assert_eq!(stopped, settings.is_empty(), "{release} {settings}");
        }
    }
}

#[tokio::test]
async fn a_stop_of_an_unknown_task_goes_to_all_by_a_user_token_and_to_nobody_by_a_key() {
    for release in [Release::V1_5, Release::Main] {
        let settings = "keys: [{ name: team, secret: sk-team }]";
        let rig = rig(&[release; 2], settings).await;
        let path = "/v1/chat-messages/11111111-2222-4333-8444-555555555555/stop";
        let answer = rig.send(post(path, &json!({ "user": "alice" }))).await;
        assert_eq!(answer.status, StatusCode::OK, "{release}: {answer:?}");
        let stops = |rig: &crate::rig::Rig| -> usize {
            let served = rig.difys.iter().flat_map(dify_sim::Dify::served);
            served.filter(|served| served.path.ends_with("/stop")).count()
        };
        assert_eq!(stops(&rig), 2, "{release}");
        let mut by_key = post(path, &json!({ "user": "alice" }));
        by_key.headers_mut().insert("authorization", "Bearer sk-team".parse().unwrap());
        by_key.headers_mut().insert("x-difygate-app", "shop".parse().unwrap());
        let answer = rig.send(by_key).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{release}: {answer:?}");
        assert_eq!(stops(&rig), 2, "{release}");
    }
}

#[tokio::test]
async fn a_run_is_found_whoever_is_asked_first() {
    for releases in landscapes() {
        let rig = rig(&releases, "").await;
        let first = rig.send(turn("alice", "", "streaming")).await;
        let (home, run) = (first.instance(), id(&first, "workflow_run_id"));
        assert!(has_event(&first.text(), "workflow_finished"), "{first:?}");
        let stranger = stranger(&rig, &home).await;
        let other = rig.beside().await;
        let path = format!("/v1/workflows/run/{run}");
        let key = format!("Bearer app-shop-{}", home.strip_prefix("dify").unwrap());
        let direct = http::Request::get(&path).header("authorization", key).body("").unwrap();
        let direct = crate::rig::send(rig.dify(&home).addr(), direct).await;
        for gateway in [rig.addr(), other.addr()] {
            let detail = request("GET", &path).header("x-user-id", &stranger).body("").unwrap();
            let detail = crate::rig::send(gateway, detail).await;
            // What the Dify of the run says of it, some of a chatflow's run that it is none.
            assert_eq!(detail.status, direct.status, "{releases:?} {detail:?}");
            assert_eq!(detail.body, direct.body, "{releases:?}");
            if direct.status == StatusCode::OK {
                assert_eq!(detail.instance(), home, "{releases:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_reason_of_a_failed_flow_reaches_an_ai_client() {
    for release in Release::ALL {
        let rig = rig(&[release], "").await;
        let body = json!({ "model": "shop", "stream": true, "user": "alice",
            "messages": [{ "role": "user", "content": "errmid please" }] });
        let answer = rig.send(post("/v1/chat/completions", &body)).await;
        assert!(answer.text().contains("died in the middle"), "{release}: {answer:?}");
    }
}
