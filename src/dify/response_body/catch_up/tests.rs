//! A recorded flow whose API process was killed, and what of its further events its client gets.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{CatchUp, CaughtUp, OnDifference, RunIds};
use crate::dify::response_body::complete_events::each_event;
use crate::dify::response_body::{EventLearner, SentEvents, Whole, WholeEvents};

fn body(case: &str) -> String {
    let path = format!("dify-sim/recordings-1.14/{case}.json");
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let recording: Value = serde_json::from_slice(&text).unwrap();
    recording["body"].as_str().unwrap().to_owned()
}

/// Goes on from a stream of which so much reached its client.
fn catch_up(stream: &str, on_difference: OnDifference) -> CatchUp {
    let (mut learner, mut sent) = (EventLearner::new(), SentEvents::default());
    learner.feed(stream.as_bytes());
    sent.pass(stream.as_bytes());
    CatchUp::new(sent, RunIds::of(learner.learned()).unwrap(), on_difference)
}

fn events(stream: &[u8]) -> Vec<Value> {
    let lines = str::from_utf8(stream).unwrap().lines();
    let events = lines.filter_map(|line| line.strip_prefix("data:"));
    events.map(|json| serde_json::from_str(json).unwrap()).collect()
}

fn text(events: &[Value]) -> String {
    events.iter().fold(String::new(), |text, event| match event["event"].as_str().unwrap() {
        "message" => text + event["answer"].as_str().unwrap(),
        "text_chunk" => text + event["data"]["text"].as_str().unwrap(),
        "message_replace" => event["answer"].as_str().unwrap().to_owned(),
        "text_replace" => event["data"]["text"].as_str().unwrap().to_owned(),
        _ => text,
    })
}

/// Names, and of nodes their ids, in their order.
fn told(events: &[Value]) -> Vec<(&str, &str)> {
    fn of(event: &Value) -> (&str, &str) {
        let name = event["event"].as_str().unwrap();
        let node = name.starts_with("node_").then(|| event["data"]["id"].as_str().unwrap());
        (name, node.unwrap_or_default())
    }
    events.iter().map(of).collect()
}

const CASES: [(&str, &str, &str); 3] = [
    (
        "crash-kill9-resume-original",
        "crash-kill9-resume-events",
        "Before the wait. After: slept 25.0",
    ),
    ("events-chatflow-original", "events-chatflow-snapshot", "Before the wait. After: slept 5.0"),
    ("events-running-original", "events-running-snapshot", "slept 6.0"),
];

/// What is due to a client: each event once, in an order of Dify's.
fn is_whole(events: &[Value], whole: &str) {
    assert_eq!(text(events), whole);
    let mut told = told(events);
    assert_eq!(told.last().unwrap().0, "workflow_finished");
    told.retain(|(name, _)| !matches!(*name, "message" | "text_chunk"));
    let mut once = told.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), told.len(), "{told:?}");
    let started = told.iter().filter(|(name, _)| *name == "node_started").count();
    let finished = told.iter().filter(|(name, _)| *name == "node_finished").count();
    assert_eq!(started, finished, "{told:?}");
    let ids = |key: &str| {
        let mut ids: Vec<_> = events.iter().filter_map(|event| event[key].as_str()).collect();
        ids.dedup();
        ids.len()
    };
    assert_eq!(ids("task_id"), 1, "{events:?}");
    for key in ["message_id", "conversation_id", "workflow_run_id"] {
        assert!(ids(key) <= 1, "{key}");
    }
}

#[test]
fn a_recorded_run_is_whole_wherever_its_first_stream_was_cut() {
    for (original, further, whole) in CASES {
        let (original, further) = (body(original), body(further));
        let first: Vec<_> = each_event(original.as_bytes()).collect();
        // From the event that names the run on, to the last one before its end.
        for cut in 2..=first.len() {
            let sent = first[..cut].concat();
            let sent = str::from_utf8(&sent).unwrap();
            if sent.contains("\"workflow_finished\"") {
                continue;
            }
            for size in [1, 97, further.len()] {
                let mut rest = catch_up(sent, OnDifference::Replace);
                let mut out = sent.as_bytes().to_vec();
                let mut pieces = WholeEvents::new(1 << 20);
                for piece in further.as_bytes().chunks(size) {
                    if let Whole::Events(events) = pieces.pass(Bytes::copy_from_slice(piece)) {
                        out.extend_from_slice(&rest.pass(&events));
                    }
                }
                assert_eq!(rest.outcome(), Some(CaughtUp::Continued));
                is_whole(&events(&out), whole);
                let pieces = events(&out)[..].iter().filter(|e| e["event"] == "message").count();
                let before = sent.matches("\"event\":\"message\"").count();
                assert!(pieces <= before + 1, "what is missing comes as one piece");
            }
        }
    }
}

#[test]
fn a_run_that_ended_meanwhile_is_told_by_its_one_event() {
    let original = body("crash-kill9-resume-original");
    let mut rest = catch_up(&original, OnDifference::Replace);
    let learned = events(original.as_bytes());
    let run = learned[0]["workflow_run_id"].as_str().unwrap();
    let stored = format!(
        "data: {{\"event\": \"workflow_finished\", \"task_id\": \"{run}\", \"workflow_run_id\": \
         \"{run}\", \"data\": {{\"id\": \"{run}\", \"status\": \"succeeded\", \"outputs\": \
         {{\"answer\": \"Before the wait. After: \\u00fc\", \"files\": []}}, \"error\": null, \
         \"total_tokens\": 7, \"created_at\": 5}}}}\n\n"
    );
    let out = rest.pass(stored.as_bytes());
    let told = events(&out);
    let names: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["message", "message_end", "workflow_finished"]);
    assert_eq!(told[0]["answer"], "ü");
    assert_eq!(told[1]["metadata"]["usage"]["total_tokens"], 7);
    for event in &told {
        for key in ["task_id", "conversation_id", "message_id"] {
            assert_eq!(event[key], learned[0][key], "{key} {event}");
        }
    }
    assert_eq!((&told[2]["workflow_run_id"], &told[2]["data"]["id"]), (&json!(run), &json!(run)));
}

#[test]
fn a_stored_workflow_is_told_in_its_own_words() {
    let original = body("events-running-original");
    let cut = original.find("data: {\"event\":\"text_chunk\"").unwrap();
    let mut rest = catch_up(&original[..cut], OnDifference::Replace);
    let run = events(original.as_bytes())[0]["workflow_run_id"].clone();
    let stored = body("events-finished-run")
        .replace("950323b2-0946-4b25-8b0c-8aa8988727b9", run.as_str().unwrap());
    let told = events(&rest.pass(stored.as_bytes()));
    let names: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((names, text(&told)), (vec!["text_chunk", "workflow_finished"], "hi".into()));
    assert_ne!(told[1]["task_id"], run, "the task is the one that the client knows");
}

#[test]
fn text_that_does_not_continue_is_replaced_or_an_error() {
    let original = body("crash-kill9-resume-original").replace("Before", "Before and");
    let further = body("crash-kill9-resume-events");
    let mut rest = catch_up(&original, OnDifference::Replace);
    let out = [original.as_bytes(), &rest.pass(further.as_bytes())].concat();
    assert_eq!(text(&events(&out)), "Before the wait. After: slept 25.0");
    assert_eq!(rest.outcome(), Some(CaughtUp::Differs));

    let error = Bytes::from_static(b"data: {\"event\":\"error\",\"message\":\"differs\"}\n\n");
    let mut rest = catch_up(&original, OnDifference::Instead(error));
    let told = events(&rest.pass(further.as_bytes()));
    let said = ["message", "message_replace", "error"];
    let said: Vec<_> =
        told.iter().filter(|e| said.iter().any(|name| e["event"] == *name)).collect();
    assert_eq!(said, [&json!({ "event": "error", "message": "differs" })]);
}

#[test]
fn what_moderation_put_in_place_of_the_text_stays() {
    let replaced = "data: {\"event\":\"message_replace\",\"answer\":\"no comment\"}\n\n";
    let (original, further) =
        (body("crash-kill9-resume-original"), body("crash-kill9-resume-events"));
    let mut rest = catch_up(&(original.clone() + replaced), OnDifference::Replace);
    let told = events(&rest.pass(further.as_bytes()));
    assert_eq!(text(&told), "");
    // The same where it comes later.
    let at = further.find("data: {\"event\":\"message_end\"").unwrap();
    let (before, after) = further.split_at(at);
    let mut rest = catch_up(&original, OnDifference::Replace);
    let told = events(&rest.pass([before, replaced, after].concat().as_bytes()));
    assert_eq!(text(&told), "no comment");
    assert_eq!(told.last().unwrap()["event"], "workflow_finished");
}

#[test]
fn a_run_is_gone_on_with_more_than_once() {
    let (original, further) =
        (body("crash-kill9-resume-original"), body("crash-kill9-resume-events"));
    let all: Vec<_> = each_event(further.as_bytes()).collect();
    for cut in 0..all.len() {
        let mut out = original.as_bytes().to_vec();
        let mut first = catch_up(&original, OnDifference::Replace);
        out.extend_from_slice(&first.pass(&all[..cut].concat()));
        if first.outcome().is_some() {
            continue;
        }
        let mut learner = EventLearner::new();
        learner.feed(original.as_bytes());
        let ids = RunIds::of(learner.learned()).unwrap();
        let mut second = CatchUp::new(first.into_sent(), ids, OnDifference::Replace);
        out.extend_from_slice(&second.pass(further.as_bytes()));
        is_whole(&events(&out), "Before the wait. After: slept 25.0");
    }
}

#[test]
fn a_pause_and_a_failure_are_the_end() {
    let original = body("crash-kill9-resume-original");
    for end in [
        "data: {\"event\":\"workflow_paused\",\"data\":{}}\n\n",
        "data: {\"event\":\"error\",\"message\":\"x\"}\n\n",
        "data: {\"event\":\"workflow_finished\",\"data\":{\"status\":\"failed\",\"outputs\":{},\
         \"error\":\"x\"}}\n\n",
    ] {
        let mut rest = catch_up(&original, OnDifference::Replace);
        assert_eq!(rest.pass(b"event: ping\n\n"), &b"event: ping\n\n"[..]);
        assert_eq!(rest.outcome(), None);
        assert_eq!(rest.pass(end.as_bytes()), end.as_bytes());
        assert_eq!(rest.outcome(), Some(CaughtUp::Continued));
        let later = "data: {\"event\":\"tts_message_end\",\"audio\":\"\"}\n\n";
        assert_eq!(rest.pass(later.as_bytes()), later.as_bytes());
    }
}
