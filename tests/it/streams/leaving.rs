//! Clients go away in the middle; what becomes of their runs.

use std::time::Duration;

use dify_sim::Fault;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rig::{Plan, Rig, open, post, send, stream};

/// Begins a stream, reads its first event, goes away.
async fn begin_and_leave(rig: &Rig, tokens: u32, gap_s: f64) {
    let mut body = open(rig.addr(), stream("alice", tokens, gap_s)).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
}

/// Waits until `/status` says that nothing is under way, and gives it.
async fn settled(rig: &Rig) -> Value {
    let settled = async {
        loop {
            if rig.status().await["stats"]["in_flight"] == 0 {
                // One status is not of one instant: this one is of after it.
                return rig.status().await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), settled).await.unwrap()
}

fn stops(rig: &Rig) -> Vec<(String, Option<String>)> {
    let served = rig.difys.iter().flat_map(dify_sim::Dify::served);
    let stops = served.filter(|served| served.path.ends_with("/stop"));
    stops.map(|served| (served.path, served.user)).collect()
}

#[tokio::test]
async fn a_streamed_run_is_stopped_when_its_client_goes_away() {
    let rig = Rig::start(3).await;
    begin_and_leave(&rig, 1000, 0.05).await;
    let status = settled(&rig).await;
    let stops = stops(&rig);
    assert_eq!(stops.len(), 1, "{stops:?}");
    assert!(stops[0].0.starts_with("/v1/chat-messages/"), "{stops:?}");
    assert_eq!(stops[0].1.as_deref(), Some("alice"));
    assert_eq!(status["stats"]["by_reason"]["client_gone"], 1, "{status}");
    assert_eq!(status["applications"]["shop"]["stopped"], 1, "{status}");
    let metrics = http::Request::get("/metrics").body("").unwrap();
    let metrics = send(rig.gateway.admin(), metrics).await.text();
    let line = "difygate_app_runs_stopped_total{app=\"shop\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_run_is_stopped_even_if_its_client_goes_before_the_first_event() {
    let rig = Rig::start(2).await;
    for dify in &rig.difys {
        dify.set_fault(Fault::Slow(Duration::from_millis(400))).await.unwrap();
    }
    let request = open(rig.addr(), stream("alice", 1000, 0.05));
    assert!(timeout(Duration::from_millis(150), request).await.is_err(), "it is slow");
    let stopped = async {
        while stops(&rig).is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), stopped).await.unwrap();
    settled(&rig).await;
}

#[tokio::test]
async fn a_run_that_nothing_was_sent_of_is_not_sent_after_its_client_went() {
    let rig = Plan::new(1).with_instances(", max_concurrent: 1").start().await;
    let mut busy = open(rig.addr(), stream("bob", 20, 0.05)).await.unwrap().into_body();
    busy.frame().await.unwrap().unwrap();
    let waiting = open(rig.addr(), stream("alice", 5, 0.0));
    assert!(timeout(Duration::from_millis(200), waiting).await.is_err(), "it waits for a slot");
    while busy.frame().await.is_some() {}
    settled(&rig).await;
    let runs = rig.difys[0].served().iter().filter(|s| s.path == "/v1/chat-messages").count();
    assert_eq!(runs, 1);
}

#[tokio::test]
async fn a_run_is_drained_where_the_app_says_so() {
    let rig = Plan::new(1).with("on_disconnect: drain").start().await;
    begin_and_leave(&rig, 15, 0.03).await;
    let status = settled(&rig).await;
    assert_eq!(stops(&rig).len(), 0);
    assert_eq!(status["applications"]["shop"]["drained"], 1, "{status}");
}

#[tokio::test]
async fn a_blocking_run_goes_on_without_its_client() {
    let rig = Rig::start(1).await;
    rig.difys[0].set_fault(Fault::Slow(Duration::from_millis(600))).await.unwrap();
    let body = json!({
        "inputs": {}, "query": "hello", "response_mode": "blocking", "user": "alice",
    });
    let request = open(rig.addr(), post("/v1/chat-messages", &body));
    assert!(timeout(Duration::from_millis(150), request).await.is_err(), "it takes a while");
    let status = settled(&rig).await;
    assert_eq!(status["applications"]["shop"]["drained"], 1, "{status}");
    assert_eq!(stops(&rig).len(), 0);
}

#[tokio::test]
async fn the_connection_is_closed_where_the_app_says_so() {
    let rig = Plan::new(1).with("on_disconnect: close").start().await;
    begin_and_leave(&rig, 1000, 0.05).await;
    let status = settled(&rig).await;
    assert_eq!(stops(&rig).len(), 0);
    assert_eq!(status["applications"]["shop"]["drained"], 0, "{status}");
}
