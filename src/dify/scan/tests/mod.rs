//! Cases from recordings of Dify 1.5.0, and the limits.

use uuid::Uuid;

mod laws;

use super::limits::MAX_RAW;
use super::{BodyInfo, BodyScanner, JsonKind, MAX_FILES, ScanError, scan_body};

const ID: &str = "02b4ca2f-e6b9-4817-9796-79ad0513ede0";

fn user(body: &str) -> Result<Option<String>, ScanError> {
    scan_body(body.as_bytes()).map(|facts| facts.user)
}

fn facts(body: &str) -> BodyInfo {
    scan_body(body.as_bytes()).unwrap()
}

fn id(number: usize) -> Uuid {
    Uuid::try_parse(&numbered(number)).unwrap()
}

/// The text of the id with this number.
fn numbered(number: usize) -> String {
    format!("02b4ca2f-e6b9-4817-9796-{number:012}")
}

fn found(body: &str) -> Option<String> {
    user(body).unwrap()
}

fn what(body: &str) -> &'static str {
    match user(body) {
        Err(ScanError::Malformed { what, .. }) => what,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn the_recorded_bodies_give_the_user_that_dify_sees() {
    for (body, expected) in [
        (r#"{"inputs": {}, "query": "x", "response_mode": "blocking", "user": "alice"}"#, "alice"),
        (r#"{"inputs": {}, "query": "x", "response_mode": "blocking", "user": 42}"#, "42"),
        (r#"{"inputs": {}, "query": "x", "response_mode": "blocking", "user": 0}"#, "0"),
        (r#"{"inputs": {}, "query": "x", "user": {"a": 1}}"#, r#"{"a": 1}"#),
        (r#"{"inputs": {}, "query": "héé 你好 😀", "user": "用户-é"}"#, "用户-é"),
        (r#"{"inputs":{},"query":"x","user":"first","user":"second","n":1}"#, "second"),
        (r#"{"user": true}"#, "true"),
        (r#"{"user": [1, "]"]}"#, r#"[1, "]"]"#),
    ] {
        assert_eq!(found(body).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn missing_null_and_empty_are_absent_even_as_the_last_of_two() {
    for body in [
        r#"{"inputs": {}, "query": "x", "response_mode": "blocking"}"#,
        r#"{"inputs": {}, "query": "x", "response_mode": "blocking", "user": ""}"#,
        r#"{"inputs": {}, "query": "x", "response_mode": "blocking", "user": null}"#,
        r#"{"user": "a", "user": null}"#,
        r#"{"user": "a", "user": ""}"#,
        "{}",
        " { } ",
    ] {
        assert_eq!(found(body), None, "{body}");
    }
}

#[test]
fn only_the_top_level_key_counts() {
    for body in [
        r#"{"inputs": {"user": "no"}, "query": "x"}"#,
        r#"{"inputs": [{"user": "no"}]}"#,
        r#"{"query": "\"user\": \"no\""}"#,
        r#"{"query": ", \"user\": \"no\"}"}"#,
        r#"{"a": "user", "b": "no"}"#,
        r#"{"User": "no", "user ": "no", "users": "no", "use": "no", "\\u0075ser": "no"}"#,
    ] {
        assert_eq!(found(body), None, "{body}");
    }
    assert_eq!(found(r#"{"inputs": {"user": "no"}, "user": "yes"}"#).unwrap(), "yes");
    assert_eq!(found(r#"{"user": "yes", "inputs": {"user": "no"}}"#).unwrap(), "yes");
}

#[test]
fn keys_and_values_are_unescaped() {
    assert_eq!(found(r#"{"\u0075ser": "x"}"#).unwrap(), "x");
    assert_eq!(found(r#"{"\u0075\u0073\u0065\u0072": "x"}"#).unwrap(), "x");
    let body = r#"{"user": "a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z"}"#;
    assert_eq!(found(body).unwrap(), "a\"\\/\u{8}\u{c}\n\r\té😀z");
    for broken in [r"\ud800", r"\ud800x", r"\udc00", r"\ud800\u0041", r"\u12", r"\u+123", r"\x"] {
        assert!(user(&format!(r#"{{"user": "{broken}"}}"#)).is_err(), "{broken}");
    }
    assert_eq!(what("{\"user\": \"a\nb\"}"), "a control character in the string");
}

#[test]
fn a_body_that_is_no_object_is_told_from_its_first_byte() {
    for (body, kind) in [
        ("[1]", JsonKind::Array),
        ("null", JsonKind::Null),
        (" \"x\"", JsonKind::String),
        ("-1", JsonKind::Number),
        ("true", JsonKind::Bool),
    ] {
        assert_eq!(user(body), Err(ScanError::NotAnObject(kind)), "{body}");
    }
    assert_eq!(user(""), Err(ScanError::Empty));
    assert_eq!(user("\u{feff} \r\n\t"), Err(ScanError::Empty));
    assert_eq!(what("query=x&user=alice"), "expected a JSON object");
}

#[test]
fn utf8_with_a_byte_order_mark_is_read_and_wider_encodings_are_refused() {
    assert_eq!(found("\u{feff}{\"user\": \"a\"}").unwrap(), "a");
    let little: Vec<u8> = "{\"user\": \"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = "{\"user\": \"a\"}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = [&[0xFF, 0xFE][..], &little].concat();
    for body in [little, big, marked] {
        assert_eq!(scan_body(&body), Err(ScanError::Utf16));
        let mut scan = BodyScanner::new();
        let fed = body.iter().try_for_each(|byte| scan.feed(&[*byte]));
        assert_eq!(fed, Err(ScanError::Utf16));
    }
    // A gzip-ed body: Dify answers 400 to it.
    assert!(matches!(scan_body(b"\x1f\x8b\x08\0"), Err(ScanError::Malformed { offset: 0, .. })));
}

#[test]
fn faults_of_the_top_level_are_noticed() {
    for (body, expected) in [
        (r#"{"user": "a""#, "it ends inside the object"),
        (r#"{"user": "a"#, "it ends inside a string"),
        (r#"{"us"#, "it ends inside a string"),
        (r#"{"user": {"a": 1}"#, "it ends inside the object"),
        (r#"{"user": {"a": 1"#, "it ends inside a nested value"),
        (r#"{"user": 1"#, "it ends inside the object"),
        (r#"{"user" "a"}"#, "expected a colon after the key"),
        (r#"{"user": }"#, "expected a value after the colon"),
        (r#"{"query": 1 "user": "a"}"#, "expected a comma or `}` after the value"),
        (r#"{"user": "a",}"#, "expected a key in double quotes"),
        (r#"{user: "a"}"#, "expected a key in double quotes or `}`"),
        (r#"{"user": "a"} x"#, "text after the end of the object"),
        (r#"{"user": "a"}}"#, "text after the end of the object"),
        (r#"{"user": nope}"#, "the value of `user` is no JSON value"),
        (r#"{"user": 01}"#, "the value of `user` is no JSON value"),
        (r#"{"a": [}]"#, "this bracket does not close the one that is open"),
    ] {
        assert_eq!(what(body), expected, "{body}");
    }
    let error = user(r#"{"a": 1, "b": [1, {"c": 2]}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The request body is not valid JSON: this bracket does not close the one that is open \
         (byte 25)."
    );
}

#[test]
fn an_error_stays() {
    let mut scan = BodyScanner::new();
    let error = scan.feed(b"{]").unwrap_err();
    assert_eq!(scan.feed(b"{}"), Err(error));
    assert_eq!(scan.finish(), Err(error));
}

#[test]
fn a_user_of_255_characters_passes_and_one_more_does_not() {
    for letter in ["u", "é", "😀", r"\u00e9", r"\ud83d\ude00"] {
        let body = |count: usize| format!(r#"{{"user": "{}"}}"#, letter.repeat(count));
        assert_eq!(found(&body(255)).unwrap().chars().count(), 255);
        assert_eq!(user(&body(256)), Err(ScanError::UserTooLong), "{letter}");
    }
    let long = "x".repeat(MAX_RAW + 1);
    assert_eq!(user(&format!(r#"{{"user": "{long}"}}"#)), Err(ScanError::UserTooLong));
    assert_eq!(user(&format!(r#"{{"user": ["{long}"]}}"#)), Err(ScanError::UserTooLong));
    assert_eq!(found(&format!(r#"{{"user": "{long}", "user": "bob"}}"#)).unwrap(), "bob");
}

#[test]
fn memory_stays_small_however_long_the_user_is() {
    let mut scan = BodyScanner::new();
    scan.feed(b"{\"user\": \"").unwrap();
    for _ in 0..64 {
        scan.feed(&[b'u'; 65536]).unwrap();
    }
    assert!(scan.raw.capacity() <= 2 * (MAX_RAW + 1));
    scan.feed(b"\"}").unwrap();
    assert_eq!(scan.finish(), Err(ScanError::UserTooLong));
}

#[test]
fn brackets_nest_512_deep_and_no_deeper() {
    let body = |deep: usize| {
        format!(r#"{{"inputs": {}{}, "user": "a"}}"#, "[".repeat(deep), "]".repeat(deep))
    };
    assert_eq!(found(&body(512)).unwrap(), "a");
    assert_eq!(user(&body(513)), Err(ScanError::TooDeep));
}

#[test]
fn long_nested_values_are_skipped_at_every_alignment() {
    for pad in 0..130 {
        let text = "x".repeat(pad);
        let body = format!(
            r#"{{"a": {{"t": "{text}}}]\\\"{text}\\", "l": [{{}}, "{text}\\\\", []], "{text}": 1}},
               "user": "u"}}"#
        );
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
        assert_eq!(found(&body).unwrap(), "u", "{body}");
    }
}

#[test]
fn the_conversation_is_found_and_where_it_stands() {
    let body = format!(r#"{{"query": "x", "conversation_id": "{ID}", "user": "a"}}"#);
    let found = facts(&body);
    assert_eq!(found.conversation_id.unwrap().to_string(), ID);
    let place = found.conversation_place.unwrap();
    let place = usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap();
    assert_eq!(&body[place], format!("\"{ID}\""));
    for (value, id, stands) in [
        (r#""""#, None, Some(20..22)),
        (r#""x", "conversation_id": "y\"z""#, None, Some(44..50)),
        (&format!(r#""{ID}", "conversation_id": null"#), None, None),
        (&format!(r#""{ID}", "conversation_id": {{"id": "{ID}"}}"#), None, None),
        (&format!(r#"{{"conversation_id": "{ID}"}}"#), None, None),
        (&format!(r#"1,"conversation_id":"{ID}""#), Some(ID), Some(40..78)),
    ] {
        let body = format!(r#"{{"conversation_id": {value}}}"#);
        let found = facts(&body);
        assert_eq!(found.conversation_id.map(|id| id.to_string()).as_deref(), id, "{body}");
        assert_eq!(found.conversation_place, stands, "{body}");
    }
}

#[test]
fn the_message_counts_at_the_top_only() {
    let found = facts(&format!(r#"{{"text": "x", "message_id": "{ID}"}}"#));
    assert_eq!(found.message_id.unwrap().to_string(), ID);
    for body in [
        format!(r#"{{"inputs": {{"message_id": "{ID}"}}}}"#),
        format!(r#"{{"message_id": "{ID}", "message_id": "x"}}"#),
        format!(r#"{{"message_id": "{ID}", "message_id": 1}}"#),
    ] {
        assert_eq!(facts(&body).message_id, None, "{body}");
    }
    for key in ["workflow_id", r"workflow\u005fid", r"\u0077orkflow_id"] {
        let found = facts(&format!(r#"{{"query": "x", "{key}": "{ID}"}}"#));
        assert_eq!(found.workflow_id.unwrap().to_string(), ID, "{key}");
        let last = facts(&format!(r#"{{"{key}": "{ID}", "workflow_id": null}}"#));
        assert_eq!(last.workflow_id, None, "{key}");
    }
    assert_eq!(facts(&format!(r#"{{"inputs": {{"workflow_id": "{ID}"}}}}"#)).workflow_id, None);
}

#[test]
fn files_are_found_wherever_chat_and_workflow_requests_have_them() {
    let file = |number| {
        let id = numbered(number);
        format!(
            r#"{{"type": "document", "transfer_method": "local_file", "upload_file_id": "{id}"}}"#
        )
    };
    let chat = format!(r#"{{"inputs": {{}}, "query": "q", "files": [{}, {}]}}"#, file(1), file(2));
    assert_eq!(facts(&chat).files[..], [id(1), id(2)]);
    let inputs = format!(r#"{{"a": {}, "b": [{}, {}]}}"#, file(3), file(4), file(3));
    assert_eq!(facts(&format!(r#"{{"inputs": {inputs}}}"#)).files[..], [id(3), id(4)]);
    let many: Vec<_> = (0..MAX_FILES + 4).map(file).collect();
    assert_eq!(facts(&format!(r#"{{"files": [{}]}}"#, many.join(","))).files.len(), MAX_FILES);
}

#[test]
fn text_that_looks_like_a_file_is_none() {
    let id = numbered(1);
    for body in [
        format!(r#"{{"query": "\"upload_file_id\": \"{id}\""}}"#),
        format!(r#"{{"inputs": {{"q": "\"upload_file_id\": \"{id}\""}}}}"#),
        format!(r#"{{"inputs": {{"x\"upload_file_id": "{id}"}}}}"#),
        format!(r#"{{"inputs": ["upload_file_id", "{id}"]}}"#),
        format!(r#"{{"inputs": {{"upload_file_id": {{"id": "{id}"}}}}}}"#),
        format!(r#"{{"inputs": {{"upload_file_id2": "{id}"}}}}"#),
        format!(r#"{{"inputs": {{"upload_file_id": null, "x": "{id}"}}}}"#),
    ] {
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
        assert!(facts(&body).files.is_empty(), "{body}");
    }
    let nested = format!(r#"{{"a": [[{{"upload_file_id" :\n "{id}"}}]]}}"#).replace("\\n", "\n");
    assert_eq!(facts(&nested).files.len(), 1);
}
