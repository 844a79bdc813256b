//! Probes and connections.

use std::time::Duration;

use dify_sim::{Fault, Release};
use http::{Request, StatusCode};
use tokio::time::{sleep, timeout};

use super::landscapes::{landscapes, rig};
use crate::rig::{Plan, Rig, open, send, stream};

/// Waits until an instance is in this state.
async fn until(rig: &Rig, name: &str, state: &str) {
    let reached = async {
        while rig.status().await["applications"]["shop"]["instances"][name]["state"] != state {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), reached).await.unwrap();
}

async fn ready(rig: &Rig) -> StatusCode {
    send(rig.gateway.admin(), Request::get("/ready").body("").unwrap()).await.status
}

#[tokio::test]
async fn every_release_is_in_rotation_and_comes_back_after_a_restart() {
    for releases in landscapes() {
        let rig = rig(&releases, "last_resort: refuse").await;
        for number in 1..=releases.len() {
            until(&rig, &format!("dify{number}"), "up").await;
        }
        assert_eq!(ready(&rig).await, StatusCode::OK, "{releases:?}");
        assert_eq!(rig.chat("alice").await.status, StatusCode::OK, "{releases:?}");
        for dify in &rig.difys {
            dify.set_fault(Fault::Killed).await.unwrap();
        }
        for number in 1..=releases.len() {
            until(&rig, &format!("dify{number}"), "down").await;
        }
        assert_eq!(ready(&rig).await, StatusCode::SERVICE_UNAVAILABLE, "{releases:?}");
        let refused = rig.chat("alice").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
        for dify in &rig.difys {
            dify.set_fault(Fault::None).await.unwrap();
        }
        for number in 1..=releases.len() {
            until(&rig, &format!("dify{number}"), "up").await;
        }
        assert_eq!(rig.chat("alice").await.status, StatusCode::OK, "{releases:?}");
    }
}

#[tokio::test]
async fn behind_difys_own_nginx_it_is_in_rotation_until_its_api_is_gone() {
    for release in Release::ALL {
        let rig = Plan::new(1).with_difys(|setup| setup.with_release(release).with_nginx());
        let rig = rig.with("last_resort: refuse").start().await;
        until(&rig, "dify1", "up").await;
        assert_eq!(rig.chat("alice").await.status, StatusCode::OK, "{release}");
        // nginx lives on and answers 502.
        rig.difys[0].set_fault(Fault::Killed).await.unwrap();
        until(&rig, "dify1", "down").await;
        rig.difys[0].set_fault(Fault::None).await.unwrap();
        until(&rig, "dify1", "up").await;
    }
}

#[tokio::test]
async fn a_dify_that_is_full_of_our_streams_is_busy_and_not_down() {
    for release in [Release::V1_5, Release::Main] {
        // Ten connections at Dify, as it is shipped, and nothing said about that in the configuration.
        let rig = Plan::new(1).with_difys(|setup| setup.with_release(release).with_slots(10));
        let rig = rig.with("probe: { interval: 50ms, fast_interval: 50ms, timeout: 100ms }");
        let rig = rig.start().await;
        until(&rig, "dify1", "up").await;
        // A user who was met, so that the others need not wait.
        assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
        let mut streams = Vec::new();
        for _ in 0..12 {
            let request = stream("alice", 20, 0.1);
            streams.push(tokio::spawn(open(rig.addr(), request)));
        }
        for _ in 0..10 {
            sleep(Duration::from_millis(100)).await;
            let status = rig.status().await;
            let dify = &status["applications"]["shop"]["instances"]["dify1"];
            assert_eq!(dify["state"], "up", "{release}: {dify}");
        }
        for stream in streams {
            let answer = stream.await.unwrap().unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{release}");
            let text = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
            let text = String::from_utf8_lossy(&text.to_bytes()).into_owned();
            assert!(crate::rig::has_event(&text, "message_end"), "{release}: {text}");
        }
        let status = rig.status().await;
        let dify = &status["applications"]["shop"]["instances"]["dify1"];
        assert!(dify["queued"].as_u64().unwrap() >= 2, "{dify}");
        let hint = dify["hint"].as_str().unwrap();
        assert!(
            hint.contains("SERVER_WORKER_CONNECTIONS") && hint.contains("max_concurrent"),
            "{hint}"
        );
    }
}
