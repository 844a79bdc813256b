use bytes::BytesMut;
use serde_json::{Value, json};

use super::*;
use crate::adapter::object_text::ObjectText;
use crate::adapter::response_encoder::AppEvent;
use crate::adapter::response_encoder::{ResponseEncoder, ResponseStart, ResponseSummary, Source};
use crate::dify::response_body::Usage;

fn with(more: Value) -> Result<(CompletionRequest, CompletionsEncoder), GatewayError> {
    let mut body = json!({"model": "m", "prompt": "hi"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    read(body.to_string().as_bytes())
}

fn place(error: &GatewayError) -> (u16, &str, &str) {
    (error.status, &error.code, error.param.as_deref().unwrap_or(""))
}

#[test]
fn a_prompt_is_the_question() {
    for prompt in [json!("hi"), json!(["hi"])] {
        let more =
            json!({"prompt": prompt, "user": "u", "stop": "x", "stream": true, "inputs": {"a": 1}});
        let (request, _) = with(more).unwrap();
        let expected = CompletionRequest {
            model: "m".into(),
            question: Message::new(Role::User, "hi"),
            streamed: true,
            user: Some("u".into()),
            stop: vec!["x".into()],
            ..CompletionRequest::default()
        };
        assert_eq!(request.inputs.text(), r#"{"a":1}"#);
        assert_eq!(CompletionRequest { inputs: ObjectText::default(), ..request }, expected);
    }
}

#[test]
fn a_prompt_is_one_text() {
    for (prompt, code) in [
        (json!(null), "missing_required_parameter"),
        (json!(" "), "invalid_value"),
        (json!([""]), "invalid_value"),
        (json!(3), "invalid_type"),
        (json!([]), "unsupported_parameter"),
        (json!(["a", "b"]), "unsupported_parameter"),
        (json!([1, 2]), "unsupported_parameter"),
        (json!([[1, 2]]), "unsupported_parameter"),
    ] {
        let error = with(json!({"prompt": prompt})).unwrap_err();
        assert_eq!(place(&error), (400, code, "prompt"), "{prompt}");
    }
}

#[test]
fn every_unsupported_field_is_refused_by_name() {
    let refused = [
        ("n", json!(2), json!(1)),
        ("best_of", json!(3), json!(1)),
        ("echo", json!(true), json!(false)),
        ("suffix", json!("end"), json!("")),
        ("logprobs", json!(5), json!(0)),
    ];
    assert!(REFUSED.iter().map(|(name, ..)| *name).eq(refused.iter().map(|(name, ..)| *name)));
    for (name, bad, fine) in refused {
        let error = with(json!({name: bad})).unwrap_err();
        assert_eq!(place(&error), (400, "unsupported_parameter", name));
        for fine in [fine, Value::Null] {
            assert!(with(json!({name: fine})).unwrap().0.ignored.is_empty());
        }
    }
}

fn response_start() -> ResponseStart {
    ResponseStart { id: "1".into(), conversation: None, created_s: 9, model: "m".into() }
}

#[test]
fn a_stream_is_texts_and_a_reason() {
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let (_, mut encoder) = with(options).unwrap();
    let mut out = BytesMut::new();
    encoder.start(&response_start(), &mut out);
    encoder.encode(&AppEvent::Reasoning("hm".into()), &mut out);
    encoder.encode(&AppEvent::Text("a".into()), &mut out);
    encoder.encode(&AppEvent::Ping, &mut out);
    encoder
        .encode(&AppEvent::Sources(vec![Source { raw: json!(1), ..Source::default() }]), &mut out);
    let usage = Usage { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
    encoder.finish(&ResponseSummary { usage: Some(usage), ..ResponseSummary::default() }, &mut out);
    let head = "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":9,\
                \"model\":\"m\",\"system_fingerprint\":null,\"choices\":[";
    let text = std::str::from_utf8(&out).unwrap();
    let frames: Vec<_> =
        text.split_terminator("\n\n").map(|frame| frame.replace(head, "…")).collect();
    let chunk = |text: &str, rest: &str| {
        format!("…{{\"text\":\"{text}\",\"index\":0,\"logprobs\":null,\"finish_reason\":{rest}")
    };
    let expected = [
        chunk("", "null}],\"usage\":null}"),
        chunk("a", "null}],\"usage\":null}"),
        ": keep-alive".to_owned(),
        chunk("", "null}],\"usage\":null,\"x_dify\":{\"retriever_resources\":[1]}}"),
        chunk("", "\"stop\"}],\"usage\":null}"),
        "…],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3},\
         \"x_dify\":{\"usage_source\":\"dify\"}}"
            .to_owned(),
        "data: [DONE]".to_owned(),
    ];
    assert_eq!(frames, expected);
}

#[test]
fn a_whole_answer_has_all_fields() {
    let (_, mut encoder) = with(json!({})).unwrap();
    let summary = ResponseSummary {
        text: "yes".into(),
        reasoning: "hm".into(),
        ..ResponseSummary::default()
    };
    let expected = json!({
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 9,
        "model": "m",
        "choices": [{"text": "yes", "index": 0, "logprobs": null, "finish_reason": "stop"}],
        "usage": null,
        "system_fingerprint": null,
    });
    assert_eq!(encoder.json_body(&response_start(), &summary), expected.to_string());
}
