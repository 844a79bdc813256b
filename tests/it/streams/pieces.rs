//! Answers as they come.

use std::time::Duration;

use dify_sim::Fault;
use http::StatusCode;
use http_body_util::BodyExt;

use crate::rig::{Plan, Rig, has_event, open, stream, try_send};

#[tokio::test]
async fn a_stream_arrives_event_by_event_as_the_instance_sends_it() {
    let rig = Rig::start(2).await;
    let mut body = open(rig.addr(), stream("alice", 600, 0.1)).await.unwrap().into_body();
    let mut messages = 0;
    while messages < 10 {
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let event = str::from_utf8(&data).unwrap();
        // One event in is one event out: no piece holds two, none a half.
        assert!(event.starts_with("data: ") && event.ends_with("\n\n"), "{event:?}");
        assert_eq!(event.matches("\n\n").count(), 1, "{event:?}");
        messages += usize::from(has_event(event, "message"));
    }
    // A gateway that gathered them would deliver all at the end, which is a minute away.
    assert_eq!(rig.status().await["stats"]["in_flight"], 1);
}

#[tokio::test]
async fn a_stream_that_the_instance_cuts_ends_with_an_error_event() {
    let rig = Rig::start(1).await;
    rig.difys[0].set_fault(Fault::CutAfter(900)).await.unwrap();
    let answer = try_send(rig.addr(), stream("alice", 40, 0.0)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let text = answer.text();
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let event: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(event["event"], "error", "{text}");
    let status = rig.status().await;
    assert_eq!(status["stats"]["by_reason"]["answer_cut"], 1, "{status}");
}

#[tokio::test]
async fn a_blocking_answer_that_the_instance_cuts_is_visibly_broken() {
    let rig = Rig::start(1).await;
    rig.difys[0].set_fault(Fault::HalfBody).await.unwrap();
    let broken = try_send(rig.addr(), crate::rig::chat("alice")).await;
    assert!(broken.is_err(), "{broken:?}");
}

#[tokio::test]
async fn a_stream_that_stands_still_is_ended() {
    let rig = Plan::new(1).with("timeouts: { idle: 300ms }").start().await;
    let mut body = open(rig.addr(), stream("alice", 20, 0.05)).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    rig.difys[0].set_fault(Fault::Frozen).await.unwrap();
    let mut last = String::new();
    while let Some(frame) = body.frame().await {
        last = String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap();
    }
    assert!(has_event(&last, "error"), "{last}");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_instance() {
    let rig = Rig::start(1).await;
    let mut body = open(rig.addr(), stream("alice", 1000, 0.02)).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(rig.status().await["stats"]["in_flight"], 1);
    drop(body);
    let gone = async {
        while rig.status().await["stats"]["in_flight"] != 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert_eq!(rig.status().await["stats"]["by_reason"]["client_gone"], 1);
}

#[tokio::test]
async fn many_streams_at_once_are_all_whole() {
    let rig = Plan::new(3).with_instances(", max_concurrent: 200").start().await;
    let streams = (0..100).map(|user| {
        let request = stream(&format!("user-{user}"), 20, 0.01);
        tokio::spawn(try_send(rig.addr(), request))
    });
    for answer in streams.collect::<Vec<_>>() {
        let answer = answer.await.unwrap().unwrap();
        assert!(has_event(&answer.text(), "message_end"), "{answer:?}");
    }
}
