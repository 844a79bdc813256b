use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::request;
use crate::adapter::frames::events;
use crate::adapter::openai::responses::{ResponsesEncoder, read};
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

fn encoder(fields: Value) -> ResponsesEncoder {
    read(request(fields)).unwrap().1
}

fn text(text: &str) -> AppEvent {
    AppEvent::Text(text.into())
}

fn reasoning(text: &str) -> AppEvent {
    AppEvent::Reasoning(text.into())
}

fn source(title: &str, url: Option<&str>) -> Source {
    Source {
        title: title.into(),
        url: url.map(str::to_owned),
        raw: json!({"document_name": title}),
    }
}

fn streamed(event: &[AppEvent], summary: &ResponseSummary) -> Vec<Value> {
    let (mut encoder, mut out) = (encoder(json!({})), BytesMut::new());
    encoder.start(&response_start(), &mut out);
    for event in event {
        encoder.encode(event, &mut out);
    }
    encoder.finish(summary, &mut out);
    let events = events(&out);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    events
}

/// Each event as one line: its type without `response.`, its item's place, and what is new.
fn outline(events: &[Value]) -> Vec<String> {
    let line = |event: &Value| {
        let kind = event["type"].as_str().unwrap().trim_start_matches("response.");
        let place = event["output_index"].as_u64().map(|place| format!(" {place}"));
        let what = ["delta", "text", "annotation_index"].map(|name| &event[name]);
        let what = what.into_iter().find(|what| !what.is_null()).map(|what| format!(" {what}"));
        format!("{kind}{}{}", place.unwrap_or_default(), what.unwrap_or_default())
    };
    events.iter().map(line).collect()
}

/// The response of the last event.
fn last(events: &[Value]) -> &Value {
    &events.last().unwrap()["response"]
}

fn json_body(fields: Value, summary: &ResponseSummary) -> Value {
    serde_json::from_slice(&encoder(fields).json_body(&response_start(), summary)).unwrap()
}

/// The items of the answer below.
fn output() -> Value {
    json!([
        {
            "id": "rs_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed",
            "type": "reasoning",
            "status": "completed",
            "summary": [{"type": "summary_text", "text": "hm"}],
        },
        {
            "id": "msg_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{
                "type": "output_text",
                "text": "Grüße",
                "annotations": [{
                    "type": "url_citation",
                    "start_index": 0,
                    "end_index": 5,
                    "url": "https://a.example",
                    "title": "a",
                }],
                "logprobs": [],
            }],
        },
    ])
}

#[test]
fn an_answer_is_a_response_with_all_its_fields() {
    let fields = json!({
        "instructions": "Be kind.",
        "previous_response_id": "resp_1",
        "metadata": {"own": "x"},
        "user": "u",
        "temperature": 0.3,
    });
    let mut answer = summary("Grüße", "hm");
    answer.sources = vec![source("a", Some("https://a.example")), source("b", None)];
    let expected = json!({
        "id": "resp_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": "Be kind.",
        "max_output_tokens": null,
        "max_tool_calls": null,
        "model": "m",
        "output": output(),
        "parallel_tool_calls": false,
        "previous_response_id": "resp_1",
        "conversation": {"id": "conv_c0ffee00000040008000000000000001"},
        "reasoning": {"effort": null, "summary": null},
        "store": true,
        "temperature": null,
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "top_logprobs": 0,
        "top_p": null,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 12,
        },
        "user": "u",
        "metadata": {"own": "x"},
        "x_dify": {
            "conversation_id": "c0ffee00-0000-4000-8000-000000000001",
            "retriever_resources": [{"document_name": "a"}, {"document_name": "b"}],
            "usage_source": "dify",
        },
    });
    assert_eq!(encoder(fields).json_body(&response_start(), &answer), expected.to_string());
}

#[test]
fn what_is_not_there_is_null() {
    let bare = ResponseStart { conversation: None, ..response_start() };
    let whole = encoder(json!({"store": false})).json_body(&bare, &ResponseSummary::default());
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    for name in ["instructions", "previous_response_id", "conversation", "usage", "user"] {
        assert_eq!(whole.get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!((&whole["store"], &whole["metadata"]), (&json!(false), &json!({})));
    assert_eq!(whole["output"][0]["content"][0]["text"], "");
    assert_eq!(whole.get("x_dify"), None);
}

#[test]
fn the_pieces_of_a_stream_are_byte_for_byte_what_the_protocol_says() {
    let (mut encoder, mut out) = (encoder(json!({})), BytesMut::new());
    encoder.start(&response_start(), &mut out);
    encoder.encode(&text("Hel\"lo"), &mut out);
    out.clear();
    encoder.encode(&text(" Wörld\n"), &mut out);
    let expected = r#"event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed","output_index":0,"content_index":0,"delta":" Wörld\n","logprobs":[]}

"#;
    assert_eq!(String::from_utf8(out.to_vec()).unwrap(), expected);
    encoder.encode(&reasoning("hm"), &mut out);
    out.clear();
    encoder.encode(&reasoning("so"), &mut out);
    let expected = r#"event: response.reasoning_summary_text.delta
data: {"type":"response.reasoning_summary_text.delta","sequence_number":12,"item_id":"rs_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed","output_index":1,"summary_index":0,"delta":"so"}

"#;
    assert_eq!(String::from_utf8(out.to_vec()).unwrap(), expected);
}

#[test]
fn a_stream_has_the_whole_sequence_of_events() {
    let sources = vec![source("a", Some("https://a.example")), source("b", None)];
    let event = [reasoning("h"), reasoning("m"), text("a"), text("b"), AppEvent::Sources(sources)];
    let all = streamed(&event, &summary("ab", "hm"));
    let expected = [
        "created",
        "in_progress",
        "output_item.added 0",
        "reasoning_summary_part.added 0",
        "reasoning_summary_text.delta 0 \"h\"",
        "reasoning_summary_text.delta 0 \"m\"",
        "reasoning_summary_text.done 0 \"hm\"",
        "reasoning_summary_part.done 0",
        "output_item.done 0",
        "output_item.added 1",
        "content_part.added 1",
        "output_text.delta 1 \"a\"",
        "output_text.delta 1 \"b\"",
        "output_text.annotation.added 1 0",
        "output_text.done 1 \"ab\"",
        "content_part.done 1",
        "output_item.done 1",
        "completed",
    ];
    assert_eq!(outline(&all), expected);
    let first = &all[0]["response"];
    assert_eq!((&first["status"], &first["output"]), (&json!("in_progress"), &json!([])));
    assert_eq!(all[1]["response"], *first);
    let items = &last(&all)["output"];
    assert_eq!(all[8]["item"], items[0]);
    assert_eq!(all[16]["item"], items[1]);
    assert_eq!(all[7]["part"], items[0]["summary"][0]);
    assert_eq!(all[15]["part"], items[1]["content"][0]);
    assert_eq!(all[13]["annotation"], items[1]["content"][0]["annotations"][0]);
    assert_eq!(all[2]["item"]["summary"], json!([]));
    assert_eq!(all[9]["item"]["content"], json!([]));
}

#[test]
fn a_streamed_response_ends_as_the_same_response_whole() {
    let sources = vec![source("a", Some("https://a.example"))];
    let answer = ResponseSummary { sources: sources.clone(), ..summary("ab", "hm") };
    let all = streamed(&[reasoning("hm"), text("ab"), AppEvent::Sources(sources)], &answer);
    assert_eq!(*last(&all), json_body(json!({}), &answer));
}

#[test]
fn who_thinks_in_between_speaks_in_several_items() {
    let event = [text("a"), reasoning("h"), text("b")];
    let all = streamed(&event, &summary("ab", "h"));
    let items = last(&all)["output"].as_array().unwrap();
    let ids: Vec<_> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    let hex = "1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed";
    assert_eq!(ids, [format!("msg_{hex}"), format!("rs_{hex}"), format!("msg_{hex}_2")]);
}

#[test]
fn sources_wait_for_the_text() {
    let sources = AppEvent::Sources(vec![source("a", Some("https://a.example"))]);
    let all = streamed(&[sources.clone(), reasoning("h"), text("ab")], &summary("ab", "h"));
    assert!(outline(&all).contains(&"output_text.annotation.added 1 0".to_owned()));
    let silent = streamed(&[sources], &summary("", ""));
    assert!(outline(&silent).contains(&"output_text.annotation.added 0 0".to_owned()));
}

#[test]
fn an_answer_without_words_still_has_an_item_of_text() {
    let all = streamed(&[reasoning("h")], &summary("", "h"));
    assert_eq!(last(&all)["output"][1]["content"][0]["text"], "");
    assert_eq!(*last(&all), json_body(json!({}), &summary("", "h")));
}

#[test]
fn the_reason_of_the_end_is_told() {
    for (finish, status, kind, details) in [
        (FinishReason::Stop, "completed", "response.completed", Value::Null),
        (FinishReason::StopSequence, "completed", "response.completed", Value::Null),
        (
            FinishReason::Filtered,
            "incomplete",
            "response.incomplete",
            json!({"reason": "content_filter"}),
        ),
    ] {
        let answer = ResponseSummary { finish, ..summary("No.", "") };
        let all = streamed(&[text("a")], &answer);
        assert_eq!(all.last().unwrap()["type"], kind);
        for response in [last(&all), &json_body(json!({}), &answer)] {
            assert_eq!(response["status"], status);
            assert_eq!(response["incomplete_details"], details);
            assert_eq!(response["output"][0]["status"], status);
        }
        let replaced = &last(&all)["x_dify"]["replaced_by"];
        assert_eq!(replaced.as_str(), (finish == FinishReason::Filtered).then_some("No."));
    }
}

#[test]
fn a_failure_ends_the_response_with_what_was_said() {
    for (kind, code) in [
        (ErrorKind::Server, "server_error"),
        (ErrorKind::RateLimit, "rate_limit_exceeded"),
        (ErrorKind::InvalidRequest, "invalid_prompt"),
    ] {
        let (mut encoder, mut out) = (encoder(json!({})), BytesMut::new());
        encoder.start(&response_start(), &mut out);
        encoder.encode(&reasoning("h"), &mut out);
        encoder.encode(&text("a"), &mut out);
        let error = GatewayError::new(502, kind, "upstream", "the model failed");
        encoder.fail(&error, &summary("a", "h"), &mut out);
        let all = events(&out);
        let end = all.last().unwrap();
        assert_eq!(
            (&end["type"], &end["sequence_number"]),
            (&json!("response.failed"), &json!(all.len() - 1))
        );
        let response = last(&all);
        assert_eq!(response["status"], "failed");
        assert_eq!(response["error"], json!({"code": code, "message": "the model failed"}));
        let states: Vec<_> =
            response["output"].as_array().unwrap().iter().map(|item| &item["status"]).collect();
        assert_eq!(states, ["completed", "incomplete"]);
    }
}

#[test]
fn a_failure_before_the_response_is_an_error_event() {
    let (mut encoder, mut out) = (encoder(json!({})), BytesMut::new());
    encoder.keep_alive(&mut out);
    assert_eq!(out, ": keep-alive\n\n");
    out.clear();
    let error = GatewayError::new(504, ErrorKind::Timeout, "upstream_timeout", "too late");
    encoder.fail(&error, &ResponseSummary::default(), &mut out);
    let expected = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"upstream_timeout\",\"message\":\"too late\",\"param\":null}\n\n";
    assert_eq!(String::from_utf8(out.to_vec()).unwrap(), expected);
}

#[test]
fn a_ping_is_a_comment_and_has_no_number() {
    let all = streamed(&[text("a"), AppEvent::Ping, text("b")], &summary("ab", ""));
    assert_eq!(outline(&all)[4..6], ["output_text.delta 0 \"a\"", "output_text.delta 0 \"b\""]);
}

/// What a client has in the end: summed up from the pieces, and in the last response.
fn reassembled(events: &[Value]) -> [(String, String); 2] {
    let sum = |kind: &str| -> String {
        let deltas = events.iter().filter(|event| event["type"] == kind);
        deltas.map(|event| event["delta"].as_str().unwrap()).collect()
    };
    let all = |kind: &str, parts: &str| -> String {
        let items = last(events)["output"].as_array().unwrap().iter();
        let texts = items.filter(|item| item["type"] == kind).map(|item| &item[parts][0]["text"]);
        texts.map(|text| text.as_str().unwrap()).collect()
    };
    [
        (sum("response.output_text.delta"), sum("response.reasoning_summary_text.delta")),
        (all("message", "content"), all("reasoning", "summary")),
    ]
}

proptest! {
    #[test]
    fn the_pieces_of_an_answer_make_the_same_text(
        pieces in prop::collection::vec(
            (any::<bool>(), "\\PC{1,8}|[\\n\\r\"\\\\\u{0}-\u{1f}]{1,4}"), 0..20,
        ),
    ) {
        let all = |is_text: bool| -> String {
            pieces.iter().filter(|piece| piece.0 == is_text).map(|piece| piece.1.as_str()).collect()
        };
        let event: Vec<_> = pieces
            .iter()
            .map(|(is_text, piece)| if *is_text { text(piece) } else { reasoning(piece) })
            .collect();
        let found = reassembled(&streamed(&event, &summary(&all(true), &all(false))));
        let expected = (all(true), all(false));
        prop_assert_eq!(&found[0], &expected);
        prop_assert_eq!(&found[1], &expected);
    }
}
