use serde_json::json;

use super::*;

fn fields(object: &str) -> JsonObject<'_> {
    JsonObject::of_object("a", object)
}

#[test]
fn a_broken_body_is_told_by_line_and_column_and_not_quoted() {
    let error = JsonObject::of_body(b"{\"secret\":\n tru}").unwrap_err();
    assert!(error.message.contains("line 2, column"), "{}", error.message);
    assert!(!error.message.contains("secret"));
    assert_eq!((error.status, &*error.code), (400, "invalid_json"));
    for body in ["", "[]", "null", "\"a\"", "{} {}", "\u{feff}{}"] {
        assert_eq!(
            JsonObject::of_body(body.as_bytes()).unwrap_err().code,
            "invalid_json",
            "{body}"
        );
    }
}

#[test]
fn faults_name_the_place() {
    let object = r#"{"text":1,"stream":"x","tools":{},"stop":[0],"metadata":[],"name":null}"#;
    let mut all = fields(object);
    let place = |fault: GatewayError| (fault.code.into_owned(), fault.param.unwrap());
    let wrong = |name: &str| ("invalid_type".to_owned(), format!("a.{name}"));
    assert_eq!(place(all.text("text").unwrap_err()), wrong("text"));
    assert_eq!(place(all.flag("stream").unwrap_err()), wrong("stream"));
    assert_eq!(place(all.list("tools").unwrap_err()), wrong("tools"));
    assert_eq!(place(fields(object).items("tools").err().unwrap()), wrong("tools"));
    assert_eq!(place(all.fields("metadata").unwrap_err()), wrong("metadata"));
    assert_eq!(place(fields(object).object_text("stop").unwrap_err()), wrong("stop"));
    assert_eq!(place(fields(object).need_fields("stop").unwrap_err()), wrong("stop"));
    let (long, longer) = ("x".repeat(MAX_WORD), "x".repeat(MAX_WORD + 1));
    let words = format!(r#"{{"user":"{long}","user_id":"{longer}"}}"#);
    let mut words = fields(&words);
    assert!(words.word("user").is_ok_and(|word| word.is_some()));
    assert_eq!(words.word("user_id").unwrap_err().param.as_deref(), Some("a.user_id"));
    let missing = all.need_text("name").unwrap_err();
    let absent = ("missing_required_parameter".to_owned(), "a.name".to_owned());
    assert_eq!(place(missing), absent);
    assert_eq!(place(all.need_fields("name").unwrap_err()), absent);
}

#[test]
fn names_are_found() {
    assert!(NAMES.is_sorted());
}

#[test]
fn what_nobody_takes_is_left_in_the_order_of_the_request() {
    let mut all = fields(
        r#"{"z":1,"type":2,"url":[1],"null":null,"b\r\nx: y":1,"e":[],"tools":[ ],"c":[0]}"#,
    );
    all.take("type");
    let mut ignored = vec!["before".to_owned()];
    all.leave(&mut ignored);
    assert_eq!(ignored, ["before", "a.z", "a.url", "a.c"]);
}

#[test]
fn what_is_left_is_bounded() {
    let many = (0..100).map(|i| (format!("f{i}"), json!(1))).collect::<Map<_, _>>();
    let mut ignored = Vec::new();
    fields(&Value::from(many).to_string()).leave(&mut ignored);
    fields(&json!({"x".repeat(65): 1}).to_string()).leave(&mut ignored);
    assert_eq!(ignored.len(), MAX_IGNORED);
    // What has a meaning is found behind them all the same.
    let behind = format!("{{{}\"user\":\"u\"}}", "\"f\":1,".repeat(100));
    assert_eq!(fields(&behind).word("user").unwrap().as_deref(), Some("u"));
}
