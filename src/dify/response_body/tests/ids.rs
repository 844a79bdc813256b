//! Ids that answers of Dify 1.12 to its main branch of 2026 name, beside those of a run.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use uuid::Uuid;

use crate::dify::path::classify;
use crate::dify::path::{CallKind, TextId};
use crate::dify::response_body::{EventLearner, MAX_OTHERS, learn_json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dify-sim/recordings-1.14")
}

/// One recorded answer: the kind of its call, its head and its body.
fn recording(file: &Path) -> (CallKind, String, String) {
    let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let text = |key: &str| written[key].as_str().unwrap_or_default().to_owned();
    let request = text("request");
    let target = request.split(' ').nth(1).unwrap_or_default();
    (classify(target.split('?').next().unwrap()).kind, text("head"), text("body"))
}

fn named(case: &str) -> (CallKind, String) {
    let (kind, _, body) = recording(&folder().join(format!("{case}.json")));
    (kind, body)
}

fn id(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn form(token: &str) -> Uuid {
    TextId::Form.key(token)
}

/// Every `form_token` in a value, each once.
fn forms_in(value: &Value, found: &mut Vec<Uuid>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let token = value.as_str().filter(|_| key == "form_token").map(form);
                found.extend(token.filter(|token| !found.contains(token)));
                forms_in(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| forms_in(item, found)),
        _ => {}
    }
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Uuid> {
    let mut learner = EventLearner::new();
    pieces.into_iter().for_each(|piece| learner.feed(piece));
    learner.learned().others.clone()
}

#[test]
fn every_stream_gives_the_forms_that_it_names_however_it_is_cut() {
    let (mut seen, mut with_form) = (0, 0);
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let (_, head, body) = recording(&path);
        if !head.starts_with("HTTP/1.1 200 ") || !head.contains("text/event-stream") {
            continue;
        }
        let mut expected = Vec::new();
        for data in body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
            let event: Value = serde_json::from_str(data).unwrap_or_default();
            forms_in(&event["data"], &mut expected);
        }
        let body = body.as_bytes();
        let case = path.display();
        assert_eq!(read([body]), expected, "{case}");
        assert_eq!(read(body.chunks(1)), expected, "{case}");
        assert_eq!(read(body.chunks(113)), expected, "{case}");
        seen += 1;
        with_form += usize::from(!expected.is_empty());
    }
    assert!(seen > 100 && with_form >= 5, "{seen} {with_form}");
}

#[test]
fn a_blocking_run_that_waits_for_a_person_gives_its_form() {
    let (kind, body) = named("human-workflow-blocking-paused");
    let (found, _) = learn_json(kind, body.as_bytes());
    assert_eq!(found.others, [form("hh3aTXVDeO9gX1hvSxQ5sN")]);
    assert!(found.task_id.is_some() && found.workflow_run_id.is_some());
    // As the blocking answer of a chatflow has it.
    let chat = format!(r#"{{"event": "workflow_paused", "answer": "", "data": {}}}"#, {
        let body: Value = serde_json::from_str(&body).unwrap();
        body["data"].to_string()
    });
    let (kind, _) = named("chat-01-blocking-first");
    assert_eq!(learn_json(kind, chat.as_bytes()).0.others, [form("hh3aTXVDeO9gX1hvSxQ5sN")]);
    for outputs in [r#""form_token""#, r#"{"form_token": "x"}"#, r#"[{"form_token": "x"}]"#] {
        let data = format!(r#"{{"data": {{"outputs": {outputs}, "form_token": 1}}}}"#);
        assert!(learn_json(kind, data.as_bytes()).0.others.is_empty(), "{data}");
    }
}

#[test]
fn what_is_made_or_listed_gives_its_ids() {
    for (case, kind, ids) in [
        (
            "annotation-add-chat",
            CallKind::Annotations,
            &["425172d4-4d6c-4019-9e01-4bcbf9456c2e"][..],
        ),
        (
            "annotation-list-chat",
            CallKind::Annotations,
            &["425172d4-4d6c-4019-9e01-4bcbf9456c2e", "0f383599-0171-4268-a778-0072d29104e6"],
        ),
        (
            "annotation-enable-chat",
            CallKind::AnnotationReply,
            &["ef532ccd-2d92-44f2-8812-abc9f21db324"],
        ),
        ("dataset-create", CallKind::DatasetList, &["81f05556-16f7-4f8a-b41a-8da15badf596"]),
        ("dataset-list", CallKind::DatasetList, &["81f05556-16f7-4f8a-b41a-8da15badf596"]),
        ("datasets-ok", CallKind::DatasetList, &[]),
        // Of these the dataset is known already.
        ("dataset-documents", CallKind::Datasets, &[]),
        ("dataset-segments", CallKind::Datasets, &[]),
    ] {
        let (found_kind, body) = named(case);
        assert_eq!(found_kind, kind, "{case}");
        let ids: Vec<Uuid> = ids.iter().map(|text| id(text)).collect();
        assert_eq!(learn_json(kind, body.as_bytes()).0.others, ids, "{case}");
        for end in 0..body.len().min(4000) {
            learn_json(kind, &body.as_bytes()[..body.floor_char_boundary(end)]);
        }
    }
}

#[test]
fn an_upload_gives_its_file_and_its_user() {
    let (kind, body) = named("upload-txt");
    let (found, _) = learn_json(kind, body.as_bytes());
    assert_eq!(found.file_id, Some(id("6c72c2bd-ea36-43db-b446-39b6abb30e0b")));
    assert_eq!(found.others, [id("da8194d0-cee5-4642-84e9-5f5cb6838064")]);
    let (_, user) = named("end-user-get");
    assert!(user.contains("da8194d0-cee5-4642-84e9-5f5cb6838064"), "it is an end user's id");
}

#[test]
fn a_long_list_is_kept_up_to_a_bound_and_each_id_once() {
    let item = |number: usize| format!(r#"{{"id":"02b4ca2f-e6b9-4817-9796-{number:012}"}}"#);
    let list = |numbers: &mut dyn Iterator<Item = usize>| {
        let items: Vec<_> = numbers.map(item).collect();
        format!(r#"{{"data":[{}]}}"#, items.join(","))
    };
    let found = |list: String| learn_json(CallKind::DatasetList, list.as_bytes()).0.others.len();
    assert_eq!(found(list(&mut (0..100))), 100);
    assert_eq!(found(list(&mut (0..1000))), MAX_OTHERS);
    assert_eq!(found(list(&mut [1, 1, 2].into_iter())), 2);
}
