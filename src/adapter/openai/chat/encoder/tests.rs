use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::adapter::openai::chat::ChatEncoder;
use crate::adapter::openai::chat::read;
use crate::adapter::response_encoder::AppEvent;
use crate::adapter::response_encoder::{
    FinishReason, ResponseEncoder, ResponseStart, ResponseSummary, Source,
};
use crate::dify::response_body::Usage;
use crate::model::{ErrorKind, GatewayError};

fn response_start() -> ResponseStart {
    ResponseStart {
        id: "m-1".into(),
        conversation: Some("c-1".into()),
        created_s: 1_795_249_423,
        model: "my \"app\"".into(),
    }
}

fn encoder(options: Value) -> ChatEncoder {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let body = json!({"model": "m", "messages": messages, "stream_options": options});
    read(body.to_string().as_bytes()).unwrap().1
}

/// The frames of a stream, its common beginning shortened to `…`.
fn frames(out: &BytesMut) -> Vec<String> {
    const HEAD: &str = "data: {\"id\":\"chatcmpl-m-1\",\"object\":\"chat.completion.chunk\",\
                        \"created\":1795249423,\"model\":\"my \\\"app\\\"\",\
                        \"system_fingerprint\":null,\"choices\":[";
    let text = std::str::from_utf8(out).unwrap();
    assert!(text.ends_with("\n\n"));
    text.split_terminator("\n\n").map(|frame| frame.replace(HEAD, "…")).collect()
}

fn used() -> Usage {
    Usage { prompt_tokens: 7, completion_tokens: 4, total_tokens: 11 }
}

fn sources() -> Vec<Source> {
    let source = |title: &str, url: Option<&str>| Source {
        title: title.into(),
        url: url.map(str::to_owned),
        raw: json!({"document_name": title}),
    };
    vec![source("a", Some("https://a")), source("b", None)]
}

#[test]
fn a_stream_is_role_deltas_reason_and_done() {
    let mut encoder = encoder(Value::Null);
    let mut out = BytesMut::new();
    encoder.start(&response_start(), &mut out);
    encoder.encode(&AppEvent::Reasoning("hm\n".into()), &mut out);
    encoder.encode(&AppEvent::Text("你\"".into()), &mut out);
    encoder.encode(&AppEvent::Ping, &mut out);
    encoder.keep_alive(&mut out);
    encoder.encode(&AppEvent::Sources(sources()), &mut out);
    let summary = ResponseSummary { usage: Some(used()), ..ResponseSummary::default() };
    encoder.finish(&summary, &mut out);
    let goes_on = ",\"logprobs\":null,\"finish_reason\":null}]";
    let expected = [
        format!(
            "…{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}}{goes_on},\
             \"x_dify\":{{\"conversation_id\":\"c-1\"}}}}"
        ),
        format!("…{{\"index\":0,\"delta\":{{\"reasoning_content\":\"hm\\n\"}}{goes_on}}}"),
        format!("…{{\"index\":0,\"delta\":{{\"content\":\"你\\\"\"}}{goes_on}}}"),
        ": keep-alive".to_owned(),
        ": keep-alive".to_owned(),
        format!(
            "…{{\"index\":0,\"delta\":{{\"annotations\":[{{\"type\":\"url_citation\",\
             \"url_citation\":{{\"start_index\":0,\"end_index\":2,\"url\":\"https://a\",\
             \"title\":\"a\"}}}}]}}{goes_on},\"x_dify\":{{\"retriever_resources\":\
             [{{\"document_name\":\"a\"}},{{\"document_name\":\"b\"}}]}}}}"
        ),
        "…{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}".to_owned(),
        "data: [DONE]".to_owned(),
    ];
    assert_eq!(frames(&out), expected);
}

#[test]
fn usage_is_a_chunk_of_its_own_and_only_if_asked_for() {
    let mut encoder = encoder(json!({"include_usage": true}));
    let mut out = BytesMut::new();
    encoder.start(&ResponseStart { conversation: None, ..response_start() }, &mut out);
    encoder.encode(&AppEvent::Text("a".into()), &mut out);
    let total = Usage { total_tokens: 9, ..Usage::default() };
    encoder.finish(&ResponseSummary { usage: Some(total), ..ResponseSummary::default() }, &mut out);
    let frames = frames(&out);
    assert!(frames[..3].iter().all(|frame| frame.ends_with("}],\"usage\":null}")), "{frames:?}");
    assert_eq!(
        frames[3..],
        [
            "…],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":9},\
             \"x_dify\":{\"usage_source\":\"workflow_total\"}}",
            "data: [DONE]"
        ]
    );
}

#[test]
fn an_answer_that_was_replaced_ends_with_what_replaced_it() {
    let mut encoder = encoder(Value::Null);
    let mut out = BytesMut::new();
    encoder.start(&response_start(), &mut out);
    let finish = FinishReason::Filtered;
    encoder.finish(
        &ResponseSummary { text: "no".into(), finish, ..ResponseSummary::default() },
        &mut out,
    );
    assert!(
        frames(&out)[1].ends_with(
            "\"finish_reason\":\"content_filter\"}],\"x_dify\":{\"replaced_by\":\"no\"}}"
        )
    );
}

#[test]
fn a_failure_is_an_error_and_never_done() {
    let mut encoder = encoder(Value::Null);
    let mut out = BytesMut::new();
    let error = GatewayError::new(502, ErrorKind::Server, "upstream_model_error", "it \"broke\"");
    encoder.fail(&error, &ResponseSummary::default(), &mut out);
    assert_eq!(
        &out[..],
        b"data: {\"error\":{\"message\":\"it \\\"broke\\\"\",\"type\":\"server_error\",\
          \"param\":null,\"code\":\"upstream_model_error\"}}\n\n"
    );
}

#[test]
fn a_whole_answer_has_all_fields() {
    let mut encoder = encoder(Value::Null);
    let summary = ResponseSummary {
        forms: Vec::new(),
        text: "yes".into(),
        reasoning: "hm".into(),
        sources: sources(),
        finish: FinishReason::Stop,
        usage: Some(used()),
    };
    let annotation = json!({"type": "url_citation", "url_citation":
        {"start_index": 0, "end_index": 3, "url": "https://a", "title": "a"}});
    let expected = json!({
        "id": "chatcmpl-m-1",
        "object": "chat.completion",
        "created": 1_795_249_423,
        "model": "my \"app\"",
        "choices": [{
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "yes",
                "refusal": null,
                "reasoning_content": "hm",
                "annotations": [annotation],
            },
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11},
        "system_fingerprint": null,
        "x_dify": {
            "conversation_id": "c-1",
            "retriever_resources": [{"document_name": "a"}, {"document_name": "b"}],
            "usage_source": "dify",
        },
    });
    assert_eq!(encoder.json_body(&response_start(), &summary), expected.to_string());
    let plain = encoder.json_body(
        &ResponseStart { conversation: None, ..response_start() },
        &ResponseSummary::default(),
    );
    let plain: Value = serde_json::from_slice(&plain).unwrap();
    assert_eq!(
        plain["choices"][0]["message"],
        json!({"role": "assistant", "content": "", "refusal": null})
    );
    assert_eq!((&plain["usage"], plain.get("x_dify")), (&Value::Null, None));
}

proptest! {
    #[test]
    fn every_text_arrives_as_it_was_said(
        said in prop::collection::vec((any::<bool>(), ".{1,12}"), 0..12),
    ) {
        let mut encoder = encoder(Value::Null);
        let mut out = BytesMut::new();
        encoder.start(&response_start(), &mut out);
        for (reasoning, text) in &said {
            let event = match reasoning {
                true => AppEvent::Reasoning(text.clone()),
                false => AppEvent::Text(text.clone()),
            };
            encoder.encode(&event, &mut out);
        }
        encoder.finish(&ResponseSummary::default(), &mut out);
        let text = std::str::from_utf8(&out).unwrap();
        let frames = text.split_terminator("\n\n").filter_map(|frame| frame.strip_prefix("data: "));
        let chunks = frames.filter(|data| *data != "[DONE]").map(|data| {
            serde_json::from_str::<Value>(data).unwrap()["choices"][0]["delta"].clone()
        });
        let (mut content, mut reasoning) = (String::new(), String::new());
        for delta in chunks {
            content.push_str(delta["content"].as_str().unwrap_or(""));
            reasoning.push_str(delta["reasoning_content"].as_str().unwrap_or(""));
        }
        let all = |wanted: bool| -> String {
            said.iter().filter(|(kind, _)| *kind == wanted).map(|(_, text)| text.as_str()).collect()
        };
        prop_assert_eq!((content, reasoning), (all(false), all(true)));
    }
}
