//! How streams end: with their run, whatever Dify keeps open after it.

use std::time::Duration;

use dify_sim::{App, Dify, Fault, Flow, Mode, Moderation, Pace, Release, Setup};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::landscapes::{by, id, turn};
use crate::rig::{Plan, Rig, has_event, open, post, send};

/// How long Dify keeps a silent stream open here: far longer than any of these tests lasts.
const SILENCE: Duration = Duration::from_secs(300);
/// Longer than the gateway waits after the end of a run, on however busy a machine, and far less than
/// what Dify keeps open.
const PATIENCE: Duration = Duration::from_secs(60);

const MODERATED: &str = "a forbidden word";

/// A fast Dify whose `shop` is a chatflow with moderation; from 1.13 on a question that holds a forbidden
/// word gets an answer and no end.
fn moderated(setup: Setup, release: Release, number: usize) -> Setup {
    let moderation = Moderation {
        words: vec!["forbidden".to_owned()],
        input: Some("not that".to_owned()),
        output: None,
    };
    let app =
        |mode, name: &str| App::new(mode, format!("app-{name}-{number}")).with_flow(Flow::Llm);
    setup
        .with_release(release)
        .with_pace(Pace { silence: SILENCE, ..Pace::default() })
        .with_app(app(Mode::AdvancedChat, "shop").with_moderation(moderation))
        .with_app(app(Mode::Workflow, "flow"))
}

async fn rig(release: Release, count: usize, settings: &str, instance_settings: &str) -> Rig {
    let number = std::cell::Cell::new(0);
    let plan = Plan::new(count).with(settings).with_instances(instance_settings);
    let plan = plan.with_difys(|_| {
        number.set(number.get() + 1);
        moderated(Setup::default(), release, number.get())
    });
    plan.start().await
}

/// A streamed turn with this question.
fn ask(user: &str, query: &str) -> Request<bytes::Bytes> {
    let body = json!({ "inputs": {}, "query": query, "response_mode": "streaming", "user": user });
    post("/v1/chat-messages", &body)
}

async fn metrics(rig: &Rig) -> String {
    send(rig.gateway.admin(), Request::get("/metrics").body("").unwrap()).await.text()
}

fn held(status: &Value) -> u64 {
    let instances = status["applications"]["shop"]["instances"].as_object().unwrap();
    instances.values().map(|instance| instance["held"].as_u64().unwrap()).sum()
}

/// Waits until `/status` says so.
async fn until(rig: &Rig, what: &str, says: impl Fn(&Value) -> bool) -> Value {
    let reached = async {
        loop {
            let status = rig.status().await;
            if says(&status) {
                return status;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never: {what}"))
}

#[tokio::test]
async fn a_stream_ends_with_its_run_and_its_place_stays_counted() {
    for release in [Release::V1_13, Release::V1_14, Release::Main] {
        let rig = rig(release, 1, "", "").await;
        let answer = timeout(PATIENCE, rig.send(ask("alice", MODERATED))).await;
        let answer = answer.unwrap_or_else(|_| panic!("{release}: the stream stays open"));
        assert!(answer.text().contains("not that"), "{release}: {answer:?}");
        assert!(has_event(&answer.text(), "message_end"), "{release}: {answer:?}");
        assert!(!has_event(&answer.text(), "error"), "{release}: {answer:?}");
        let status = until(&rig, "ended", |status| status["stats"]["in_flight"] == 0).await;
        assert_eq!(status["stats"]["by_reason"]["answered"], 1, "{release}: {status}");
        let instance = &status["applications"]["shop"]["instances"]["dify1"];
        assert_eq!((&instance["held"], &instance["failures"]), (&json!(1), &json!(0)), "{release}");
        assert!(instance["connections"].as_u64().unwrap() >= 1, "{release}: {status}");
        let address = rig.difys[0].addr();
        let line = format!("difygate_instance_held_slots{{address=\"{address}\"}} 1");
        let text = metrics(&rig).await;
        assert!(text.contains(&line), "{release}: {line}\n{text}");
        // An AI client's stream leaves the same behind.
        let body = json!({ "model": "shop", "stream": true, "user": "bob",
            "messages": [{ "role": "user", "content": MODERATED }] });
        let answer = timeout(PATIENCE, rig.send(post("/v1/chat/completions", &body))).await;
        assert!(answer.unwrap().text().contains("[DONE]"), "{release}");
        until(&rig, "two held", |status| held(status) == 2).await;
    }
}

#[tokio::test]
async fn a_stream_that_dify_ends_itself_holds_nothing() {
    for release in Release::ALL {
        let rig = rig(release, 1, "", "").await;
        let answer = rig.send(ask("alice", "hello")).await;
        assert_eq!(answer.header("x-accel-buffering"), Some("no"), "{release}: {answer:?}");
        assert!(has_event(&answer.text(), "workflow_finished"), "{release}: {answer:?}");
        let blocking = rig.send(turn("alice", "", "blocking")).await;
        assert_eq!(blocking.header("x-accel-buffering"), None, "{release}: {blocking:?}");
        assert_eq!(held(&rig.status().await), 0, "{release}");
    }
}

#[tokio::test]
async fn who_is_not_tied_goes_past_an_instance_whose_places_are_all_held() {
    let rig = rig(Release::V1_14, 2, "", ", max_concurrent: 2").await;
    let home = rig.instance_of("alice").await;
    let conversation = id(&rig.chat("alice").await, "conversation_id");
    for user in ["x", "y"] {
        let answer = timeout(PATIENCE, rig.send(by("alice", ask(user, MODERATED)))).await.unwrap();
        assert_eq!(answer.instance(), home);
    }
    let status = until(&rig, "both held", |status| held(status) == 2).await;
    assert_eq!(status["applications"]["shop"]["instances"][&home]["held"], 2, "{status}");
    let next = timeout(PATIENCE, rig.chat("alice")).await.unwrap();
    assert_eq!(next.status, StatusCode::OK, "{next:?}");
    assert_ne!(next.instance(), home);
    let question = json!({ "app": "shop", "user": "alice" }).to_string();
    let explained = Request::post("/explain").header("content-type", "application/json");
    let explained = explained.body(question).unwrap();
    let explained = send(rig.gateway.admin(), explained).await.json();
    assert_eq!(explained["asked"], json!([next.instance(), home]), "{explained}");
    // What is there alone waits for a place there: nothing must come meanwhile.
    let waiting = rig.send(turn("alice", &conversation, "blocking"));
    assert!(timeout(Duration::from_millis(200), waiting).await.is_err());
}

#[tokio::test]
async fn where_nobody_else_is_a_request_waits_for_a_held_place() {
    let short = |setup: Setup| {
        let pace = Pace { silence: Duration::from_secs(6), ..Pace::default() };
        moderated(setup, Release::V1_14, 1).with_pace(pace)
    };
    let plan =
        Plan::new(1).with_instances(", max_concurrent: 1").with_difys(|_| short(Setup::default()));
    let rig = plan.start().await;
    rig.send(ask("alice", MODERATED)).await;
    until(&rig, "held", |status| held(status) == 1).await;
    let answer = timeout(PATIENCE, rig.chat("alice")).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(held(&rig.status().await), 0);
}

#[tokio::test]
async fn a_stream_that_is_cut_after_the_end_of_its_run_is_an_answer() {
    for release in [Release::V1_13, Release::V1_14, Release::Main] {
        let lingers = |setup: Setup| {
            let pace = Pace { linger: SILENCE, ..Pace::default() };
            moderated(setup, release, 1).with_pace(pace)
        };
        let plan = Plan::new(1).without_probes().with_difys(|_| lingers(Setup::default()));
        let rig = plan.start().await;
        let mut body = open(rig.addr(), ask("alice", "hello")).await.unwrap().into_body();
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            text.push_str(&String::from_utf8_lossy(&frame.unwrap().into_data().unwrap()));
            if has_event(&text, "workflow_finished") && rig.difys[0].fault() == Fault::None {
                rig.difys[0].set_fault(Fault::Killed).await.unwrap();
            }
        }
        assert!(!has_event(&text, "error"), "{release}: {text}");
        let status = until(&rig, "ended", |status| status["stats"]["in_flight"] == 0).await;
        assert_eq!(status["stats"]["by_reason"]["answered"], 1, "{release}: {status}");
        let instance = &status["applications"]["shop"]["instances"]["dify1"];
        assert_eq!(instance["failures"], 0, "{release}: {status}");
    }
}

fn stops(dify: &Dify) -> Vec<String> {
    let served = dify.served().into_iter();
    served.map(|served| served.path).filter(|path| path.ends_with("/stop")).collect()
}

#[tokio::test]
async fn a_run_whose_client_leaves_the_queue_is_stopped_once_it_begins() {
    let one_place = |setup: Setup| moderated(setup, Release::V1_14, 1).with_workers(1);
    let rig = Plan::new(1).with_difys(|_| one_place(Setup::default())).start().await;
    // Bob's run has the worker's one place until it is stopped.
    let mut first = open(rig.addr(), ask("bob", "tokens 100000 0.05")).await.unwrap().into_body();
    let mut seen = String::new();
    while !seen.contains("task_id") {
        let frame = first.frame().await.unwrap().unwrap().into_data().unwrap();
        seen.push_str(&String::from_utf8_lossy(&frame));
    }
    let mut queued =
        open(rig.addr(), ask("alice", "tokens 100000 0.05")).await.unwrap().into_body();
    let ping = queued.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(!String::from_utf8_lossy(&ping).contains("task_id"));
    drop(queued);
    let status =
        until(&rig, "counted", |status| status["applications"]["shop"]["left_before_task"] == 1);
    let status = status.await;
    assert_eq!(status["stats"]["in_flight"], 2, "it is kept: {status}");
    let line = "difygate_app_runs_left_before_task_total{app=\"shop\"} 1";
    assert!(metrics(&rig).await.contains(line));
    assert_eq!(stops(&rig.difys[0]).len(), 0);
    drop(first);
    let status =
        until(&rig, "both stopped", |status| status["applications"]["shop"]["stopped"] == 2);
    status.await;
    assert_eq!(stops(&rig.difys[0]).len(), 2);
    until(&rig, "nothing under way", |status| status["stats"]["in_flight"] == 0).await;
}

#[tokio::test]
async fn the_log_says_in_difys_words_why_a_flow_failed() {
    for release in Release::ALL {
        let rig = rig(release, 1, "", "").await;
        let beside = rig.beside().await;
        let failing = "errmid please";
        let blocking = json!({ "inputs": {}, "query": failing, "response_mode": "blocking",
            "user": "alice" });
        let ai = json!({ "model": "shop", "user": "alice",
            "messages": [{ "role": "user", "content": failing }] });
        let ai_streamed = json!({ "model": "shop", "stream": true, "user": "alice",
            "messages": [{ "role": "user", "content": failing }] });
        beside.send(ask("alice", failing)).await;
        beside.send(post("/v1/chat-messages", &blocking)).await;
        beside.send(post("/v1/chat/completions", &ai)).await;
        beside.send(post("/v1/chat/completions", &ai_streamed)).await;
        beside.send(post("/v1/chat-messages", &json!({ "inputs": {}, "user": "alice" }))).await;
        let lines = beside.logged().await;
        let details: Vec<_> = lines.iter().filter_map(|line| line["detail"].as_str()).collect();
        let count = |what: &str| details.iter().filter(|detail| detail.contains(what)).count();
        assert_eq!(count("died in the middle"), 4, "{release}: {details:?}");
        assert_eq!(
            count("invalid_param"),
            1 + count("invalid_param: Run"),
            "{release}: {details:?}"
        );
    }
}

#[tokio::test]
async fn a_stop_is_told_as_a_stop_however_dify_says_it() {
    for release in Release::ALL {
        let rig = rig(release, 1, "", "").await;
        let beside = rig.beside().await;
        let request = ask("alice", "tokens 200 0.05");
        let mut body = open(beside.addr(), request).await.unwrap().into_body();
        let mut text = String::new();
        let mut stopped = false;
        while let Some(frame) = body.frame().await {
            text.push_str(&String::from_utf8_lossy(&frame.unwrap().into_data().unwrap()));
            if text.contains("tok2") && !stopped {
                stopped = true;
                let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
                let mut events = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
                let task = events.find_map(|event| event["task_id"].as_str().map(str::to_owned));
                let path = format!("/v1/chat-messages/{}/stop", task.unwrap());
                let answer = beside.send(post(&path, &json!({ "user": "alice" }))).await;
                assert_eq!(answer.status, StatusCode::OK, "{release}: {answer:?}");
            }
        }
        let lines = beside.logged().await;
        let run = lines.iter().find(|line| line["path"] == "/v1/chat-messages").unwrap();
        assert_eq!(run["detail"], "the run was stopped", "{release}: {text}");
        assert_eq!(run["reason"], "answered", "{release}: {run}");
    }
}

#[tokio::test]
async fn the_end_of_the_gateway_does_not_wait_for_held_places() {
    let rig = rig(Release::V1_14, 1, "", "").await;
    let beside = rig.beside().await;
    beside.send(ask("alice", MODERATED)).await;
    // Runs without a client would be waited for longer than this.
    let lines = timeout(Duration::from_secs(9), beside.logged()).await.unwrap();
    assert_eq!(lines[0]["reason"], "answered", "{lines:?}");
}
