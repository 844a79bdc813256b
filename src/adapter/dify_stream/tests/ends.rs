//! Where a run ends, and that nothing after it counts.

use super::*;

const IDS: &str = r#""conversation_id": "c1", "message_id": "m1", "created_at": 5, "task_id": "t1", "workflow_run_id": "r1""#;
const STARTED_IN_API: &str = r#"{"event": "workflow_started", FLOW, "data": {"id": "r1"}}"#;
const STARTED_IN_WORKER: &str =
    r#"{"event":"workflow_started",FLOW,"data":{"id":"r1","reason":"initial"}}"#;
const SAID: &str = r#"{"event": "message", FLOW, "answer": "hi"}"#;
const MESSAGE_END: &str =
    r#"{"event": "message_end", FLOW, "metadata": {"usage": {"total_tokens": 4}}, "files": []}"#;
const TTS: &str = r#"{"event": "tts_message", FLOW, "audio": "AAAA"}"#;
const ERROR: &str = r#"{"event": "error", FLOW, "code": "completion_request_error", "status": 400, "message": "quota"}"#;

fn finished(status: &str, error: &str) -> String {
    format!(
        r#"{{"event": "workflow_finished", FLOW, "data": {{"status": "{status}", "error": {error}, "outputs": {{"answer": "hi"}}, "exceptions_count": 2, "total_tokens": 9}}}}"#
    )
}

/// Feeds one event after the other: at which the run was no longer running, and how it ended.
fn ends_at(mode: Mode, events: &[&str]) -> (Option<usize>, Listened) {
    let mut decoder = StreamDecoder::new(mode, DecodeOptions::default(), "shop".into());
    let (mut heard, mut end) = (Vec::new(), None);
    for (at, event) in events.iter().enumerate() {
        let event = stream(&[&event.replace("FLOW", IDS)]);
        let state = decoder.feed(event.as_bytes(), &mut |one| heard.push(one));
        if *state != DecodeState::Running && end.is_none() {
            end = Some(at);
        }
    }
    let state = decoder.finish(&mut |one| heard.push(one)).clone();
    (end, Listened { events: heard, state, decoder })
}

fn failed(listened: &Listened) -> &crate::model::GatewayError {
    match &listened.state {
        DecodeState::Failed(error) => error,
        state => panic!("{state:?}"),
    }
}

#[test]
fn a_chatflow_ends_with_its_last_word_on_every_version() {
    let done = finished("succeeded", "null");
    let partial = finished("partial-succeeded", "\"a node\"");
    let stopped = finished("stopped", "\"Stopped by user.\"");
    let aborted = finished("failed", "\"Aborted: User requested stop\"");
    let stop_error = r#"{"event": "error", FLOW, "code": "invalid_param", "status": 400, "message": "Run failed: Aborted: User requested stop"}"#;
    for (events, end) in [
        // In the API: the workflow's end first.
        (vec![STARTED_IN_API, SAID, &done, MESSAGE_END, TTS], 3),
        (vec![STARTED_IN_API, SAID, &partial, MESSAGE_END], 3),
        (vec![STARTED_IN_API, SAID, &stopped, MESSAGE_END], 3),
        (vec![STARTED_IN_API, SAID, &aborted, stop_error], 3),
        // In the worker: the message's end first, and none if it was stopped.
        (vec![STARTED_IN_WORKER, SAID, MESSAGE_END, &done, TTS], 3),
        (vec![STARTED_IN_WORKER, SAID, MESSAGE_END, &partial], 3),
        (vec![STARTED_IN_WORKER, SAID, &stopped], 2),
        (vec![STARTED_IN_WORKER, SAID, &aborted], 2),
        // An annotation, or an input that moderation stopped.
        (vec![SAID, MESSAGE_END], 1),
    ] {
        let (at, listened) = ends_at(Mode::AdvancedChat, &events);
        assert_eq!((at, &listened.state), (Some(end), &DecodeState::Finished), "{events:?}");
        assert_eq!(listened.decoder.summary().text, "hi", "{events:?}");
        let noted = events.iter().any(|event| event.contains("partial"));
        let remarks = listened.decoder.remarks();
        assert_eq!(remarks.is_some_and(|it| it.contains("2 of its nodes")), noted, "{events:?}");
    }
}

#[test]
fn a_failed_chatflow_says_why_on_every_version() {
    let failure = finished("failed", "\"no sandbox\"");
    let error = r#"{"event": "error", FLOW, "code": "invalid_param", "status": 400, "message": "Run failed: no sandbox"}"#;
    for (events, end) in [
        (vec![STARTED_IN_API, SAID, &failure, error], Some(3)),
        // Which the stream's end says.
        (vec![STARTED_IN_API, SAID, &failure], None),
        (vec![STARTED_IN_WORKER, SAID, &failure], Some(2)),
        (vec![STARTED_IN_WORKER, &failure], Some(1)),
    ] {
        let (at, listened) = ends_at(Mode::AdvancedChat, &events);
        assert_eq!(at, end, "{events:?}");
        let error = failed(&listened);
        assert!(error.message.contains("no sandbox") && error.is_final, "{error:?}");
        assert_eq!((error.status, &*error.code), (502, "upstream_run_failed"));
        assert!(listened.decoder.remarks().unwrap().contains("no sandbox"));
    }
    let object = finished("failed", r#"{"message": "no sandbox", "type": "x"}"#);
    let (at, listened) = ends_at(Mode::Workflow, &[STARTED_IN_WORKER, &object]);
    assert_eq!(at, Some(1));
    assert_eq!(failed(&listened).message, "The workflow failed: no sandbox");
}

#[test]
fn a_message_without_a_flow_ends_with_its_end() {
    for mode in [Mode::Chat, Mode::AgentChat, Mode::Agent, Mode::Completion] {
        let (at, listened) = ends_at(mode, &[SAID, MESSAGE_END, TTS, TTS]);
        assert_eq!((at, listened.state), (Some(1), DecodeState::Finished), "{mode:?}");
        let (at, listened) = ends_at(mode, &[SAID, ERROR, TTS]);
        assert_eq!(at, Some(1));
        assert!(failed(&listened).message.contains("quota"));
    }
}

#[test]
fn nothing_after_the_end_of_a_message_undoes_it() {
    let failure = finished("failed", "\"died late\"");
    let stop =
        r#"{"event": "error", FLOW, "code": "bad_gateway", "status": 502, "message": "broke off"}"#;
    let broken = r#"{"event": "message", "answer": "never"#;
    for after in [failure.as_str(), stop, ERROR, broken, ""] {
        let events = [STARTED_IN_WORKER, SAID, MESSAGE_END, after];
        let (_, listened) = ends_at(Mode::AdvancedChat, &events);
        assert_eq!(listened.state, DecodeState::Finished, "{after}");
        let summary = listened.decoder.summary();
        assert_eq!(
            (summary.text.as_str(), summary.usage.unwrap().total_tokens),
            ("hi", 4),
            "{after}"
        );
    }
    let (_, late) = ends_at(Mode::AdvancedChat, &[STARTED_IN_WORKER, SAID, MESSAGE_END, &failure]);
    assert_eq!(late.decoder.remarks(), Some("the run failed: died late"));
}

#[test]
fn a_stopped_workflow_has_what_it_said() {
    let chunk = r#"{"event": "text_chunk", FLOW, "data": {"text": "hi"}}"#;
    for status in
        [finished("stopped", "null"), finished("failed", "\"Aborted: User requested stop\"")]
    {
        let (at, listened) = ends_at(Mode::Workflow, &[STARTED_IN_WORKER, chunk, &status]);
        assert_eq!((at, listened.state), (Some(2), DecodeState::Finished), "{status}");
        assert_eq!(listened.decoder.summary().text, "hi");
    }
}

#[test]
fn the_log_has_what_the_client_is_not_told() {
    let error = r#"{"event":"error","message":"Invalid upload file","status":500}"#;
    let (_, listened) = ends_at(Mode::AdvancedChat, &[error]);
    assert_eq!(failed(&listened).message, "Dify failed to run the app.");
    assert_eq!(listened.decoder.remarks(), Some("Dify: 500 : Invalid upload file"));
}
