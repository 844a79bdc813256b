//! Recordings of Dify 1.5.0, read as they came and cut anywhere.

use std::fs;
use std::path::Path;

use proptest::prelude::{prop, prop_assert_eq, proptest};
use serde_json::Value;

mod ids;
mod refusal;
mod run_end;

use super::{EventLearner, LearnedIds, Usage, is_null_run, is_skippable, learn_json};
use crate::dify::path::classify;
use crate::dify::path::{CallKind, Run};

pub(super) struct Recording {
    pub(super) case: String,
    pub(super) kind: CallKind,
    is_post: bool,
    pub(super) status: u16,
    streamed: bool,
    pub(super) body: String,
    /// The request's path and query.
    pub(super) target: String,
}

fn recording(path: &Path) -> Option<Recording> {
    let written: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let text = |key: &str| written[key].as_str().unwrap_or_default().to_owned();
    let (head, request) = (text("head"), text("request"));
    let target = request.split(' ').nth(1)?;
    Some(Recording {
        case: text("case"),
        kind: classify(target.split('?').next().unwrap()).kind,
        is_post: request.starts_with("POST "),
        status: head.split(' ').nth(1)?.parse().ok()?,
        streamed: head.contains("text/event-stream"),
        body: text("body"),
        target: target.to_owned(),
    })
}

pub(super) fn streamed(answer: &Recording) -> bool {
    answer.streamed
}

/// Those of Dify 1.5.0.
fn recordings() -> Vec<Recording> {
    recordings_in("dify-sim/recordings")
}

pub(super) fn recordings_in(folder: &str) -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all: Vec<_> = files.filter_map(|path| recording(&path)).collect();
    assert!(all.len() > 300, "{}", all.len());
    all
}

fn named(case: &str) -> Recording {
    let path = format!("dify-sim/recordings/{case}.json");
    recording(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn learned(from: &Value) -> LearnedIds {
    let text = |key: &str| from[key].as_str().map(str::to_owned);
    let id = |key: &str| text(key).and_then(|id| id.parse().ok());
    LearnedIds {
        conversation_id: id("conversation_id"),
        message_id: id("message_id"),
        task_id: id("task_id"),
        workflow_run_id: id("workflow_run_id"),
        file_id: None,
        others: Vec::new(),
        task_text: text("task_id"),
    }
}

fn usage(tokens: &Value) -> Option<Usage> {
    let number = |key: &str| tokens[key].as_u64().unwrap_or(0);
    tokens.is_object().then(|| Usage {
        prompt_tokens: number("prompt_tokens"),
        completion_tokens: number("completion_tokens"),
        total_tokens: number("total_tokens"),
    })
}

#[test]
fn blocking_answers_give_their_ids_and_usage() {
    let mut seen = 0;
    for answer in recordings() {
        if answer.status != 200 || answer.streamed || !answer.is_post {
            continue;
        }
        let CallKind::Run(run) = answer.kind else { continue };
        // Long ones were recorded up to 4,000 characters.
        let Ok(body) = serde_json::from_str::<Value>(&answer.body) else { continue };
        let expected = match run {
            Run::Workflow => usage(&body["data"]),
            Run::Chat | Run::Completion => usage(&body["metadata"]["usage"]),
        };
        let found = learn_json(answer.kind, answer.body.as_bytes());
        assert_eq!(found, (learned(&body), expected), "{}", answer.case);
        assert!(found.0.task_id.is_some() && found.1.is_some(), "{}", answer.case);
        seen += 1;
    }
    assert!(seen >= 15, "{seen}");
}

#[test]
fn a_prefix_of_an_answer_gives_the_ids_in_it() {
    let answer = named("chat-01-blocking-first");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let place = answer.body.find("\"answer\"").unwrap();
    for end in [place, place + 12, answer.body.len() - 40] {
        let found = learn_json(answer.kind, &answer.body.as_bytes()[..end]);
        assert_eq!(found, (learned(&body), None), "{end}");
    }
    for end in 0..answer.body.len() {
        learn_json(answer.kind, &answer.body.as_bytes()[..end]);
    }
    assert_eq!(learn_json(answer.kind, b"[]"), Default::default());
    assert_eq!(learn_json(CallKind::Info, answer.body.as_bytes()), Default::default());
}

#[test]
fn an_upload_gives_the_id_of_its_file() {
    let answer = named("upload-png");
    let (found, usage) = learn_json(answer.kind, answer.body.as_bytes());
    assert_eq!(found.file_id.unwrap().to_string(), "96ad82e8-b00a-4a6c-bc83-7c9f4d86f644");
    assert_eq!((found.lasting().count(), found.task_id, usage), (2, None, None));
}

/// The rules, from a parser that reads every event whole.
fn expected(stream: &str) -> (LearnedIds, Option<Usage>, bool) {
    let data = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let events: Vec<Value> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
    let mut found = LearnedIds::default();
    let (mut exact, mut total, mut ended) = (None, None, false);
    for event in &events {
        let new = learned(event);
        if found.task_id.is_none() {
            found.conversation_id = found.conversation_id.or(new.conversation_id);
            found.message_id = found.message_id.or(new.message_id);
            found.workflow_run_id = found.workflow_run_id.or(new.workflow_run_id);
            (found.task_id, found.task_text) = (new.task_id, new.task_text);
        }
        match event["event"].as_str().unwrap() {
            "message_end" => {
                exact = exact.or(usage(&event["metadata"]["usage"]));
                ended = true;
            }
            "workflow_finished" => {
                total = total.or(usage(&event["data"]));
                ended |= new.message_id.is_none();
            }
            "error" => ended = true,
            _ => {}
        }
    }
    (found, exact.or(total), ended)
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (LearnedIds, Option<Usage>, bool) {
    let mut learner = EventLearner::new();
    for piece in pieces {
        let untouched = (learner.is_calm() && is_skippable(piece)).then(|| format!("{learner:?}"));
        learner.feed(piece);
        if let Some(untouched) = untouched {
            assert_eq!(format!("{learner:?}"), untouched, "a dull piece changes nothing");
        }
    }
    (learner.learned().clone(), learner.usage(), learner.ended())
}

fn streams() -> impl Iterator<Item = Recording> {
    recordings().into_iter().filter(|answer| answer.status == 200 && answer.streamed)
}

#[test]
fn recorded_streams_give_the_same_whole_in_events_and_in_bytes() {
    let (mut seen, mut cut) = (0, 0);
    for answer in streams() {
        let expected = expected(&answer.body);
        let body = answer.body.as_bytes();
        assert_eq!(read([body]), expected, "{}", answer.case);
        assert_eq!(read(answer.body.split_inclusive("\n\n").map(str::as_bytes)), expected);
        assert_eq!(read(body.chunks(1)), expected, "{}", answer.case);
        assert_eq!(read(body.chunks(97)), expected, "{}", answer.case);
        seen += 1;
        cut += usize::from(!expected.2);
    }
    assert!(seen >= 40 && (1..seen).contains(&cut), "{seen} {cut}");
}

#[test]
fn the_stream_of_newer_versions_is_read_too() {
    // Compact, and with the message's end before the workflow's.
    let id = "02b4ca2f-e6b9-4817-9796-79ad0513ede0";
    let stream = format!(
        "event: ping\n\ndata: {{\"event\":\"workflow_started\",\"conversation_id\":\"{id}\",\
         \"message_id\":\"{id}\",\"task_id\":\"{id}\",\"data\":{{}}}}\r\n\r\n\
         data: {{\"event\":\"message\",\"answer\":\"\\\"event\\\":\\\"message_end\\\"\"}}\n\n"
    );
    let end = format!(
        "data: {{\"event\":\"message_end\",\"message_id\":\"{id}\",\"metadata\":{{\"usage\":\
         {{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}}}}}\n\n\
         data: {{\"event\":\"workflow_finished\",\"message_id\":\"{id}\",\"data\":\
         {{\"total_tokens\":9}}}}\n\n"
    );
    let (found, usage, ended) = read([stream.as_bytes()]);
    assert_eq!(found.task_text.as_deref(), Some(id));
    assert_eq!((found.lasting().count(), usage, ended), (2, None, false));
    let (_, usage, ended) = read([stream.as_bytes(), end.as_bytes()]);
    let expected = Usage { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
    assert_eq!((usage, ended), (Some(expected), true));
}

#[test]
fn what_is_no_stream_of_dify_costs_little_and_teaches_nothing() {
    let mut learner = EventLearner::new();
    for _ in 0..1000 {
        learner.feed(b"data: {\"choices\": []}\n\ndata: [DONE]\n\nid: 3\n: note\n\n");
    }
    assert_eq!((learner.learned(), learner.ended()), (&LearnedIds::default(), false));
    assert_eq!(learner.without_task, super::event_learner::PATIENCE);
    // A line without end is not kept.
    for _ in 0..100 {
        learner.feed(&[b'x'; 65536]);
    }
    assert!(learner.kept.is_empty());
}

#[test]
fn an_event_too_large_to_keep_still_names_its_task_and_its_end() {
    let id = "02b4ca2f-e6b9-4817-9796-79ad0513ede0";
    let start =
        format!("data: {{\"event\": \"workflow_started\", \"task_id\": \"{id}\", \"data\": \"");
    let end = "data: {\"event\": \"workflow_finished\", \"data\": \"";
    let filler = vec![b'x'; 100_000];
    let mut learner = EventLearner::new();
    for head in [start.as_str(), end] {
        learner.feed(head.as_bytes());
        (0..10).for_each(|_| learner.feed(&filler));
        assert!(learner.kept.is_empty());
        learner.feed(b"\"}\n\n");
    }
    assert_eq!(learner.learned().task_text.as_deref(), Some(id));
    assert!(learner.ended());
}

#[test]
fn a_message_that_breaks_off_is_none() {
    // Without it a workflow's end is that of the run.
    let mut learner = EventLearner::new();
    learner.feed(b"data: {\"event\": \"workflow_finished\", \"message_id\": \"02b4ca2f\n");
    assert!(learner.ended());
}

#[test]
fn an_unknown_run_is_one_with_every_field_null() {
    for (case, expected) in
        [("x-wf-run-get", true), ("workflow-run-get-unknown", true), ("workflow-run-get", false)]
    {
        let answer = named(case);
        assert_eq!(answer.status, 200);
        assert_eq!(is_null_run(answer.body.as_bytes()), expected, "{case}");
    }
    for body in ["", "null", "{}", r#"{"id": null}"#, r#"{"id": null, "workflow_id": "x"}"#] {
        assert!(!is_null_run(body.as_bytes()), "{body}");
    }
}

#[test]
fn most_events_say_nothing_new() {
    let ping = "event: ping\n\n";
    let message = "data: {\"event\": \"message\", \"answer\": \"a\"}\n\n";
    for piece in ["", ping, message, &message.repeat(3), &message.replace(": \"", ":\"")] {
        assert!(is_skippable(piece.as_bytes()), "{piece}");
    }
    let end = "data: {\"event\": \"message_end\"}\n\n";
    let reversed = "data: {\"answer\": \"a\", \"event\": \"error\"}\n\n";
    let form = "data: {\"event\":\"human_input_required\",\"data\":{}}\n\n";
    for piece in [end, form, reversed, &[message, end].concat(), message.trim_end(), "data: {\"ev"]
    {
        assert!(!is_skippable(piece.as_bytes()), "{piece}");
    }
    let dull_events = streams().flat_map(|answer| {
        let events = answer.body.split_inclusive("\n\n").map(str::to_owned);
        events.filter(|event| is_skippable(event.as_bytes())).collect::<Vec<_>>()
    });
    assert!(dull_events.count() > 100);
}

proptest! {
    #[test]
    fn a_stream_cut_anywhere_teaches_the_same(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "data: {\"event\": \"message\", \"task_id\": \"t\"}", "data: {\"event\": \"error\"}",
                "data: {\"event\": \"message_end\", \"metadata\": {\"usage\": {\"total_tokens\": 7}}}",
                "data:{\"task_id\": \"u\", \"event\":\"workflow_finished\", \"data\":{\"total_tokens\": 8}}",
                "data: {\"event\": \"human_input_required\", \"data\": {\"form_token\": \"f\"}}",
                "data: {\"event\": \"message\", \"x\": \"", "event: ping", "data", "\n", "\n", "\r\n", "\n\n",
                "data: {\"event\": \"message_", "end\"}", "data: {\"event\": \"", "\"", "x", "}",
            ]),
            0..24,
        ),
        cut in 0_usize..400,
        step in 1_usize..120,
    ) {
        let stream = pieces.concat();
        let stream = stream.as_bytes();
        let whole = read([stream]);
        let (first, second) = stream.split_at(cut.min(stream.len()));
        prop_assert_eq!(&read([first, second]), &whole);
        prop_assert_eq!(&read(stream.chunks(step)), &whole);
    }
}

#[test]
fn compact_spaced_and_escaped_events_are_one() {
    const TASK: &str = "11111111-2222-4333-8444-555555555555";
    let first = format!(r#"data: {{"event": "message", "task_id": "{TASK}"}}"#);
    for end in [
        r#"data: {"event": "message_end", "metadata": {"usage": {"total_tokens": 3}}}"#,
        r#"data: {"event":"message_end","metadata":{"usage":{"total_tokens":3}}}"#,
        r#"data:{"event":"message_end","metadata":{"usage":{"total_tokens":3}}}"#,
        r#"data:  { "event" : "message_end" , "metadata" : { "usage" : { "total_tokens" : 3 } } }"#,
        r#"data: {"event":"message\u005fend","metadata":{"u\u0073age":{"total_tokens":3}}}"#,
        r#"data: {"a":"\/","event":"message_end","metadata":{"usage":{"total_tokens":3}}}"#,
    ] {
        assert!(!is_skippable(format!("{end}\n").as_bytes()), "{end}");
        let stream = format!("{first}\n\n{end}\n\n");
        for size in [1, 5, stream.len()] {
            let (learned, usage, ended) = read(stream.as_bytes().chunks(size));
            assert_eq!(learned.task_text.as_deref(), Some(TASK), "{end}");
            assert_eq!(usage.map(|usage| usage.total_tokens), Some(3), "{end}");
            assert!(ended, "{end}");
        }
    }
}
