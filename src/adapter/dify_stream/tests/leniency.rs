//! Odd fields, odd sizes, odd JSON: nothing said is lost, and no failure becomes an answer.

use serde_json::{Value, json};

use super::*;

/// What stands where something else should.
fn odd() -> [Value; 9] {
    [
        Value::Null,
        json!(7),
        json!(-1.5),
        json!(1e30),
        json!("7"),
        json!(true),
        json!([]),
        json!({}),
        json!([{"x": null}]),
    ]
}

/// All members of an object, and of those below it, as pointers.
fn members(value: &Value, at: &str, out: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    for (name, below) in map {
        let place = format!("{at}/{name}");
        members(below, &place, out);
        out.push(place);
    }
}

/// Each stream in which one member that holds no text of the answer has an odd value.
fn each_odd(events: &[Value], held: &[&str], mut check: impl FnMut(&str, &str)) {
    for (number, event) in events.iter().enumerate() {
        let mut places = Vec::new();
        members(event, "", &mut places);
        places.retain(|place| !held.iter().any(|held| place.ends_with(held)));
        for place in places {
            for value in odd() {
                let what = format!("{number}{place}: {value}");
                let mut events = events.to_vec();
                *events[number].pointer_mut(&place).unwrap() = value;
                let text: String =
                    events.iter().map(|event| format!("data: {event}\n\n")).collect();
                check(&text, &what);
            }
        }
    }
}

#[test]
fn an_odd_field_costs_no_text() {
    let ids = json!({"conversation_id": "c", "message_id": "m", "created_at": 5, "task_id": "t"});
    let event = |name: &str, more: Value| {
        let mut event = json!({"event": name, "from_variable_selector": ["a", "b"]});
        for part in [ids.clone(), more] {
            event.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        event
    };
    let events = [
        event(
            "workflow_started",
            json!({"data": {"created_at": 5, "reason": "initial", "inputs": {}}}),
        ),
        event("message", json!({"answer": "one "})),
        event("message", json!({"answer": "two"})),
        event(
            "message_end",
            json!({"id": "m", "metadata": {
            "usage": {"prompt_tokens": 1, "total_tokens": 2, "latency": 0.5},
            "annotation_reply": null}, "files": []}),
        ),
        event(
            "workflow_finished",
            json!({"data": {"status": "succeeded", "error": null,
            "outputs": {"answer": "one two"}, "total_tokens": 2, "files": []}}),
        ),
    ];
    each_odd(&events, &["/event", "/answer"], |stream, what| {
        let listened = listen(Mode::AdvancedChat, DecodeOptions::default(), &[stream.as_bytes()]);
        assert_eq!(listened.state, DecodeState::Finished, "{what}");
        assert_eq!(text(&listened.events), "one two", "{what}");
        assert!(listened.decoder.response_start().is_some(), "{what}");
    });
}

#[test]
fn an_odd_field_makes_no_answer_of_a_failure() {
    let started = json!({"event": "workflow_started", "workflow_run_id": "r", "task_id": "t",
        "data": {"id": "r", "created_at": 5, "reason": "initial"}});
    let failed = json!({"event": "workflow_finished", "workflow_run_id": "r", "task_id": "t",
        "data": {"status": "failed", "error": "no sandbox", "outputs": null, "total_tokens": 0}});
    let error = json!({"event": "error", "message_id": "m", "status": 400, "code": "invalid_param",
        "message": "Run failed: no sandbox"});
    for (mode, events) in [
        (Mode::Workflow, vec![started.clone(), failed.clone()]),
        (Mode::AdvancedChat, vec![started, failed]),
        (Mode::Chat, vec![error]),
    ] {
        each_odd(&events, &["/event", "/outputs"], |stream, what| {
            let listened = listen(mode, DecodeOptions::default(), &[stream.as_bytes()]);
            assert!(matches!(listened.state, DecodeState::Failed(_)), "{mode:?} {what}");
        });
    }
}

#[test]
fn odd_counts_and_sources_cost_no_others() {
    let end = r#"{"event": "message_end", IDS, "created_at": 7.5, "metadata": {"usage": {"prompt_tokens": null, "completion_tokens": "3", "total_tokens": 10.0, "latency": NaN}, "retriever_resources": [{"document_name": 7, "score": NaN, "title": "t"}, {"document_name": "B"}]}, "files": {}}"#;
    let event = end.replace("IDS", r#""message_id": "m1""#);
    let listened = hear(Mode::Chat, DecodeOptions::default(), &[CHAT[0], &event]);
    assert_eq!(listened.state, DecodeState::Finished);
    let summary = listened.decoder.summary();
    let usage = Usage { prompt_tokens: 0, completion_tokens: 3, total_tokens: 10 };
    assert_eq!(summary.usage, Some(usage));
    let titles: Vec<_> = summary.sources.iter().map(|source| source.title.as_str()).collect();
    assert_eq!(titles, ["t", "B"]);
}

#[test]
fn every_spelling_of_json_says_the_same() {
    for said in [
        r#"{"event": "message", IDS, "answer": "a/é好\n"}"#,
        r#"{"event":"message",IDS,"answer":"a\/\u00e9\u597d\n"}"#,
        r#"{ "answer" : "a\u002fé\u597D\u000a" , IDS , "event" : "mess\u0061ge" }"#,
    ] {
        let listened = hear(Mode::Chat, DecodeOptions::default(), &[said, PLAIN_END]);
        assert_eq!(listened.decoder.summary().text, "a/é好\n", "{said}");
    }
    // Half a character of Python's is no reason to lose the rest.
    let stop = r#"{"event": "message", IDS, "answer": "a\ud83d b"}"#;
    assert_eq!(
        text(&hear(Mode::Chat, DecodeOptions::default(), &[stop, PLAIN_END]).events),
        "a\u{fffd} b"
    );
    // A piece of the answer that cannot be read at all is missed.
    let broken = r#"{"event": "message", "answer": "a"#;
    let listened = hear(Mode::Chat, DecodeOptions::default(), &[broken, PLAIN_END]);
    assert!(matches!(listened.state, DecodeState::Failed(_)));
}

#[test]
fn what_nobody_needs_may_have_any_size() {
    let huge = "x".repeat(9 << 20);
    let node =
        format!(r#"{{"event": "node_finished", IDS, "data": {{"outputs": {{"a": "{huge}"}}}}}}"#);
    let speech = format!(r#"{{"event":"tts_message",IDS,"audio":"{huge}{huge}{huge}{huge}"}}"#);
    let said = r#"{"event": "message", IDS, "answer": "hi"}"#;
    let bytes = stream(&[&node, said, &speech, &node, PLAIN_END]);
    for mode in [Mode::Chat, Mode::Workflow] {
        for size in [1 << 16, bytes.len()] {
            let pieces: Vec<_> = bytes.as_bytes().chunks(size).collect();
            let listened = listen(mode, DecodeOptions::default(), &pieces);
            assert_eq!(
                (text(&listened.events), listened.state),
                ("hi".into(), DecodeState::Finished)
            );
        }
    }
    // What counts has a limit.
    let long = format!("{huge}{huge}");
    let said = format!(r#"{{"event": "message", IDS, "answer": "{long}"}}"#);
    let listened = hear(Mode::Chat, DecodeOptions::default(), &[&said, PLAIN_END]);
    let DecodeState::Failed(error) = listened.state else { panic!("{:?}", listened.state) };
    assert!(error.message.contains("16 MiB"), "{error:?}");
}
