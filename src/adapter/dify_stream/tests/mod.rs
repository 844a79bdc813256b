mod content;
mod ends;
mod leniency;
mod recordings;

use proptest::prelude::*;

use super::event_limits::MAX_EVENT_BYTES;
use super::{DecodeOptions, DecodeState, StreamDecoder};
use crate::adapter::mode::Mode;
use crate::adapter::response_encoder::{AppEvent, FinishReason};
use crate::dify::response_body::Usage;
use crate::model::ai::{MadeFiles, Reasoning};

/// What is decoded of a stream given in pieces.
struct Listened {
    events: Vec<AppEvent>,
    state: DecodeState,
    decoder: StreamDecoder,
}

fn listen(mode: Mode, options: DecodeOptions, pieces: &[&[u8]]) -> Listened {
    let mut decoder = StreamDecoder::new(mode, options, "shop".to_owned());
    let mut events = Vec::new();
    for piece in pieces {
        decoder.feed(piece, &mut |one| events.push(one));
    }
    let state = decoder.finish(&mut |one| events.push(one)).clone();
    Listened { events, state, decoder }
}

/// A stream of Dify's; `IDS` stands for the ids of a chat.
fn stream(events: &[&str]) -> String {
    let ids =
        r#""conversation_id": "c1", "message_id": "m1", "created_at": 1795249423, "task_id": "t1""#;
    let event = |event: &&str| match event.strip_prefix("event:") {
        Some(_) => format!("{event}\n\n"),
        None => format!("data: {}\n\n", event.replace("IDS", ids)),
    };
    events.iter().map(event).collect()
}

fn hear(mode: Mode, options: DecodeOptions, events: &[&str]) -> Listened {
    listen(mode, options, &[stream(events).as_bytes()])
}

fn text(events: &[AppEvent]) -> String {
    let text = |event: &AppEvent| match event {
        AppEvent::Text(text) => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

const END: &str = r#"{"event": "message_end", IDS, "metadata": {"annotation_reply": null, "retriever_resources": [{"position": 1, "document_name": "Prices.pdf", "doc_metadata": {"url": "https://docs.example/p"}}, {"document_name": "Secret.txt"}], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "total_price": "0.00009"}}, "files": null}"#;
const PLAIN_END: &str = r#"{"event": "message_end", IDS, "metadata": {}, "files": null}"#;

const CHAT: [&str; 6] = [
    r#"{"event": "message", IDS, "answer": "<think>hm"}"#,
    "event: ping",
    r#"{"event": "message", IDS, "answer": "</think>\n\nGr\u00fc"}"#,
    r#"{"event": "message", IDS, "answer": "ße 好"}"#,
    r#"{"event": "message", IDS, "answer": ""}"#,
    END,
];

#[test]
fn a_chat_is_heard_piece_by_piece() {
    let listened = hear(Mode::Chat, DecodeOptions::default(), &CHAT);
    let summary = listened.decoder.summary();
    assert_eq!((summary.text.as_str(), summary.reasoning.as_str()), ("Grüße 好", "hm"));
    assert_eq!(listened.state, DecodeState::Finished);
    let usage = Usage { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 };
    assert_eq!(summary.usage, Some(usage));
    let sources: Vec<_> = summary
        .sources
        .iter()
        .map(|source| (source.title.as_str(), source.url.as_deref()))
        .collect();
    assert_eq!(sources, [("Prices.pdf", Some("https://docs.example/p")), ("Secret.txt", None)]);
    let start = listened.decoder.response_start().unwrap();
    assert_eq!((start.id.as_str(), start.conversation.as_deref()), ("m1", Some("c1")));
    assert_eq!((start.created_s, start.model.as_str()), (1_795_249_423, "shop"));
    let expected = [
        AppEvent::Reasoning("hm".into()),
        AppEvent::Ping,
        AppEvent::Text("Grü".into()),
        AppEvent::Text("ße 好".into()),
        AppEvent::Sources(summary.sources.clone()),
    ];
    assert_eq!(listened.events, expected);
}

#[test]
fn reasoning_may_stand_in_the_answer_or_be_left_out() {
    let inline = DecodeOptions { reasoning: Reasoning::Inline, ..DecodeOptions::default() };
    let listened = hear(Mode::Chat, inline.clone(), &CHAT);
    assert_eq!(text(&listened.events), "<think>hm</think>\n\nGrüße 好");
    let dropped = DecodeOptions { reasoning: Reasoning::Drop, ..DecodeOptions::default() };
    let listened = hear(Mode::Chat, dropped, &CHAT);
    assert_eq!(text(&listened.events), "Grüße 好");
    assert_eq!(listened.decoder.summary().reasoning, "");
    let separated = [
        r#"{"event": "reasoning_chunk", IDS, "data": {"reasoning": "why", "is_final": false}}"#,
        r#"{"event": "message", IDS, "answer": "so"}"#,
        PLAIN_END,
    ];
    assert_eq!(text(&hear(Mode::Chat, inline, &separated).events), "<think>why</think>\n\nso");
    let listened = hear(Mode::Chat, DecodeOptions::default(), &separated);
    assert_eq!(listened.decoder.summary().reasoning, "why");
}

#[test]
fn an_agents_thoughts_are_told_once_and_its_answer_is_not_repeated() {
    let events = [
        r#"{"event": "agent_thought", IDS, "id": "a1", "thought": "", "tool": ""}"#,
        r#"{"event": "agent_thought", IDS, "id": "a1", "thought": "I should", "tool": ""}"#,
        r#"{"event": "agent_thought", IDS, "id": "a1", "thought": "I should look", "tool": "web"}"#,
        r#"{"event": "agent_message", IDS, "answer": "It is "}"#,
        r#"{"event": "agent_message", IDS, "answer": "raining"}"#,
        r#"{"event": "agent_thought", IDS, "id": "a2", "thought": "It is raining", "tool": ""}"#,
        r#"{"event": "message_file", IDS, "id": "f1", "type": "image", "belongs_to": "assistant", "url": "/files/1.png"}"#,
        r#"{"event": "message_file", IDS, "id": "f2", "type": "image", "belongs_to": "user", "url": "/files/2.png"}"#,
        r#"{"event": "message", IDS, "answer": "It is raining"}"#,
        PLAIN_END,
    ];
    for mode in [Mode::Agent, Mode::AgentChat] {
        let listened = hear(mode, DecodeOptions::default(), &events);
        assert_eq!(text(&listened.events), "It is raining\n\n![](/files/1.png)", "{mode:?}");
        assert_eq!(listened.decoder.summary().reasoning, "I should look");
    }
    let no_files = DecodeOptions { files: MadeFiles::Drop, ..DecodeOptions::default() };
    assert_eq!(text(&hear(Mode::Agent, no_files, &events).events), "It is raining");
}

#[test]
fn a_chatflow_may_end_either_way_and_a_failed_one_says_why() {
    let started = r#"{"event": "workflow_started", IDS, "workflow_run_id": "r1", "data": {"id": "r1", "inputs": {"sys.query": "x"}}}"#;
    let said = r#"{"event": "message", IDS, "answer": "hi"}"#;
    let finished = r#"{"event": "workflow_finished", IDS, "workflow_run_id": "r1", "data": {"status": "succeeded", "outputs": {"answer": "hi"}, "total_tokens": 9}}"#;
    let failed =
        r#"{"event": "workflow_finished", IDS, "data": {"status": "failed", "error": "x"}}"#;
    let error = r#"{"event": "error", IDS, "code": "invalid_param", "status": 400, "message": "Run failed: died"}"#;
    for events in [
        &[started, said, finished, END][..],
        &[started, said, END, finished],
        &[started, said, END],
        &[started, said, finished],
    ] {
        let listened = hear(Mode::AdvancedChat, DecodeOptions::default(), events);
        assert_eq!(listened.state, DecodeState::Finished, "{events:?}");
        assert_eq!(listened.decoder.summary().text, "hi");
    }
    for events in [&[started, said, failed, error][..], &[error], &[said], &[started, said, failed]]
    {
        let listened = hear(Mode::AdvancedChat, DecodeOptions::default(), events);
        let DecodeState::Failed(error) = listened.state else { panic!("{events:?}") };
        assert!(error.is_final, "{events:?}");
    }
}

#[test]
fn a_workflow_answers_by_its_pieces_or_by_one_of_its_outputs() {
    let workflow = |outputs: &str, output: Option<&str>, chunk: Option<&str>| {
        let chunk = chunk.map(|text| {
            format!(r#"{{"event": "text_chunk", "task_id": "t1", "data": {{"text": "{text}"}}}}"#)
        });
        let finished = format!(
            r#"{{"event": "workflow_finished", "workflow_run_id": "r1", "task_id": "t1", "data": {{"status": "succeeded", "outputs": {outputs}, "total_tokens": 12}}}}"#
        );
        let started = r#"{"event": "workflow_started", "workflow_run_id": "r1", "task_id": "t1", "data": {"created_at": 5}}"#;
        let node = r#"{"event": "node_finished", "workflow_run_id": "r1", "data": {"node_type": "llm", "outputs": {"usage": {"prompt_tokens": 4, "completion_tokens": 8, "total_tokens": 12}}}}"#;
        let events: Vec<_> = [Some(started), Some(node), chunk.as_deref(), Some(finished.as_str())]
            .into_iter()
            .flatten()
            .collect();
        let options =
            DecodeOptions { answer_output: output.map(str::to_owned), ..DecodeOptions::default() };
        let listened = hear(Mode::Workflow, options, &events);
        assert_eq!(listened.state, DecodeState::Finished);
        let usage = Usage { prompt_tokens: 4, completion_tokens: 8, total_tokens: 12 };
        assert_eq!(listened.decoder.summary().usage, Some(usage));
        assert_eq!(listened.decoder.response_start().unwrap().created_s, 5);
        text(&listened.events)
    };
    assert_eq!(workflow(r#"{"out": "a"}"#, None, None), "a");
    assert_eq!(workflow(r#"{"x": 1, "y": "b"}"#, None, None), "b");
    assert_eq!(workflow(r#"{"x": 1, "y": 2}"#, None, None), r#"{"x":1,"y":2}"#);
    assert_eq!(workflow(r#"{"text": "a", "y": "b"}"#, Some("y"), None), "b");
    assert_eq!(workflow(r#"{"text": "a"}"#, Some("none"), None), "");
    assert_eq!(workflow(r#"{"text": "streamed"}"#, None, Some("streamed")), "streamed");
    assert_eq!(workflow(r#"{"x": "one", "y": "two"}"#, Some("y"), Some("onetwo")), "two");
    assert_eq!(workflow("{}", None, None), "");
    assert_eq!(workflow("null", None, None), "");
}

#[test]
fn a_failed_workflow_or_one_that_waits_for_nobody_is_no_answer() {
    let failed = r#"{"event": "workflow_finished", "workflow_run_id": "r1", "data": {"status": "failed", "error": "no sandbox", "outputs": {}}}"#;
    let paused = r#"{"event": "workflow_paused", "workflow_run_id": "r1", "data": {}}"#;
    for (event, words) in [(failed, "no sandbox"), (paused, "waits for human input")] {
        let DecodeState::Failed(error) =
            hear(Mode::Workflow, DecodeOptions::default(), &[event]).state
        else {
            panic!("{event}")
        };
        assert!(error.message.contains(words) && error.is_final, "{error:?}");
    }
}

#[test]
fn an_answer_that_is_replaced_ends_as_filtered() {
    let replace = r#"{"event": "message_replace", IDS, "answer": "I may not say that", "reason": "output_moderation"}"#;
    let said = r#"{"event": "message", IDS, "answer": "The secret"}"#;
    let listened = hear(Mode::Chat, DecodeOptions::default(), &[said, replace, said, PLAIN_END]);
    let summary = listened.decoder.summary();
    assert_eq!(
        (summary.text.as_str(), summary.finish),
        ("I may not say that", FinishReason::Filtered)
    );
    assert_eq!(text(&listened.events), "The secret");
    // Nothing had gone out yet: the client gets the replacement itself.
    let listened = hear(Mode::Chat, DecodeOptions::default(), &[replace, PLAIN_END]);
    assert_eq!(text(&listened.events), "I may not say that");
}

#[test]
fn a_stop_text_ends_the_answer_and_not_the_run() {
    let stop = DecodeOptions { stop: vec!["END".to_owned()], ..DecodeOptions::default() };
    let said = |text: &str| format!(r#"{{"event": "message", IDS, "answer": "{text}"}}"#);
    let (one, two) = (said("one EN"), said("D two"));
    let mut decoder = StreamDecoder::new(Mode::Chat, stop.clone(), "shop".into());
    let mut heard = Vec::new();
    let events = stream(&[&one, &two]);
    assert_eq!(
        decoder.feed(events.as_bytes(), &mut |one| heard.push(one)),
        &DecodeState::StopReached
    );
    assert_eq!(
        (text(&heard), decoder.summary().finish),
        ("one ".into(), FinishReason::StopSequence)
    );
    let listened = hear(Mode::Chat, stop, &[&one, PLAIN_END]);
    assert_eq!((text(&listened.events), listened.state), ("one EN".into(), DecodeState::Finished));
}

#[test]
fn what_is_cut_or_too_large_is_a_failure() {
    let listened = hear(Mode::Chat, DecodeOptions::default(), &CHAT[..4]);
    assert!(matches!(listened.state, DecodeState::Failed(_)));
    let huge = format!("data: {}", "x".repeat(MAX_EVENT_BYTES + 1));
    let listened = listen(Mode::Chat, DecodeOptions::default(), &[huge.as_bytes()]);
    assert!(matches!(listened.state, DecodeState::Failed(_)));
    // An event that is none of Dify's is passed over.
    let odd = [r#"{"event": 7}"#, "nonsense", r#"{"event": "new_thing", IDS}"#, PLAIN_END];
    assert_eq!(hear(Mode::Chat, DecodeOptions::default(), &odd).state, DecodeState::Finished);
}

proptest! {
    #[test]
    fn a_stream_split_at_any_byte_says_the_same(
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)
    ) {
        let bytes = stream(&CHAT).into_bytes();
        let whole = listen(Mode::Chat, DecodeOptions::default(), &[&bytes]);
        let mut cuts: Vec<_> = cuts.iter().map(|stop| stop.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|two| &bytes[two[0]..two[1]]).collect();
        let listened = listen(Mode::Chat, DecodeOptions::default(), &pieces);
        prop_assert_eq!(listened.events, whole.events);
        prop_assert_eq!(listened.decoder.summary(), whole.decoder.summary());
    }
}
