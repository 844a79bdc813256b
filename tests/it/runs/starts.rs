//! Streamed flows that wait for a worker, and those for which there is none.

use std::time::Duration;

use dify_sim::{App, Fault, Flow, Mode, Pace, Release};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rig::{Answer, Plan, Rig, has_event, open, post};

/// Releases whose flows are streamed by a worker.
const WORKERS: [Release; 2] = [Release::V1_14, Release::Main];

/// Difys whose `shop` is a chatflow, with so many workers each.
fn plan(count: usize, release: Release, workers: usize) -> Plan {
    plan_of(count, release, workers, Mode::AdvancedChat)
}

fn plan_of(count: usize, release: Release, workers: usize, mode: Mode) -> Plan {
    Plan::new(count).with_difys(move |mut setup| {
        for known in &mut setup.apps {
            if known.key.starts_with("app-shop-") {
                *known = App::new(mode, known.key.clone()).with_flow(Flow::Llm);
            }
        }
        let pace = Pace { second: Duration::from_millis(20), ..Pace::default() };
        setup.with_release(release).with_workers(workers).with_pace(pace)
    })
}

fn turn(user: &str, query: &str) -> Request<bytes::Bytes> {
    let body = json!({ "inputs": {}, "query": query, "response_mode": "streaming", "user": user });
    post("/v1/chat-messages", &body)
}

fn question(user: &str, query: &str, stream: bool) -> Request<bytes::Bytes> {
    let body = json!({ "model": "shop", "stream": stream, "user": user,
        "messages": [{ "role": "user", "content": query }] });
    post("/v1/chat/completions", &body)
}

/// What `/status` says of an instance of `shop`.
async fn instance(rig: &Rig, name: &str) -> Value {
    rig.status().await["applications"]["shop"]["instances"][name].clone()
}

/// Waits until `/status` says so of an instance of `shop`.
async fn until(rig: &Rig, name: &str, says: impl Fn(&Value) -> bool) -> Value {
    let reached = async {
        loop {
            let now = instance(rig, name).await;
            if says(&now) {
                return now;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), reached).await.unwrap()
}

async fn break_workers(rig: &Rig, fault: Fault) {
    for dify in &rig.difys {
        dify.set_fault(fault).await.unwrap();
    }
}

fn not_started(answer: &Answer) -> bool {
    let text = answer.text();
    has_event(&text, "error") && text.contains("run_not_started") && text.contains("504")
}

#[tokio::test]
async fn a_flow_that_does_not_start_ends_with_an_error_event_and_is_sent_to_nobody_else() {
    for release in WORKERS {
        let rig = plan(2, release, 1).with("timeouts: { run_start: 400ms }").start().await;
        break_workers(&rig, Fault::WorkerAbsent).await;
        let answer = rig.send(turn("alice", "hello")).await;
        assert_eq!(answer.status, StatusCode::OK, "{release}");
        assert!(not_started(&answer), "{release}: {answer:?}");
        assert_eq!(rig.served().iter().sum::<usize>(), 1, "{release}");
        // One silent run counts against nobody.
        let home = instance(&rig, &answer.instance()).await;
        assert_eq!((&home["status"], &home["runs"]["state"]), (&json!("healthy"), &json!("up")));
        assert_eq!(home["runs"]["not_started"], 1, "{home}");
        // The connection is kept, since Dify's place is taken.
        assert_eq!(home["runs"]["under_way"], 1, "{home}");
        assert_eq!(rig.status().await["stats"]["by_reason"]["run_not_started"], 1);
        // The run is done when a worker is back.
        break_workers(&rig, Fault::None).await;
        until(&rig, &answer.instance(), |now| now["runs"]["under_way"] == 0).await;
        let ran: usize = rig.difys.iter().map(|dify| dify.runs().len()).sum();
        assert_eq!(ran, 1, "{release}");
    }
}

#[tokio::test]
async fn an_ai_client_of_a_flow_that_does_not_start_gets_504() {
    for release in WORKERS {
        let rig = plan(1, release, 1).with("timeouts: { run_start: 300ms }").start().await;
        break_workers(&rig, Fault::WorkerAbsent).await;
        for stream in [false, true] {
            let answer = rig.send(question("alice", "hello", stream)).await;
            assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{release} {answer:?}");
            assert_eq!(answer.json()["error"]["code"], "run_not_started", "{answer:?}");
            assert_eq!(answer.header("x-should-retry"), Some("false"), "{answer:?}");
        }
        break_workers(&rig, Fault::None).await;
    }
}

#[tokio::test]
async fn after_the_head_of_its_stream_an_ai_client_gets_comments_and_then_the_error() {
    let rig = plan(1, Release::V1_14, 1).with("timeouts: { run_start: 6s }").start().await;
    break_workers(&rig, Fault::WorkerAbsent).await;
    let answer = rig.send(question("alice", "hello", true)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = answer.text();
    assert!(text.starts_with(": ") && text.contains("run_not_started"), "{text}");
}

#[tokio::test]
async fn a_ping_alone_does_not_decide_the_status_of_an_ai_answer() {
    for release in WORKERS {
        let rig = plan(1, release, 1).without_probes().start().await;
        let first = rig.send(question("alice", "hello", true)).await;
        assert_eq!(first.status, StatusCode::OK, "{release} {first:?}");
        // 200, a ping, and the stream is cut off.
        break_workers(&rig, Fault::RedisDown).await;
        for stream in [true, false] {
            let answer = rig.send(question("bob", "hello", stream)).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{release} {stream} {answer:?}");
        }
    }
}

#[tokio::test]
async fn silent_runs_of_two_users_take_an_instance_out_for_flows_until_one_goes_on() {
    for release in WORKERS {
        let plan = plan(2, release, 4).with("timeouts: { run_start: 1s }");
        let rig = plan.with("method: weighted_round_robin").start().await;
        rig.difys[0].set_fault(Fault::WorkerAbsent).await.unwrap();
        // Shows that the app is a flow, and tries both.
        let users = ["alice", "bob", "carol", "dave"];
        let turns = users.map(|user| rig.send(turn(user, "hello")));
        let answers = futures_join(turns).await;
        assert!(answers.iter().any(not_started), "{release}");
        let out = until(&rig, "dify1", |now| now["runs"]["state"] == "no worker?").await;
        assert_eq!(out["status"], "healthy", "{out}");
        assert!(out["reason"].as_str().unwrap().starts_with("no worker?"), "{out}");
        let metrics =
            crate::rig::send(rig.gateway.admin(), Request::get("/metrics").body("").unwrap());
        assert!(metrics.await.text().contains("difygate_instance_no_worker"));
        let explained = Request::post("/explain").header("content-type", "application/json");
        let explained = explained.body(r#"{"app": "shop", "user": "alice"}"#).unwrap();
        let explained = crate::rig::send(rig.gateway.admin(), explained).await.text();
        assert!(explained.contains("no worker?"), "{explained}");
        // Blocking calls still go there, and all but one trial a span goes elsewhere.
        let mut blocking = Vec::new();
        for _ in 0..4 {
            blocking.push(rig.chat("alice").await.instance());
        }
        assert!(blocking.iter().any(|name| name == "dify1"), "{blocking:?}");
        let mut streamed = Vec::new();
        for number in 0..6 {
            streamed.push(rig.send(turn(&format!("user-{number}"), "hello")).await);
        }
        let there = streamed.iter().filter(|answer| answer.instance() == "dify1").count();
        assert!(there <= 3 && streamed.iter().filter(|a| !not_started(a)).count() >= 3);
        // A run that waited goes on: it is back.
        rig.difys[0].set_fault(Fault::None).await.unwrap();
        until(&rig, "dify1", |now| now["runs"]["state"] == "up").await;
    }
}

/// All at once.
async fn futures_join<F: Future<Output = Answer>, const N: usize>(all: [F; N]) -> Vec<Answer> {
    let mut all: Vec<_> = all.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, answer) in &mut all {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *answer = Some(done),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, answer)| answer).collect()
}

#[tokio::test]
async fn runs_that_queue_behind_one_that_goes_on_count_against_nobody() {
    for release in WORKERS {
        let rig = plan(1, release, 1).with("timeouts: { run_start: 400ms }").start().await;
        // 40 tokens in 4 s; the worker has one place.
        let mut long = open(rig.addr(), turn("alice", "tokens 40 5")).await.unwrap().into_body();
        long.frame().await.unwrap().unwrap();
        until(&rig, "dify1", |now| now["runs"]["under_way"] == 1).await;
        let answers =
            futures_join(["bob", "carol"].map(|user| rig.send(turn(user, "hello")))).await;
        assert!(answers.iter().all(not_started), "{release}: {answers:?}");
        let now = instance(&rig, "dify1").await;
        assert_eq!(now["runs"]["state"], "up", "{now}");
        assert_eq!(now["runs"]["not_started"], 2, "{now}");
        let hint = now["hint"].as_str().unwrap();
        assert!(hint.contains("CELERY_WORKER_AMOUNT"), "{hint}");
        drop(long);
    }
}

#[tokio::test]
async fn runs_above_max_runs_wait_here_in_turn() {
    for release in [Release::V1_5, Release::V1_14] {
        let plan = plan(1, release, 4)
            .with_instances(", max_runs: 1, queue: { size: 2, run_timeout: 20s }");
        let rig = plan.start().await;
        let mut long = open(rig.addr(), turn("alice", "tokens 40 2")).await.unwrap().into_body();
        long.frame().await.unwrap().unwrap();
        let before = rig.served()[0];
        let addr = rig.addr();
        let wait = |user: &'static str| tokio::spawn(crate::rig::send(addr, turn(user, "hello")));
        let bob = wait("bob");
        until(&rig, "dify1", |now| now["runs"]["waiting"] == 1).await;
        let carol = wait("carol");
        let full = until(&rig, "dify1", |now| now["runs"]["waiting"] == 2).await;
        assert_eq!((&full["runs"]["max_runs"], &full["runs"]["under_way"]), (&json!(1), &json!(1)));
        assert_eq!(rig.served()[0], before, "{release}");
        // The queue is full. Blocking calls do not wait.
        let dave = rig.send(turn("dave", "hello")).await;
        assert_eq!(dave.status, StatusCode::TOO_MANY_REQUESTS, "{dave:?}");
        assert!(dave.header("retry-after").is_some(), "{dave:?}");
        assert_eq!(rig.chat("erin").await.status, StatusCode::OK);
        let long = long.collect().await.unwrap().to_bytes();
        assert!(has_event(&String::from_utf8_lossy(&long), "workflow_finished"), "{release}");
        for task in [bob, carol] {
            let answer = task.await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{release}: {answer:?}");
            assert!(has_event(&answer.text(), "workflow_finished"), "{release}: {answer:?}");
        }
        let now = until(&rig, "dify1", |now| now["runs"]["under_way"] == 0).await;
        assert!(now["runs"]["queued"].as_u64() >= Some(2), "{now}");
    }
}

#[tokio::test]
async fn a_run_that_waits_for_too_long_gets_429_and_one_that_is_free_goes_where_there_is_room() {
    let plan = plan(2, Release::V1_14, 4).with("method: weighted_round_robin");
    let rig = plan.with_instances(", max_runs: 1, queue: { run_timeout: 300ms }").start().await;
    rig.send(turn("alice", "hello")).await;
    let mut streams = Vec::new();
    let mut homes = Vec::new();
    for user in ["alice", "bob"] {
        let answer = open(rig.addr(), turn(user, "tokens 40 5")).await.unwrap();
        homes.push(answer.headers()["x-difygate-instance"].clone());
        let mut body = answer.into_body();
        body.frame().await.unwrap().unwrap();
        streams.push(body);
    }
    // Each has a place of its own, whoever's turn it was.
    assert_ne!(homes[0], homes[1]);
    let carol = rig.send(turn("carol", "hello")).await;
    assert_eq!(carol.status, StatusCode::TOO_MANY_REQUESTS, "{carol:?}");
}

#[tokio::test]
async fn a_plain_chat_whose_first_token_is_late_is_no_run_that_has_not_started() {
    for release in [Release::V1_5, Release::V1_14] {
        let plan = plan_of(1, release, 1, Mode::Chat).with("timeouts: { run_start: 200ms }");
        let pace = Pace { first_token: Duration::from_secs(1), ..Pace::default() };
        let rig = plan.with_difys(move |setup| setup.with_pace(pace)).start().await;
        let answer = rig.send(turn("alice", "hello")).await;
        assert!(has_event(&answer.text(), "message_end"), "{release}: {answer:?}");
    }
}
