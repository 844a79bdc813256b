//! Flows that a worker streams, from 1.13 on: places, a queue, a worker lost, a client that left.

use crate::client::Client;
use crate::{ask, events, get, newer, post};
use dify_sim::{App, Dify, Fault, Flow, Mode, Pace, Release, RunEnd, Setup};
use serde_json::{Value, json};
use std::time::Duration;

/// A chatflow `slow` that sleeps so many seconds as the query says, and takes them for 10 ms each.
fn slow(release: Release) -> Setup {
    let pace = Pace { second: Duration::from_millis(10), ..newer(release).pace };
    newer(release)
        .with_pace(pace)
        .with_app(App::new(Mode::AdvancedChat, "slow").with_flow(Flow::Slow))
}

fn sleep(seconds: u32) -> Vec<u8> {
    let body = json!({"inputs": {}, "query": seconds.to_string(), "user": "alice",
        "response_mode": "streaming"});
    post("/v1/chat-messages", "slow", &body)
}

/// The first event that is no ping.
async fn first_event(client: &mut Client) -> Value {
    for count in 1.. {
        client.read_chunks(count).await;
        if let Some(event) = events(client).first() {
            return event.clone();
        }
    }
    Value::Null
}

#[tokio::test]
async fn a_run_without_a_place_waits_with_its_head_and_a_ping_sent() {
    let dify = Dify::start(slow(Release::V1_13)).await.unwrap();
    let mut first = Client::send(dify.addr(), &sleep(200)).await;
    first_event(&mut first).await;
    let mut second = Client::send(dify.addr(), &sleep(0)).await;
    second.read_chunks(1).await;
    assert_eq!(second.chunks, ["event: ping\n\n"]);
    assert!(second.is_silent(Duration::from_millis(100)).await);
    first.read_all("POST").await;
    second.read_all("POST").await;
    assert_eq!(events(&second).last().unwrap()["event"], "workflow_finished");
}

#[tokio::test]
async fn as_many_run_at_once_as_the_worker_has_places() {
    for (workers, seconds, end) in [(1, 40, RunEnd::Succeeded), (2, 80_000, RunEnd::Running)] {
        let dify = Dify::start(slow(Release::Main).with_workers(workers)).await.unwrap();
        let mut long = Client::send(dify.addr(), &sleep(seconds)).await;
        first_event(&mut long).await;
        let mut short = Client::send(dify.addr(), &sleep(0)).await;
        short.read_all("POST").await;
        assert_eq!(dify.runs()[0].end, end, "{workers} workers");
    }
}

#[tokio::test]
async fn a_killed_worker_loses_its_runs_and_the_queue_waits_for_the_next() {
    let dify = Dify::start(slow(Release::V1_13)).await.unwrap();
    let mut lost = Client::send(dify.addr(), &sleep(200)).await;
    let run = first_event(&mut lost).await["workflow_run_id"].clone();
    let mut queued = Client::send(dify.addr(), &sleep(0)).await;
    queued.read_chunks(1).await;
    dify.set_fault(Fault::WorkerKilled).await.unwrap();
    while !lost.is_silent(Duration::from_millis(400)).await {}
    let path = format!("/v1/workflows/run/{}", run.as_str().unwrap());
    let shown = ask(&dify, &get(&path, "slow")).await;
    assert!(shown.head.starts_with("HTTP/1.1 200") || shown.head.starts_with("HTTP/1.1 400"));
    dify.set_fault(Fault::None).await.unwrap();
    queued.read_all("POST").await;
    assert_eq!(events(&queued).last().unwrap()["event"], "workflow_finished");
    assert!(lost.is_silent(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn an_absent_worker_ends_what_it_has_and_takes_nothing_more() {
    let dify = Dify::start(slow(Release::Main)).await.unwrap();
    let mut running = Client::send(dify.addr(), &sleep(10)).await;
    first_event(&mut running).await;
    dify.set_fault(Fault::WorkerAbsent).await.unwrap();
    let mut waiting = Client::send(dify.addr(), &sleep(0)).await;
    running.read_all("POST").await;
    assert_eq!(events(&running).last().unwrap()["event"], "workflow_finished");
    waiting.read_chunks(1).await;
    assert!(waiting.is_silent(Duration::from_millis(100)).await);
    // What the API does itself does not need it.
    let body = json!({"inputs": {}, "query": "0", "user": "alice", "response_mode": "blocking"});
    let blocking = ask(&dify, &post("/v1/chat-messages", "slow", &body)).await;
    assert!(blocking.head.starts_with("HTTP/1.1 200"), "{}", blocking.head);
    dify.set_fault(Fault::None).await.unwrap();
    waiting.read_all("POST").await;
    assert_eq!(events(&waiting).last().unwrap()["event"], "workflow_finished");
}

#[tokio::test]
async fn a_client_that_left_a_silent_stream_holds_its_slot_until_the_next_write() {
    let dify = Dify::start(slow(Release::Main)).await.unwrap();
    let mut client = Client::send(dify.addr(), &sleep(200)).await;
    first_event(&mut client).await;
    while !client.is_silent(Duration::from_millis(100)).await {}
    drop(client);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(dify.open_connections(), 1);
    tokio::time::timeout(Duration::from_secs(20), dify.wait_for_open(0)).await.unwrap();
}

#[tokio::test]
async fn a_run_outlives_the_api_and_its_events_are_asked_for_again() {
    let dify = Dify::start(slow(Release::Main)).await.unwrap();
    let mut client = Client::send(dify.addr(), &sleep(300)).await;
    let first = first_event(&mut client).await;
    let run = first["workflow_run_id"].as_str().unwrap();
    let conversation = first["conversation_id"].as_str().unwrap();
    dify.set_fault(Fault::Killed).await.unwrap();
    client.read_all("POST").await;
    assert!(!client.complete);
    dify.set_fault(Fault::None).await.unwrap();
    let path = format!("/v1/workflow/{run}/events?user=alice&include_state_snapshot=true");
    let again = ask(&dify, &get(&path, "slow")).await;
    let names: Vec<_> = events(&again).iter().map(|event| event["event"].clone()).collect();
    assert_eq!(names.first().unwrap(), "workflow_started");
    assert_eq!(names.last().unwrap(), "workflow_finished");
    let finished = ask(&dify, &get(&path, "slow")).await;
    assert_eq!(events(&finished).len(), 1);
    let messages = format!("/v1/messages?user=alice&conversation_id={conversation}");
    let messages = ask(&dify, &get(&messages, "slow")).await;
    let messages: Value = serde_json::from_slice(&messages.body).unwrap();
    assert_eq!(messages["data"][0]["answer"], "Before the wait. After: slept 300.0");
}
