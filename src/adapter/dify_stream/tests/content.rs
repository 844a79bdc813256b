//! What is sent beside the text: files, progress, forms; and answers that are no stream.

use super::*;
use crate::model::ai::HumanInput;

const STARTED: &str = r#"{"event":"workflow_started","workflow_run_id":"r1",IDS,"data":{"id":"r1","reason":"initial"}}"#;

fn progress(event: &[AppEvent]) -> String {
    let line = |event: &AppEvent| match event {
        AppEvent::Progress(line) => Some(line.clone()),
        _ => None,
    };
    event.iter().filter_map(line).collect()
}

#[test]
fn files_of_the_question_are_no_part_of_the_answer() {
    let file = |name: &str, more: &str| {
        format!(
            r#"{{"type": "image", "filename": "{name}", "url": "http://d/files/{name}?sign=1", {more}}}"#
        )
    };
    let files = [
        file("own.png", r#""belongs_to": "user", "transfer_method": "tool_file""#),
        file("upload.png", r#""transfer_method": "local_file", "related_id": "f1""#),
        file("address.png", r#""transfer_method": "remote_url""#),
        file("made.png", r#""transfer_method": "tool_file""#),
        file("said.png", r#""belongs_to": "assistant", "transfer_method": "local_file""#),
        "7".to_owned(),
        "null".to_owned(),
    ];
    let shown = r#"{"event": "message_file", IDS, "id": "x", "type": "image", "belongs_to": "assistant", "url": "http://d/files/made.png?sign=2"}"#;
    let end = format!(
        r#"{{"event": "message_end", IDS, "metadata": {{}}, "files": [{}]}}"#,
        files.join(", ")
    );
    let listened = hear(Mode::Chat, DecodeOptions::default(), &[CHAT[2], shown, &end]);
    let answer = text(&listened.events);
    for (name, times) in [("own", 0), ("upload", 0), ("address", 0), ("made", 1), ("said", 1)] {
        assert_eq!(answer.matches(&format!("/{name}.png")).count(), times, "{name}: {answer}");
    }
}

const INSIDE: [&str; 8] = [
    r#"{"event":"agent_log",IDS,"data":{"id":"l1","label":"Round 1","status":"start","data":{}}}"#,
    r#"{"event":"agent_log",IDS,"data":{"id":"l1","label":"Round 1","status":"success","data":{}}}"#,
    r#"{"event":"iteration_started",IDS,"data":{"title":"Each file","metadata":{"iteration_length":1}}}"#,
    r#"{"event":"iteration_next",IDS,"data":{"title":"Each file","index":0}}"#,
    r#"{"event":"iteration_completed",IDS,"data":{"title":"Each file","status":"succeeded"}}"#,
    r#"{"event":"loop_next",IDS,"data":{"title":"Improve","index":1}}"#,
    r#"{"event":"loop_completed",IDS,"data":{"title":"Improve","status":"failed"}}"#,
    r#"{"event":"node_retry",IDS,"data":{"title":"Fetch","error":"refused by 10.0.0.7","retry_index":1}}"#,
];

#[test]
fn what_goes_on_inside_is_progress_and_never_text() {
    let said = r#"{"event": "message", IDS, "answer": "so"}"#;
    let done = r#"{"event":"workflow_finished",IDS,"data":{"status":"succeeded","outputs":{}}}"#;
    let events: Vec<_> =
        [STARTED].into_iter().chain(INSIDE).chain([said, INSIDE[3], END, done]).collect();
    let listened = hear(Mode::AdvancedChat, DecodeOptions::default(), &events);
    let expected = "Round 1\nEach file: started\nEach file: item 1\nEach file: done\n\
                    Improve: round 1\nImprove: failed\nFetch: trying again (1)\n";
    assert_eq!(progress(&listened.events), expected);
    assert_eq!(
        listened.events.last(),
        Some(&AppEvent::Sources(listened.decoder.summary().sources.clone()))
    );
    let summary = listened.decoder.summary();
    assert_eq!((summary.text.as_str(), summary.reasoning.as_str()), ("so", ""));
    // Once the answer has begun, only a sign of life.
    assert_eq!(listened.events.iter().filter(|it| **it == AppEvent::Ping).count(), 2);
    let remarks = listened.decoder.remarks();
    assert_eq!(remarks, Some("node Fetch runs again: refused by 10.0.0.7"));
    for reasoning in [Reasoning::Inline, Reasoning::Drop] {
        let options = DecodeOptions { reasoning, ..DecodeOptions::default() };
        let listened = hear(Mode::AdvancedChat, options, &events);
        assert_eq!(
            (progress(&listened.events), text(&listened.events)),
            (String::new(), "so".into())
        );
    }
}

const FORM: &str = r#""form_id":"f1","node_title":"Review","form_content":"Say: {{#$output.comment#}}","inputs":[{"output_variable_name":"comment","type":"paragraph","default":{"type":"constant","selector":[],"value":"ok"}}],"actions":[{"id":"approve","title":"Approve"},{"id":"reject","title":"Reject"}],"form_token":"c2KSuniOMCm6ww5w2h0g7u","expiration_time":1796124684"#;

#[test]
fn a_pause_is_told_as_an_answer_with_its_form() {
    let required = format!(r#"{{"event":"human_input_required",IDS,"data":{{{FORM}}}}}"#);
    let paused = format!(
        r#"{{"event":"workflow_paused",IDS,"workflow_run_id":"r1","data":{{"status":"paused","outputs":{{}},"reasons":[{{"TYPE":"human_input_required",{FORM}}}]}}}}"#
    );
    let said = r#"{"event": "message", IDS, "answer": "Wait."}"#;
    let expected = "Say: [comment]\n\nChoose one of: Approve, Reject\n\
        Programs submit it with `POST /v1/form/human_input/c2KSuniOMCm6ww5w2h0g7u` and \
        `{\"action\":\"approve\",\"inputs\":{\"comment\":\"ok\"},\"user\":\"…\"}`\n\
        Open until 2026-12-01T11:31:24Z";
    let events = [STARTED, said, &required, &paused];
    let listened = hear(Mode::AdvancedChat, DecodeOptions::default(), &events);
    assert_eq!(listened.state, DecodeState::Finished);
    assert_eq!(text(&listened.events), format!("Wait.\n\n{expected}"));
    let forms = &listened.decoder.summary().forms;
    assert_eq!(forms.len(), 1, "{forms:?}");
    assert_eq!(forms[0]["form_token"], "c2KSuniOMCm6ww5w2h0g7u");
    // The event before it may be missing, and the answer may be no stream.
    for whole in [
        stream(&[&paused]),
        format!(
            r#"{{"task_id": "t", "workflow_run_id": "r1", "data": {{"id": "r1", "status": "paused", "outputs": {{}}, "error": null, "reasons": [{{{FORM}}}]}}}}"#
        ),
        format!(
            r#"{{"event": "workflow_paused", "message_id": "m", "answer": "", "data": {{"reasons": [{{{FORM}}}]}}}}"#
        ),
    ] {
        let listened = listen(Mode::Workflow, DecodeOptions::default(), &[whole.as_bytes()]);
        assert_eq!(
            (text(&listened.events).as_str(), listened.state),
            (expected, DecodeState::Finished)
        );
    }
    let options = DecodeOptions { human_input: HumanInput::Error, ..DecodeOptions::default() };
    let DecodeState::Failed(error) = hear(Mode::AdvancedChat, options, &events).state else {
        panic!()
    };
    assert_eq!((error.status, &*error.code), (502, "human_input_required"));
}

#[test]
fn a_form_is_told_with_the_address_of_its_page() {
    let event = |token: &str| {
        format!(
            r#"{{"event":"workflow_paused","workflow_run_id":"r1","data":{{"reasons":[{{"form_id":"f1","node_title":"Review","form_token":"{token}"}}]}}}}"#
        )
    };
    let options = DecodeOptions {
        web_url: Some("https://dify.example.org/x".into()),
        ..DecodeOptions::default()
    };
    let listened = hear(Mode::Workflow, options.clone(), &[&event("c2KS")]);
    let summary = text(&listened.events);
    let url = "https://dify.example.org/x/form/c2KS";
    assert!(summary.starts_with(&format!("Review\n\nFill it in at {url}\nPrograms")), "{summary}");
    assert_eq!(listened.decoder.summary().forms[0]["form_url"], url);
    // What cannot stand in a path is in no address.
    let listened = hear(Mode::Workflow, options, &[&event("a/../b")]);
    assert!(!text(&listened.events).contains("dify.example.org"));
    assert_eq!(listened.decoder.summary().forms[0].get("form_url"), None);
}

#[test]
fn a_form_without_a_token_says_so() {
    let paused = r#"{"event":"workflow_paused","workflow_run_id":"r1","data":{"reasons":[{"form_id":"f1","node_title":"Review","form_token":null}]}}"#;
    let listened = hear(Mode::Workflow, DecodeOptions::default(), &[paused]);
    assert_eq!(text(&listened.events), "Review\n\nIt can be filled in by those it was sent to.");
}

#[test]
fn an_answer_that_only_the_end_has_is_taken() {
    let done = r#"{"event":"workflow_finished",IDS,"data":{"status":"succeeded","outputs":{"answer":"only\/here"}}}"#;
    for events in [&[STARTED, END, done][..], &[STARTED, done]] {
        let listened = hear(Mode::AdvancedChat, DecodeOptions::default(), events);
        assert_eq!(
            (text(&listened.events).as_str(), listened.state),
            ("only/here", DecodeState::Finished)
        );
    }
}

#[test]
fn plain_json_is_taken_where_a_stream_was_asked_for() {
    let chat = r#"
        {"event": "message", "task_id": "t1", "id": "m1", "message_id": "m1", "conversation_id": "c1", "mode": "chat", "answer": "<think>hm</think>hi", "metadata": {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}, "retriever_resources": [{"document_name": "A"}]}, "created_at": 7}"#;
    for mode in [Mode::Chat, Mode::AgentChat, Mode::AdvancedChat, Mode::Completion] {
        for size in [1, 10, chat.len()] {
            let pieces: Vec<_> = chat.as_bytes().chunks(size).collect();
            let listened = listen(mode, DecodeOptions::default(), &pieces);
            let summary = listened.decoder.summary();
            assert_eq!(listened.state, DecodeState::Finished, "{mode:?}");
            assert_eq!((summary.text.as_str(), summary.reasoning.as_str()), ("hi", "hm"));
            assert_eq!((summary.usage.unwrap().total_tokens, summary.sources.len()), (3, 1));
            let start = listened.decoder.response_start().unwrap();
            assert_eq!((start.id.as_str(), start.created_s), ("m1", 7));
            assert_eq!(start.conversation.as_deref(), Some("c1"));
        }
    }
    let run = r#"{"task_id":"t","workflow_run_id":"r1","data":{"id":"r1","status":"STATUS","outputs":{"out":"x"},"error":"no sandbox","total_tokens":4,"created_at":5}}"#;
    let listened = listen(
        Mode::Workflow,
        DecodeOptions::default(),
        &[run.replace("STATUS", "succeeded").as_bytes()],
    );
    assert_eq!((text(&listened.events).as_str(), listened.state), ("x", DecodeState::Finished));
    for bad in [
        run.replace("STATUS", "failed"),
        r#"{"code": "invalid_param", "message": "no sandbox", "status": 400}"#.to_owned(),
        chat[..chat.len() - 3].to_owned(),
        "{}".to_owned(),
        "<html>nginx</html>".to_owned(),
    ] {
        for mode in [Mode::Workflow, Mode::Chat] {
            let listened = listen(mode, DecodeOptions::default(), &[bad.as_bytes()]);
            let DecodeState::Failed(error) = listened.state else { panic!("{mode:?} {bad}") };
            let says = error.message.contains("no sandbox");
            assert_eq!(says, bad.contains("no sandbox"), "{mode:?} {bad}: {error:?}");
        }
    }
}

#[test]
fn progress_goes_where_a_protocol_has_reasoning() {
    use crate::adapter::{ResponseEncoder, ResponseStart, anthropic, openai};
    let summary = |mut encoder: Box<dyn ResponseEncoder>| {
        let mut out = bytes::BytesMut::new();
        encoder.start(&ResponseStart { id: "m1".into(), ..ResponseStart::default() }, &mut out);
        out.clear();
        encoder.encode(&AppEvent::Progress("Round 1\n".into()), &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    };
    let body = |more: &str| format!(r#"{{"model": "shop", "stream": true, {more}}}"#).into_bytes();
    let messages = r#""messages": [{"role": "user", "content": "hi"}]"#;
    let chat = summary(Box::new(openai::chat::read(body(messages)).unwrap().1));
    assert!(chat.contains(r#"{"reasoning_content":"Round 1\n"}"#), "{chat}");
    let completion =
        summary(Box::new(openai::completions::read(body(r#""prompt": "hi""#)).unwrap().1));
    assert!(completion.starts_with(':'), "{completion}");
    let response = summary(Box::new(openai::responses::read(body(r#""input": "hi""#)).unwrap().1));
    assert!(response.contains("response.reasoning_summary_text.delta"), "{response}");
    let splitter = |how: &str| format!(r#""max_tokens": 9000, "thinking": {how}, {messages}"#);
    let thinks = splitter(r#"{"type": "enabled", "budget_tokens": 2000}"#);
    let message = summary(Box::new(anthropic::read(body(&thinks)).unwrap().1));
    assert!(message.contains(r#"{"type":"thinking_delta","thinking":"Round 1\n"}"#), "{message}");
    let message =
        summary(Box::new(anthropic::read(body(&splitter(r#"{"type": "disabled"}"#))).unwrap().1));
    assert!(message.starts_with("event: ping"), "{message}");
}

#[test]
fn a_replacement_that_goes_on_has_the_same_addresses() {
    let link = "http://api/files/tools/0b7ea6c8-58d5-4f66-a9a2-5d1d3f1f0a01.png?sign=x";
    let summary = link.replace("http://api", "https://gate.example");
    let said = format!(r#"{{"event": "message", IDS, "answer": "See [it]({link})"}}"#);
    let replace = format!(r#"{{"event": "message_replace", IDS, "answer": "See [it]({link})."}}"#);
    let options =
        DecodeOptions { files_base: "https://gate.example".into(), ..DecodeOptions::default() };
    let listened = hear(Mode::Chat, options, &[&said, &replace, PLAIN_END]);
    assert_eq!(text(&listened.events), format!("See [it]({summary})."));
}
