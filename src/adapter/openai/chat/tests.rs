use serde_json::{Value, json};

use super::*;
use crate::adapter::completion_request::{ConversationHints, FileContent, FileKind, Message, Role};
use crate::model::ErrorKind;

fn try_read(body: &Value) -> Result<CompletionRequest, GatewayError> {
    read(body.to_string().as_bytes()).map(|(request, _)| request)
}

/// A request of one message with these fields added.
fn request(more: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn with(more: Value) -> Result<CompletionRequest, GatewayError> {
    try_read(&request(more))
}

fn chat(messages: Value) -> Result<CompletionRequest, GatewayError> {
    try_read(&json!({"model": "m", "messages": messages}))
}

fn place(error: &GatewayError) -> (u16, &str, &str) {
    (error.status, &error.code, error.param.as_deref().unwrap_or(""))
}

#[test]
fn the_plainest_request_is_a_question() {
    let expected = CompletionRequest {
        model: "m".into(),
        question: Message::new(Role::User, "hi"),
        ..CompletionRequest::default()
    };
    assert_eq!(with(json!({})), Ok(expected));
}

#[test]
fn a_chat_is_system_transcript_and_question() {
    let request = chat(json!([
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "one"},
        {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "2"}]},
        {"role": "assistant", "content": null, "tool_calls": []},
        {"role": "tool", "content": "42", "tool_call_id": "x"},
        {"role": "assistant", "content": [{"type": "text", "text": "three"}]},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "four", "name": "joe"},
        {"role": "system", "content": " "},
        {"role": "user", "content": "five"},
    ]))
    .unwrap();
    assert_eq!(request.system.as_deref(), Some("Be kind.\n\nBe brief."));
    let before = [
        Message::new(Role::User, "one\n\ntwo\n2"),
        Message::new(Role::Assistant, ""),
        Message::new(Role::Tool, "42"),
        Message::new(Role::Assistant, "three"),
    ];
    assert_eq!(request.before, before);
    assert_eq!(request.question, Message::new(Role::User, "four\n\nfive"));
    assert_eq!(request.ignored, ["messages.name"]);
}

#[test]
fn a_transcript_repeated_later_has_the_same_sayings() {
    let messages = json!([
        {"role": "user", "content": "a"},
        {"role": "system", "content": "s"},
        {"role": "user", "content": "b"},
    ]);
    let first = chat(messages.clone()).unwrap();
    let mut later = messages.as_array().unwrap().clone();
    later.push(json!({"role": "assistant", "content": "answer"}));
    later.push(json!({"role": "user", "content": "c"}));
    let second = chat(later.into()).unwrap();
    assert_eq!(second.before, [first.question, Message::new(Role::Assistant, "answer")]);
}

#[test]
fn what_a_clients_tool_found_is_the_question() {
    let request = chat(json!([
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "rain"},
        {"role": "user", "content": "and now?"},
    ]))
    .unwrap();
    assert_eq!(request.question, Message::new(Role::User, "rain\n\nand now?"));
    assert_eq!(request.before.len(), 2);
}

#[test]
fn files_come_along_and_say_what_they_are() {
    let request = chat(json!([{"role": "user", "content": [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw==", "detail": "high"}},
        {"type": "image_url", "image_url": "https://example.com/a.jpg"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "AAAA", "filename": "b.csv", "file_id": null}},
    ]}]))
    .unwrap();
    let found: Vec<_> = request
        .question
        .attachments
        .iter()
        .map(|attachment| match &attachment.content {
            FileContent::Data { name, media_type, .. } => {
                (attachment.kind, format!("{name} {media_type}"))
            }
            FileContent::Url(url) => (attachment.kind, url.clone()),
        })
        .collect();
    let expected = [
        (FileKind::Image, "image.png image/png"),
        (FileKind::Image, "https://example.com/a.jpg"),
        (FileKind::Audio, "audio.wav audio/wav"),
        (FileKind::Document, "a.pdf application/pdf"),
        (FileKind::Document, "b.csv text/csv"),
    ];
    assert_eq!(found, expected.map(|(kind, text)| (kind, text.to_owned())));
    assert_eq!(request.question.text, "look");
    assert_eq!(request.ignored, ["messages.content.image_url.detail"]);
}

#[test]
fn a_picture_alone_is_a_question() {
    let picture = json!({"type": "image_url", "image_url": {"url": "https://a/b.png"}});
    let request = chat(json!([{"role": "user", "content": [picture]}])).unwrap();
    assert_eq!((request.question.text.as_str(), request.question.attachments.len()), ("", 1));
}

#[test]
fn what_has_no_text_is_passed_over_and_told() {
    let request = chat(json!([
        {"role": "system", "content": [{"type": "image_url"}, {"type": "text", "text": "s"}]},
        {"role": "user", "content": [
            {"type": "text", "text": "a"},
            {"type": "video_url", "video_url": {}},
            {"type": "video_url", "video_url": {}},
            {"type": "input_text", "text": "b"},
        ]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
        {"role": "tool", "content": null},
    ]))
    .unwrap();
    assert_eq!(
        request.ignored,
        ["image_url", "video_url", "thinking"].map(|k| format!("messages.content.{k}"))
    );
    assert_eq!((request.before[0].text.as_str(), request.system.as_deref()), ("a\nb", Some("s")));
    assert_eq!(request.question.text, "(no result)");
}

#[test]
fn a_chat_that_ends_with_the_system_is_a_question() {
    let request = chat(json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "system", "content": "Sum up what was said."},
    ]))
    .unwrap();
    assert_eq!(
        (request.before.len(), request.question.text.as_str()),
        (2, "Sum up what was said.")
    );
    let request = chat(json!([{"role": "system", "content": "s"}])).unwrap();
    assert_eq!(request.question, Message::new(Role::User, "s"));
}

#[test]
fn errors_name_the_place() {
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let part = |part: Value| user(json!([{"type": "text", "text": "a"}, part]));
    let hi = json!({"role": "user", "content": "hi"});
    for (messages, code, param) in [
        (json!("hi"), "invalid_type", "messages"),
        (json!([]), "invalid_value", "messages"),
        (json!(["hi"]), "invalid_type", "messages[0]"),
        (json!([{"content": "hi"}]), "invalid_value", "messages[0].role"),
        (json!([hi, {"role": "robot", "content": "hi"}]), "invalid_value", "messages[1].role"),
        (user(json!(" \n")), "invalid_value", "messages"),
        (user(json!([])), "invalid_value", "messages"),
        (user(Value::Null), "missing_required_parameter", "messages[0].content"),
        (user(json!(3)), "invalid_type", "messages[0].content"),
        (user(json!(["a"])), "invalid_type", "messages[0].content[0]"),
        (json!([hi, {"role": "assistant", "content": "I"}]), "invalid_value", "messages[1].role"),
        (part(json!({})), "invalid_value", "messages[0].content[1].type"),
        (
            part(json!({"type": "text"})),
            "missing_required_parameter",
            "messages[0].content[1].text",
        ),
        (
            part(json!({"type": "image_url", "image_url": {"url": "ftp://a"}})),
            "invalid_value",
            "messages[0].content[1].image_url.url",
        ),
        (
            part(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}})),
            "invalid_value",
            "messages[0].content[1].image_url.url",
        ),
        (
            part(json!({"type": "image_url"})),
            "missing_required_parameter",
            "messages[0].content[1].image_url",
        ),
        (
            part(json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "flac"}})),
            "invalid_value",
            "messages[0].content[1].input_audio.format",
        ),
        (
            part(json!({"type": "file", "file": {"file_id": "file-1"}})),
            "unsupported_parameter",
            "messages[0].content[1].file.file_id",
        ),
        (
            part(json!({"type": "file", "file": {"filename": "a.pdf"}})),
            "missing_required_parameter",
            "messages[0].content[1].file.file_data",
        ),
    ] {
        let error = chat(messages.clone()).unwrap_err();
        assert_eq!(place(&error), (400, code, param), "{messages}: {}", error.message);
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
    }
}

#[test]
fn a_broken_body_is_told_by_line_and_column_and_not_quoted() {
    let error = read(b"{\"model\": \"secret\",\n nonsense}").unwrap_err();
    assert_eq!(error.message, "the body is not valid JSON (line 2, column 2)");
    assert_eq!((error.status, &*error.code), (400, "invalid_json"));
    for body in [&b""[..], b"\xff\xfe{\0}\0", b"[]", b"null", b"\"secret\""] {
        let error = read(body).unwrap_err();
        assert_eq!((error.status, &*error.code), (400, "invalid_json"));
        assert!(!error.message.contains("secret"));
    }
}

#[test]
fn the_model_has_to_be_there() {
    for (model, code) in [
        (json!(null), "missing_required_parameter"),
        (json!(""), "invalid_value"),
        (json!(4), "invalid_type"),
    ] {
        let error = with(json!({"model": model})).unwrap_err();
        assert_eq!(place(&error), (400, code, "model"));
    }
    let error = try_read(&json!({"model": "m"})).unwrap_err();
    assert_eq!(place(&error), (400, "missing_required_parameter", "messages"));
}

#[test]
fn the_user_is_the_first_that_is_named() {
    for (fields, user) in [
        (json!({"user": "a", "safety_identifier": "b", "metadata": {"user_id": "c"}}), Some("a")),
        (json!({"user": "", "safety_identifier": "b", "metadata": {"user_id": "c"}}), Some("b")),
        (json!({"user": null, "metadata": {"user_id": "c"}}), Some("c")),
        (json!({"user": 7}), Some("7")),
        (json!({"user": true}), Some("true")),
        (json!({"metadata": {"user_id": ""}}), None),
    ] {
        let request = with(fields.clone()).unwrap();
        assert_eq!(request.user.as_deref(), user, "{fields}");
        assert!(request.ignored.is_empty(), "{fields}: {:?}", request.ignored);
    }
    for (fields, param) in [
        (json!({"user": {}}), "user"),
        (json!({"safety_identifier": []}), "safety_identifier"),
        (json!({"metadata": {"user_id": []}}), "metadata.user_id"),
        (json!({"metadata": "x"}), "metadata"),
    ] {
        assert_eq!(place(&with(fields).unwrap_err()), (400, "invalid_type", param));
    }
}

#[test]
fn a_conversation_may_be_named_in_four_ways() {
    const ID: &str = "7a64ee9f-ccaa-4a06-85b4-8af1a3d8fcc2";
    let bare = ID.replace('-', "");
    for fields in [
        json!({"conversation": ID}),
        json!({"conversation": {"id": format!("conv_{bare}")}}),
        json!({"conversation_id": ID.to_uppercase()}),
        json!({"metadata": {"conversation_id": format!("conv_{ID}")}}),
        json!({"conversation": ID, "conversation_id": "11111111-1111-4111-8111-111111111111"}),
    ] {
        let hints =
            ConversationHints { conversation: Some(ID.into()), ..ConversationHints::default() };
        assert_eq!(with(fields.clone()).unwrap().hints, hints, "{fields}");
    }
    for fields in [json!({"conversation": ""}), json!({"conversation_id": null})] {
        assert_eq!(with(fields).unwrap().hints, ConversationHints::default());
    }
    for (fields, code, param) in [
        (json!({"conversation": "x"}), "invalid_value", "conversation"),
        (json!({"conversation": {"id": "x"}}), "invalid_value", "conversation.id"),
        (json!({"conversation": []}), "invalid_type", "conversation"),
        (json!({"conversation_id": "x"}), "invalid_value", "conversation_id"),
        (
            json!({"metadata": {"conversation_id": "x"}}),
            "invalid_value",
            "metadata.conversation_id",
        ),
    ] {
        assert_eq!(place(&with(fields).unwrap_err()), (400, code, param));
    }
}

#[test]
fn metadata_may_name_the_chat_and_say_that_it_is_a_side_task() {
    let metadata = json!({"chat_id": "c1", "task": "title_generation"});
    let request = with(json!({"metadata": metadata})).unwrap();
    assert_eq!((request.hints.chat.as_deref(), request.is_task), (Some("c1"), true));
    assert!(request.ignored.is_empty());
    let request = with(json!({"metadata": {"chat_id": "", "task": null, "color": "red"}})).unwrap();
    assert_eq!((request.hints.chat, request.is_task), (None, false));
    assert_eq!(request.ignored, ["metadata.color"]);
}

#[test]
fn inputs_and_stop_are_taken_as_they_are() {
    let request = with(json!({"inputs": {"a": 1}, "stop": ["x", "", "y"]})).unwrap();
    assert_eq!(request.inputs.text(), r#"{"a":1}"#);
    assert_eq!(request.stop, ["x", "y"]);
    assert_eq!(with(json!({"stop": "end"})).unwrap().stop, ["end"]);
    for (fields, code, param) in [
        (json!({"inputs": []}), "invalid_type", "inputs"),
        (json!({"stop": 1}), "invalid_type", "stop"),
        (json!({"stop": ["a", 1]}), "invalid_type", "stop[1]"),
        (json!({"stop": ["1", "2", "3", "4", "5"]}), "array_above_max_length", "stop"),
        (json!({"stream": "yes"}), "invalid_type", "stream"),
        (json!({"stream_options": true}), "invalid_type", "stream_options"),
        (
            json!({"stream_options": {"include_usage": 1}}),
            "invalid_type",
            "stream_options.include_usage",
        ),
    ] {
        assert_eq!(place(&with(fields).unwrap_err()), (400, code, param));
    }
}

#[test]
fn every_unsupported_field_is_refused_by_name() {
    let refused: &[(&str, &[Value], &[Value])] = &[
        ("n", &[json!(2), json!(0), json!("1")], &[json!(1), json!(1.0)]),
        (
            "tool_choice",
            &[
                json!("required"),
                json!({"type": "function", "function": {"name": "f"}}),
                json!({"type": "allowed_tools", "allowed_tools": {"mode": "required"}}),
            ],
            &[
                json!("auto"),
                json!("none"),
                json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}),
            ],
        ),
        ("function_call", &[json!({"name": "f"})], &[json!("auto"), json!("none")]),
        (
            "response_format",
            &[
                json!({"type": "json_object"}),
                json!({"type": "json_schema", "json_schema": {"strict": true}}),
            ],
            &[json!({"type": "text"})],
        ),
        ("logprobs", &[json!(true)], &[json!(false)]),
        ("top_logprobs", &[json!(3)], &[json!(0)]),
        ("modalities", &[json!(["text", "audio"]), json!("text")], &[json!(["text"])]),
        ("audio", &[json!({"voice": "alloy", "format": "mp3"})], &[]),
    ];
    assert_eq!(
        REFUSED.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
        refused.iter().map(|(name, ..)| *name).collect::<Vec<_>>()
    );
    for (name, bad, fine) in refused {
        for value in *bad {
            let error = with(json!({*name: value})).unwrap_err();
            assert_eq!(place(&error), (400, "unsupported_parameter", *name), "{value}");
        }
        for value in fine.iter().chain([&Value::Null]) {
            let request = with(json!({*name: value})).unwrap();
            assert!(request.ignored.is_empty(), "{name}: {value}");
        }
    }
}

#[test]
fn what_is_ignored_is_told_of_in_order() {
    let fields = json!({"top_k": 1, "tools": [{}], "seed": 0, "store": false, "top_p": null, "functions": []});
    assert_eq!(with(fields).unwrap().ignored, ["top_k", "tools", "seed", "store"]);
    let options = json!({"include_usage": true, "include_obfuscation": true, "other": 1});
    let request = with(json!({"stream": true, "stream_options": options})).unwrap();
    assert_eq!(request.ignored, ["stream_options.include_obfuscation", "stream_options.other"]);
}
