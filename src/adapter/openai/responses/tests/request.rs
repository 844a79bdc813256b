use serde_json::{Value, json};

use super::request;
use crate::adapter::completion_request::{CompletionRequest, FileContent, FileKind, Message, Role};
use crate::adapter::docs_table;
use crate::adapter::openai::responses::{message_of, read, unknown_previous};
use crate::model::{ErrorKind, GatewayError};

fn asked(fields: Value) -> CompletionRequest {
    read(request(fields)).unwrap().0
}

fn refused(fields: Value) -> GatewayError {
    read(request(fields)).unwrap_err()
}

fn item(item: Value) -> Value {
    json!({"input": [item]})
}

/// A request with one message of the user that has one part.
fn part(part: Value) -> Value {
    item(json!({"role": "user", "content": [part]}))
}

#[test]
fn the_smallest_request_is_a_question() {
    let expected = CompletionRequest {
        model: "m".into(),
        question: Message::new(Role::User, "Hi"),
        ..CompletionRequest::default()
    };
    assert_eq!(asked(json!({})), expected);
}

#[test]
fn instructions_and_messages_of_the_system_are_one_text() {
    let request = asked(json!({"instructions": "a", "input": [
        {"role": "developer", "content": "b"},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": [{"type": "input_text", "text": "c"}]},
    ]}));
    assert_eq!(request.system.as_deref(), Some("a\n\nb\n\nc"));
    assert_eq!(request.question, Message::new(Role::User, "Hi"));
}

#[test]
fn items_are_a_transcript_and_a_question() {
    let request = asked(json!({"input": [
        {"type": "message", "role": "user", "content": "a"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "b", "annotations": []},
            {"type": "refusal", "refusal": "c"},
        ]},
        {"role": "user", "content": "d"},
        {"type": "function_call", "call_id": "c1", "name": "n", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "n", "input": ""},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [
            {"type": "input_text", "text": "s"},
        ]},
        {"role": "user", "content": [{"type": "input_text", "text": "e"}, {"type": "input_text", "text": "f"}]},
    ]}));
    let before = [
        Message::new(Role::User, "a"),
        Message::new(Role::Assistant, "b\nc"),
        Message::new(Role::User, "d"),
        Message::new(Role::Assistant, ""),
        Message::new(Role::Tool, "r"),
        Message::new(Role::Assistant, ""),
    ];
    assert_eq!(request.before, before);
    assert_eq!(request.question, Message::new(Role::User, "s\n\ne\nf"));
}

#[test]
fn pictures_files_and_sounds_are_attached() {
    let request = asked(item(json!({"role": "user", "content": [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "high"},
        {"type": "input_image", "image_url": "https://a.example/b.png", "file_id": null, "detail": "low"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0=", "filename": "r.pdf"},
        {"type": "input_file", "file_url": "https://a.example/c.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]})));
    let data = |name: &str, media_type: &str, bytes: &[u8]| FileContent::Data {
        name: name.into(),
        media_type: media_type.into(),
        bytes: bytes.to_vec().into(),
    };
    let expected = [
        (FileKind::Image, data("image.png", "image/png", b"\x89PNG")),
        (FileKind::Image, FileContent::Url("https://a.example/b.png".into())),
        (FileKind::Document, data("r.pdf", "application/pdf", b"%PDF-")),
        (FileKind::Document, FileContent::Url("https://a.example/c.pdf".into())),
        (FileKind::Audio, data("audio.wav", "audio/wav", &[0; 3])),
    ];
    let found: Vec<_> =
        request.question.attachments.into_iter().map(|file| (file.kind, file.content)).collect();
    assert_eq!(found, expected);
    assert_eq!(request.ignored, ["input.content.detail"]);
}

#[test]
fn what_says_who_asks_and_where_is_read() {
    let request = asked(json!({
        "user": "u1",
        "safety_identifier": "u2",
        "metadata": {"user_id": "u3", "chat_id": "c1", "own": "x"},
        "previous_response_id": "resp_1",
        "inputs": {"x": 1},
        "stream": true,
        "store": false,
    }));
    assert_eq!(request.user.as_deref(), Some("u1"));
    assert_eq!(request.hints.chat.as_deref(), Some("c1"));
    assert_eq!(request.hints.previous_response.as_deref(), Some("resp_1"));
    assert_eq!(request.inputs.text(), r#"{"x":1}"#);
    assert!(request.streamed && request.is_unstored);
    assert!(request.ignored.is_empty());
    let by_id = asked(json!({"conversation": {"id": "conv_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed"}}));
    let conversation = by_id.hints.conversation.as_deref();
    assert_eq!(conversation, Some("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"));
    assert!(!by_id.is_unstored);
}

#[test]
fn a_response_and_a_conversation_cannot_both_be_gone_on_from() {
    let error = refused(json!({
        "previous_response_id": "resp_1",
        "conversation": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    }));
    assert_eq!((error.status, &*error.code), (400, "mutually_exclusive_parameters"));
    assert_eq!(error.param.as_deref(), Some("previous_response_id"));
}

#[test]
fn what_means_nothing_to_dify_is_named() {
    let request = asked(json!({
        "tools": [{"type": "function", "name": "n"}],
        "tool_choice": "auto",
        "parallel_tool_calls": true,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 0,
        "max_output_tokens": 9,
        "max_tool_calls": 9,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "include": ["reasoning.encrypted_content"],
        "truncation": "auto",
        "service_tier": "auto",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "stream_options": {"include_obfuscation": true},
        "context_management": [{"type": "compaction"}],
        "moderation": {"model": "x"},
        "never_heard_of": 1,
        "background": false,
        "prompt": null,
        "store": true,
    }));
    let expected = [
        "tools",
        "tool_choice",
        "include",
        "text.verbosity",
        "stream_options.include_obfuscation",
        "parallel_tool_calls",
        "temperature",
        "top_p",
        "max_output_tokens",
        "max_tool_calls",
        "reasoning",
        "truncation",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "context_management",
        "moderation",
        "never_heard_of",
    ];
    assert_eq!(request.ignored, expected);
    let tools = json!([{"type": "custom", "name": "n"}]);
    let none = json!({"tools": tools, "tool_choice": "none", "stream_options": {"include_obfuscation": false}});
    assert!(asked(none).ignored.is_empty());
    let allowed = json!({"type": "allowed_tools", "mode": "auto", "tools": []});
    assert_eq!(
        asked(json!({"tools": tools, "tool_choice": allowed})).ignored,
        ["tools", "tool_choice"]
    );
}

#[test]
fn what_no_app_can_do_is_refused_by_name() {
    let function = json!({"type": "function", "name": "n"});
    let required = json!({"type": "allowed_tools", "mode": "required", "tools": []});
    for (fields, place) in [
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tool_choice": function}), "tool_choice"),
        (json!({"tool_choice": required}), "tool_choice"),
        (json!({"tools": [function, {"type": "web_search"}]}), "tools[1].type"),
        (json!({"tools": [{"type": "mcp"}]}), "tools[0].type"),
        (json!({"text": {"format": {"type": "json_object"}}}), "text.format"),
        (json!({"text": {"format": {"type": "json_schema", "strict": true}}}), "text.format"),
        (json!({"background": true}), "background"),
        (json!({"prompt": {"id": "p"}}), "prompt"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"include": ["message.output_text.logprobs"]}), "include"),
        (item(json!({"type": "item_reference", "id": "msg_1"})), "input[0].id"),
        (part(json!({"type": "input_image", "file_id": "f"})), "input[0].content[0].file_id"),
        (part(json!({"type": "input_file", "file_id": "f"})), "input[0].content[0].file_id"),
    ] {
        let error = refused(fields);
        assert_eq!((error.status, &*error.code), (400, "unsupported_parameter"), "{place}");
        assert_eq!(error.param.as_deref(), Some(place));
    }
}

#[test]
fn what_must_be_there_is_asked_for() {
    for name in ["model", "input"] {
        let error = refused(json!({name: null}));
        assert_eq!((error.status, &*error.code), (400, "missing_required_parameter"), "{name}");
        assert_eq!(error.param.as_deref(), Some(name));
    }
    assert_eq!(refused(json!({"model": ""})).param.as_deref(), Some("model"));
}

#[test]
fn what_has_no_text_is_passed_over_and_told() {
    let request = asked(json!({"input": [
        {"role": "system", "content": [{"type": "input_image"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "x"}]},
        {"type": "compaction", "encrypted_content": "e"},
        {"type": "computer_call", "call_id": "c"},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
        {"type": "function_call_output", "call_id": "d"},
    ]}));
    let ignored = ["content.input_image", "content.x", "compaction", "computer_call_output"];
    assert_eq!(request.ignored, ignored.map(|name| format!("input.{name}")));
    assert_eq!((request.before.len(), request.question.text.as_str()), (2, "(no result)"));
    let request =
        asked(json!({"instructions": "i", "input": [{"role": "system", "content": "s"}]}));
    assert_eq!((request.system.as_deref(), request.question.text.as_str()), (Some("i"), "s"));
}

#[test]
fn wrong_values_are_refused_by_their_place() {
    let at = "input[0].content[0]";
    let cases = [
        (json!({"model": 1}), "model".to_owned()),
        (json!({"input": 1}), "input".into()),
        (json!({"input": ""}), "input".into()),
        (json!({"input": []}), "input".into()),
        (json!({"input": ["Hi"]}), "input[0]".into()),
        (item(json!({"type": 1})), "input[0].type".into()),
        (item(json!({"content": "Hi"})), "input[0].role".into()),
        (item(json!({"role": "tool", "content": "Hi"})), "input[0].role".into()),
        (item(json!({"role": "user"})), "input[0].content".into()),
        (item(json!({"role": "user", "content": 1})), "input[0].content".into()),
        (item(json!({"role": "assistant", "content": "Hi"})), "input[0].role".into()),
        (item(json!({"type": "function_call_output", "output": 1})), "input[0].output".into()),
        (part(json!("Hi")), at.into()),
        (part(json!({})), format!("{at}.type")),
        (part(json!({"type": "input_text"})), format!("{at}.text")),
        (part(json!({"type": "input_image"})), format!("{at}.image_url")),
        (part(json!({"type": "input_image", "image_url": "file:///a"})), format!("{at}.image_url")),
        (
            part(json!({"type": "input_image", "image_url": "data:image/png;base64,?"})),
            format!("{at}.image_url"),
        ),
        (part(json!({"type": "input_file"})), format!("{at}.file_data")),
        (part(json!({"type": "input_file", "file_data": "?"})), format!("{at}.file_data")),
        (part(json!({"type": "input_file", "file_url": "ftp://a"})), format!("{at}.file_url")),
        (part(json!({"type": "input_audio"})), format!("{at}.input_audio.format")),
        (
            part(json!({"type": "input_audio", "input_audio": {"format": "flac", "data": ""}})),
            format!("{at}.input_audio.format"),
        ),
        (
            part(json!({"type": "input_audio", "input_audio": {"format": "mp3", "data": ""}})),
            format!("{at}.input_audio.data"),
        ),
        (json!({"instructions": []}), "instructions".into()),
        (json!({"stream": "yes"}), "stream".into()),
        (json!({"store": "no"}), "store".into()),
        (json!({"background": 1}), "background".into()),
        (json!({"metadata": []}), "metadata".into()),
        (json!({"previous_response_id": 1}), "previous_response_id".into()),
        (json!({"tools": {}}), "tools".into()),
        (json!({"tools": [{}]}), "tools[0].type".into()),
        (json!({"text": "a"}), "text".into()),
        (json!({"include": "a"}), "include".into()),
        (json!({"stream_options": []}), "stream_options".into()),
    ];
    for (fields, place) in cases {
        let error = refused(fields.clone());
        assert_eq!((error.status, error.kind), (400, ErrorKind::InvalidRequest), "{fields}");
        assert_eq!(error.param, Some(place), "{fields}");
    }
}

#[test]
fn a_response_of_ours_names_its_message() {
    let found = message_of("resp_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed").unwrap();
    assert_eq!(found.to_string(), "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
    for other in [
        "",
        "resp_",
        "1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed",
        "msg_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed",
        "resp_1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
        "resp_1b9d6bcdbbfd4b2d9b5dab8dfbbd4be",
        "resp_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bexx",
        "resp_{b9d6bcdbbfd4b2d9b5dab8dfbbd4be}",
    ] {
        assert_eq!(message_of(other), None, "{other}");
    }
}

#[test]
fn an_unknown_previous_response_is_an_error_of_the_protocol() {
    let error = unknown_previous("resp_1");
    assert_eq!((error.status, &*error.code), (400, "previous_response_not_found"));
    assert_eq!(error.param.as_deref(), Some("previous_response_id"));
    assert!(error.message.contains("resp_1"));
    assert!(!unknown_previous("<b>").message.contains("<b>"));
}

#[test]
fn the_page_says_of_every_field_what_becomes_of_it() {
    let samples = json!({
        "tools": [{"type": "function", "name": "n"}],
        "include": ["reasoning.encrypted_content"],
        "background": true,
        "stream_options.include_obfuscation": true,
    });
    let least = json!({"model": "m", "input": "Hi"});
    let page = include_str!("../../../../../docs/openai-responses.md");
    docs_table::is_true((page, "Fields"), &least, &samples, |body| {
        read(body.to_string().as_bytes()).map(|(request, _)| request.ignored)
    });
}
