use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::request;
use crate::adapter::anthropic::{MessagesEncoder, read};
use crate::adapter::frames::events;
use crate::adapter::response_encoder::AppEvent;
use crate::adapter::response_encoder::{
    FinishReason, ResponseEncoder, ResponseStart, ResponseSummary, Source,
};
use crate::dify::response_body::Usage;
use crate::model::{ErrorKind, GatewayError};

fn response_start() -> ResponseStart {
    ResponseStart {
        id: "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".into(),
        conversation: Some("c0ffee00-0000-4000-8000-000000000001".into()),
        created_s: 1_700_000_000,
        model: "m".into(),
    }
}

fn summary(text: &str, reasoning: &str) -> ResponseSummary {
    let usage = Usage { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 };
    ResponseSummary {
        text: text.into(),
        reasoning: reasoning.into(),
        usage: Some(usage),
        ..ResponseSummary::default()
    }
}

fn encoder(fields: Value) -> MessagesEncoder {
    read(request(fields)).unwrap().1
}

fn thinking() -> MessagesEncoder {
    encoder(json!({"thinking": {"type": "adaptive"}}))
}

/// Each event as one line of what matters in it.
fn outline(events: &[Value]) -> Vec<String> {
    let line = |event: &Value| {
        let kind = event["type"].as_str().unwrap();
        match kind {
            "content_block_start" => {
                format!("start {} {}", event["index"], event["content_block"]["type"])
            }
            "content_block_delta" => format!("delta {} {}", event["index"], event["delta"]),
            "content_block_stop" => format!("stop {}", event["index"]),
            _ => kind.to_owned(),
        }
    };
    events.iter().map(line).collect()
}

fn streamed(
    mut encoder: MessagesEncoder,
    event: &[AppEvent],
    summary: &ResponseSummary,
) -> Vec<Value> {
    let mut out = BytesMut::new();
    encoder.start(&response_start(), &mut out);
    for event in event {
        encoder.encode(event, &mut out);
    }
    encoder.finish(summary, &mut out);
    events(&out)
}

fn text(text: &str) -> AppEvent {
    AppEvent::Text(text.into())
}

fn reasoning(text: &str) -> AppEvent {
    AppEvent::Reasoning(text.into())
}

#[test]
fn a_stream_is_byte_for_byte_what_the_protocol_says() {
    let mut encoder = encoder(json!({}));
    let mut out = BytesMut::new();
    encoder.start(&response_start(), &mut out);
    encoder.encode(&text("Hel\"lo"), &mut out);
    encoder.encode(&text(" Wörld\n"), &mut out);
    encoder.encode(&AppEvent::Ping, &mut out);
    encoder.finish(&summary("", ""), &mut out);
    let expected = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0},"x_dify":{"conversation_id":"c0ffee00-0000-4000-8000-000000000001"}}}

event: ping
data: {"type":"ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel\"lo"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" Wörld\n"}}

event: ping
data: {"type":"ping"}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":5},"x_dify":{"usage_source":"dify"}}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(String::from_utf8(out.to_vec()).unwrap(), expected);
}

#[test]
fn thinking_and_text_follow_each_other_in_blocks_of_their_own() {
    let event = [reasoning("h"), reasoning("m"), text("a"), reasoning("o"), text("b"), text("c")];
    let lines = outline(&streamed(thinking(), &event, &summary("abc", "hmo")));
    let expected = [
        "message_start",
        "ping",
        "start 0 \"thinking\"",
        "delta 0 {\"type\":\"thinking_delta\",\"thinking\":\"h\"}",
        "delta 0 {\"type\":\"thinking_delta\",\"thinking\":\"m\"}",
        "delta 0 {\"type\":\"signature_delta\",\"signature\":\"\"}",
        "stop 0",
        "start 1 \"text\"",
        "delta 1 {\"type\":\"text_delta\",\"text\":\"a\"}",
        "stop 1",
        "start 2 \"thinking\"",
        "delta 2 {\"type\":\"thinking_delta\",\"thinking\":\"o\"}",
        "delta 2 {\"type\":\"signature_delta\",\"signature\":\"\"}",
        "stop 2",
        "start 3 \"text\"",
        "delta 3 {\"type\":\"text_delta\",\"text\":\"b\"}",
        "delta 3 {\"type\":\"text_delta\",\"text\":\"c\"}",
        "stop 3",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn thinking_is_told_only_to_those_who_asked_for_it() {
    for fields in [
        json!({}),
        json!({"thinking": {"type": "disabled"}}),
        json!({"thinking": {"type": "adaptive", "display": "omitted"}}),
    ] {
        let lines = outline(&streamed(
            encoder(fields.clone()),
            &[reasoning("h"), text("a")],
            &summary("a", "h"),
        ));
        assert_eq!(lines[2..4], ["ping", "start 0 \"text\""]);
        let whole: Value = serde_json::from_slice(
            &encoder(fields).json_body(&response_start(), &summary("a", "h")),
        )
        .unwrap();
        assert_eq!(whole["content"], json!([{"type": "text", "text": "a"}]));
    }
}

#[test]
fn an_answer_without_words_still_has_a_block_of_text() {
    let lines = outline(&streamed(thinking(), &[], &summary("", "")));
    assert_eq!(lines[2..4], ["start 0 \"text\"", "stop 0"]);
    let whole: Value =
        serde_json::from_slice(&thinking().json_body(&response_start(), &summary("", ""))).unwrap();
    assert_eq!(whole["content"], json!([{"type": "text", "text": ""}]));
}

#[test]
fn a_whole_answer_is_one_message() {
    let mut answer = summary("Hello", "hm");
    answer.sources = vec![Source { raw: json!({"document_name": "d"}), ..Source::default() }];
    let whole = thinking().json_body(&response_start(), &answer);
    let expected = json!({
        "id": "msg_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "Hello"},
        ],
        "stop_reason": "end_turn",
        "stop_sequence": null,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 5,
        },
        "x_dify": {
            "conversation_id": "c0ffee00-0000-4000-8000-000000000001",
            "retriever_resources": [{"document_name": "d"}],
            "usage_source": "dify",
        },
    });
    assert_eq!(whole, expected.to_string());
}

#[test]
fn the_reason_of_the_end_is_told() {
    for (stops, finish, reason, which) in [
        (json!([]), FinishReason::Stop, "end_turn", Value::Null),
        (json!([]), FinishReason::Filtered, "refusal", Value::Null),
        (json!(["END"]), FinishReason::StopSequence, "stop_sequence", json!("END")),
        (json!(["END", "X"]), FinishReason::StopSequence, "stop_sequence", Value::Null),
    ] {
        let answer = ResponseSummary { finish, ..summary("a", "") };
        let new = || encoder(json!({"stop_sequences": stops}));
        let whole: Value =
            serde_json::from_slice(&new().json_body(&response_start(), &answer)).unwrap();
        let all = streamed(new(), &[text("a")], &answer);
        let last = &all[all.len() - 2]["delta"];
        for end in [&whole, last] {
            assert_eq!((&end["stop_reason"], &end["stop_sequence"]), (&json!(reason), &which));
        }
    }
}

#[test]
fn what_a_streamed_answer_was_replaced_by_is_told() {
    let answer = ResponseSummary { finish: FinishReason::Filtered, ..summary("No.", "") };
    let all = streamed(encoder(json!({})), &[text("a")], &answer);
    assert_eq!(all[all.len() - 2]["x_dify"]["replaced_by"], "No.");
}

#[test]
fn a_workflows_total_is_told_as_output() {
    let usage = Some(Usage { total_tokens: 9, ..Usage::default() });
    let answer = ResponseSummary { usage, ..summary("a", "") };
    let whole: Value =
        serde_json::from_slice(&thinking().json_body(&response_start(), &answer)).unwrap();
    assert_eq!(whole["usage"]["output_tokens"], 9);
    assert_eq!(whole["x_dify"]["usage_source"], "workflow_total");
}

#[test]
fn sources_are_told_at_the_end() {
    let source = Source { raw: json!({"document_name": "d"}), ..Source::default() };
    let answer = ResponseSummary { sources: vec![source.clone()], ..summary("a", "") };
    let all = streamed(thinking(), &[AppEvent::Sources(vec![source]), text("a")], &answer);
    assert_eq!(outline(&all)[2], "start 0 \"text\"");
    let raw = &all[all.len() - 2]["x_dify"]["retriever_resources"];
    assert_eq!(raw, &json!([{"document_name": "d"}]));
}

#[test]
fn a_failure_is_an_error_event_and_nothing_follows_it() {
    let error = GatewayError::new(502, ErrorKind::Server, "upstream", "the model failed");
    let mut encoder = encoder(json!({}));
    let mut out = BytesMut::new();
    encoder.start(&response_start(), &mut out);
    encoder.encode(&text("a"), &mut out);
    encoder.fail(&error, &summary("a", ""), &mut out);
    let last = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"the model failed\"}}\n\n";
    assert!(String::from_utf8(out.to_vec()).unwrap().ends_with(last));
}

#[test]
fn before_the_message_begins_only_a_comment_keeps_the_line_open() {
    let mut encoder = encoder(json!({}));
    let mut out = BytesMut::new();
    encoder.keep_alive(&mut out);
    assert!(out.starts_with(b":"));
    encoder.start(&response_start(), &mut out);
    out.clear();
    encoder.keep_alive(&mut out);
    assert_eq!(out, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

/// What a client has in the end, summed up as the SDKs do.
fn reassembled(events: &[Value]) -> (String, String) {
    let mut blocks: Vec<(Value, String)> = Vec::new();
    for event in events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(event["index"], blocks.len());
                blocks.push((event["content_block"]["type"].clone(), String::new()));
            }
            "content_block_delta" => {
                let at = usize::try_from(event["index"].as_u64().unwrap()).unwrap();
                let delta = &event["delta"];
                let more = delta["text"].as_str().or_else(|| delta["thinking"].as_str());
                blocks[at].1.push_str(more.unwrap_or(""));
            }
            _ => {}
        }
    }
    let all = |kind: &str| {
        blocks.iter().filter(|(found, _)| found == kind).map(|(_, text)| text.as_str()).collect()
    };
    (all("text"), all("thinking"))
}

proptest! {
    #[test]
    fn the_pieces_of_an_answer_make_the_same_text(
        pieces in prop::collection::vec((any::<bool>(), "\\PC{1,8}|[\\n\\r\"\\\\\u{0}-\u{1f}]{1,4}"), 0..20),
    ) {
        let all = |is_text: bool| -> String {
            pieces.iter().filter(|piece| piece.0 == is_text).map(|piece| piece.1.as_str()).collect()
        };
        let event: Vec<_> = pieces
            .iter()
            .map(|(is_text, piece)| if *is_text { text(piece) } else { reasoning(piece) })
            .collect();
        let answer = summary(&all(true), &all(false));
        let found = reassembled(&streamed(thinking(), &event, &answer));
        prop_assert_eq!(found, (all(true), all(false)));
    }
}
