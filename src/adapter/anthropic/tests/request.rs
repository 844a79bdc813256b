use serde_json::{Value, json};

use super::request;
use crate::adapter::anthropic::{count_tokens, counted, read};
use crate::adapter::completion_request::{CompletionRequest, FileContent, FileKind, Message, Role};
use crate::adapter::docs_table;
use crate::model::{ErrorKind, GatewayError};

fn asked(fields: Value) -> CompletionRequest {
    read(request(fields)).unwrap().0
}

fn refused(fields: Value) -> GatewayError {
    read(request(fields)).unwrap_err()
}

/// A request whose only message has this content.
fn content(blocks: Value) -> Value {
    json!({"messages": [{"role": "user", "content": blocks}]})
}

#[test]
fn the_smallest_request_is_a_question() {
    let expected = CompletionRequest {
        model: "m".into(),
        question: Message::new(Role::User, "Hi"),
        ignored: vec!["max_tokens".into()],
        ..CompletionRequest::default()
    };
    assert_eq!(asked(json!({})), expected);
}

#[test]
fn system_is_a_text_or_blocks() {
    assert_eq!(asked(json!({"system": "Be brief."})).system.as_deref(), Some("Be brief."));
    let blocks = json!([
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "b"},
    ]);
    assert_eq!(asked(json!({"system": blocks})).system.as_deref(), Some("a\n\nb"));
    assert_eq!(asked(json!({"system": []})).system, None);
}

#[test]
fn a_transcript_is_what_was_said_before_the_question() {
    let request = asked(json!({"messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "t", "name": "n", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": "r"},
        ]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "u", "name": "n", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "u", "content": [{"type": "text", "text": "s"}]},
            {"type": "text", "text": "c"},
            {"type": "text", "text": "d"},
        ]},
        {"role": "user", "content": "e"},
    ]}));
    let before = [
        Message::new(Role::User, "a"),
        Message::new(Role::Assistant, "b"),
        Message::new(Role::Tool, "r"),
        Message::new(Role::Assistant, ""),
    ];
    assert_eq!(request.before, before);
    assert_eq!(request.question, Message::new(Role::User, "s\n\nc\nd\n\ne"));
}

#[test]
fn pictures_and_documents_are_attached() {
    let request = asked(content(json!([
        {"type": "text", "text": "Look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
        {"type": "document", "title": "No. 7", "context": "c", "citations": {"enabled": true},
         "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
        {"type": "document", "source": {"type": "url", "url": "https://a.example/c.pdf"}},
        {"type": "document", "title": "notes.md",
         "source": {"type": "text", "media_type": "text/plain", "data": "grüß"}},
    ])));
    let data = |name: &str, media_type: &str, bytes: &[u8]| FileContent::Data {
        name: name.into(),
        media_type: media_type.into(),
        bytes: bytes.to_vec().into(),
    };
    let expected = [
        (FileKind::Image, data("image.png", "image/png", b"\x89PNG")),
        (FileKind::Image, FileContent::Url("https://a.example/b.png".into())),
        (FileKind::Document, data("No. 7.pdf", "application/pdf", b"%PDF-")),
        (FileKind::Document, FileContent::Url("https://a.example/c.pdf".into())),
        (FileKind::Document, data("notes.md", "text/plain", "grüß".as_bytes())),
    ];
    let found: Vec<_> =
        request.question.attachments.into_iter().map(|file| (file.kind, file.content)).collect();
    assert_eq!(found, expected);
    assert_eq!(request.question.text, "Look");
}

#[test]
fn a_picture_alone_is_a_question_and_a_tool_may_find_one() {
    let picture = json!({"type": "image", "source": {"type": "url", "url": "http://a/b"}});
    assert_eq!(asked(content(json!([picture]))).question.attachments.len(), 1);
    let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": [picture]}]);
    assert_eq!(asked(content(result)).question.attachments.len(), 1);
}

#[test]
fn what_says_who_asks_and_where_is_read() {
    let request = asked(json!({
        "metadata": {"user_id": "u1", "chat_id": "c1"},
        "conversation": "conv_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed",
        "inputs": {"x": 1},
        "stream": true,
        "stop_sequences": ["END", "\n\nHuman:"],
    }));
    assert_eq!(request.user.as_deref(), Some("u1"));
    assert_eq!(request.hints.chat.as_deref(), Some("c1"));
    let conversation = request.hints.conversation.as_deref();
    assert_eq!(conversation, Some("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"));
    assert_eq!(request.inputs.text(), r#"{"x":1}"#);
    assert!(request.streamed);
    assert_eq!(request.stop, ["END", "\n\nHuman:"]);
    assert_eq!(request.ignored, ["max_tokens"]);
}

#[test]
fn what_means_nothing_to_dify_is_named() {
    let request = asked(json!({
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "service_tier": "auto",
        "inference_geo": "eu",
        "context_management": {"edits": [1]},
        "output_config": {"effort": "low"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "n", "input_schema": {}}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "never_heard_of": 1,
        "container": null,
        "mcp_servers": [],
    }));
    let expected = [
        "max_tokens",
        "tools",
        "tool_choice",
        "output_config.effort",
        "thinking.budget_tokens",
        "temperature",
        "top_p",
        "top_k",
        "service_tier",
        "inference_geo",
        "context_management",
        "never_heard_of",
    ];
    assert_eq!(request.ignored, expected);
    let tools = json!({"tools": [{"name": "n"}], "tool_choice": {"type": "none"}});
    assert_eq!(asked(tools).ignored, ["max_tokens"]);
}

#[test]
fn what_no_app_can_do_is_refused_by_name() {
    let file = json!({"type": "file", "file_id": "f"});
    let parts = json!({"type": "content", "content": []});
    for (fields, place) in [
        (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
        (json!({"tool_choice": {"type": "tool", "name": "n"}}), "tool_choice"),
        (json!({"tools": [{"name": "n"}, {"type": "web_search_20250305"}]}), "tools[1].type"),
        (json!({"tools": [{"type": "code_execution_20250825"}]}), "tools[0].type"),
        (json!({"output_config": {"format": {"type": "json_schema"}}}), "output_config.format"),
        (json!({"output_format": {"type": "json_schema"}}), "output_format"),
        (json!({"container": "c"}), "container"),
        (json!({"mcp_servers": [{}]}), "mcp_servers"),
        (
            content(json!([{"type": "image", "source": file}])),
            "messages[0].content[0].source.file_id",
        ),
        (
            content(json!([{"type": "document", "source": parts}])),
            "messages[0].content[0].source.content",
        ),
    ] {
        let error = refused(fields);
        assert_eq!((error.status, &*error.code), (400, "unsupported_parameter"), "{place}");
        assert_eq!(error.param.as_deref(), Some(place));
    }
}

#[test]
fn what_must_be_there_is_asked_for() {
    for name in ["model", "max_tokens", "messages"] {
        let error = refused(json!({name: null}));
        assert_eq!((error.status, &*error.code), (400, "missing_required_parameter"), "{name}");
        assert_eq!(error.param.as_deref(), Some(name));
    }
}

#[test]
fn wrong_values_are_refused_by_their_place() {
    let image = |source: Value| content(json!([{"type": "image", "source": source}]));
    let source = "messages[0].content[0].source";
    let png = |data: &str| json!({"type": "base64", "media_type": "image/png", "data": data});
    let cases = [
        (json!({"model": 1}), "model".to_owned()),
        (json!({"max_tokens": 0}), "max_tokens".into()),
        (json!({"max_tokens": "64"}), "max_tokens".into()),
        (json!({"max_tokens": 1.5}), "max_tokens".into()),
        (json!({"messages": "Hi"}), "messages".into()),
        (json!({"messages": []}), "messages".into()),
        (json!({"messages": ["Hi"]}), "messages[0]".into()),
        (json!({"messages": [{"role": "system", "content": ""}]}), "messages[0].role".into()),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content".into()),
        (
            json!({"messages": [
                {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            ]}),
            "messages[1].role".into(),
        ),
        (content(json!(" \n")), "messages".into()),
        (content(json!(1)), "messages[0].content".into()),
        (content(json!(["a"])), "messages[0].content[0]".into()),
        (content(json!([{"type": "text"}])), "messages[0].content[0].text".into()),
        (
            content(json!([{"type": "tool_result", "content": 1}])),
            "messages[0].content[0].content".into(),
        ),
        (content(json!([{"type": "image"}])), source.into()),
        (image(json!({"type": "text", "data": "a"})), format!("{source}.type")),
        (image(png("?")), format!("{source}.data")),
        (image(png("")), format!("{source}.data")),
        (
            image(json!({"type": "base64", "media_type": "text/plain", "data": "AAAA"})),
            format!("{source}.media_type"),
        ),
        (image(json!({"type": "url", "url": "file:///etc/passwd"})), format!("{source}.url")),
        (json!({"system": 1}), "system".into()),
        (json!({"system": [{"type": "image"}]}), "system[0].type".into()),
        (json!({"stream": "yes"}), "stream".into()),
        (json!({"stop_sequences": "a"}), "stop_sequences".into()),
        (json!({"stop_sequences": ["a", " "]}), "stop_sequences[1]".into()),
        (json!({"stop_sequences": vec!["a"; 65]}), "stop_sequences".into()),
        (json!({"metadata": "a"}), "metadata".into()),
        (json!({"tools": {}}), "tools".into()),
        (json!({"tools": [1]}), "tools[0]".into()),
        (json!({"tool_choice": "auto"}), "tool_choice".into()),
        (json!({"tool_choice": {"type": "x"}}), "tool_choice.type".into()),
        (json!({"thinking": true}), "thinking".into()),
        (json!({"thinking": {"type": "x"}}), "thinking.type".into()),
        (json!({"output_config": 1}), "output_config".into()),
    ];
    for (fields, place) in cases {
        let error = refused(fields.clone());
        assert_eq!((error.status, error.kind), (400, ErrorKind::InvalidRequest), "{fields}");
        assert_eq!(error.param, Some(place), "{fields}");
    }
}

#[test]
fn tokens_are_estimated_and_said_to_be() {
    let body = json!({"model": "m", "system": "four", "messages": [
        {"role": "user", "content": "12345678你好"},
    ]});
    let (model, tokens) = count_tokens(body.to_string().as_bytes()).unwrap();
    assert_eq!((model.as_str(), tokens), ("m", 4 + 2 + 2 + 1));
    let summary: Value = serde_json::from_slice(&counted(tokens)).unwrap();
    assert_eq!(
        (&summary["input_tokens"], &summary["x_dify"]["usage_source"]),
        (&json!(9), &json!("estimate"))
    );
    assert_eq!(count_tokens(b"[]").unwrap_err().code, "invalid_json");
    assert_eq!(count_tokens(b"{}").unwrap_err().param.as_deref(), Some("model"));
}

#[test]
fn what_has_no_text_is_passed_over_and_told() {
    let body = json!({"model": "m", "max_tokens": 1, "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "container_upload"}]},
        {"role": "assistant", "content": [{"type": "tool_use"}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference"}]},
        ]},
    ]});
    let (request, _) = read(body.to_string().as_bytes()).unwrap();
    for kind in ["container_upload", "tool_reference"] {
        assert!(
            request.ignored.contains(&format!("messages.content.{kind}")),
            "{:?}",
            request.ignored
        );
    }
    assert_eq!(request.question.text, "(no result)");
}

#[test]
fn the_page_says_of_every_field_what_becomes_of_it() {
    let samples = json!({
        "max_tokens": 1,
        "tools": [{"name": "n"}],
        "tool_choice": {"type": "any"},
        "mcp_servers": [{}],
    });
    let least = json!({
        "model": "m",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Hi"}],
    });
    let page = include_str!("../../../../docs/anthropic.md");
    docs_table::is_true((page, "Fields"), &least, &samples, |body| {
        read(body.to_string().as_bytes()).map(|(request, _)| request.ignored)
    });
}
