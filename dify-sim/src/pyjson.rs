//! JSON text as Python writes it: `", "` and `": "` between items, all non-ASCII as `\u` and four digits.
//!
//! Only what Dify's answers need: no indentation, no sorted keys, no NaN.

use crate::release::Writing;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write;

/// The value as `json.dumps` writes it.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::with_capacity(128);
    write(&mut out, value);
    out
}

/// The string as a JSON string, with its quotation marks.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote_into(&mut out, text);
    out
}

/// Appends the string as a JSON string.
pub(crate) fn quote_into(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, ch) in text.char_indices() {
        if ch.is_ascii() && !ch.is_ascii_control() && ch != '"' && ch != '\\' || ch == '\u{7f}' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + ch.len_utf8();
        escape(out, ch);
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn escape(out: &mut String, ch: char) {
    let short = match ch {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        _ => {
            for unit in ch.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
            return;
        }
    };
    out.push_str(short);
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Value::String(text) => quote_into(out, text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (at, (name, item)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                quote_into(out, name);
                out.push_str(": ");
                write(out, item);
            }
            out.push('}');
        }
    }
}

/// The value as Python's `str()` shows it: what Dify makes of a `user` that is no string.
pub(crate) fn str_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr_of(other),
    }
}

/// The value as Python's `repr()` shows it.
pub(crate) fn repr_of(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let quoted = text.replace('\\', "\\\\").replace('\n', "\\n");
            if quoted.contains('\'') && !quoted.contains('"') {
                format!("\"{quoted}\"")
            } else {
                format!("'{}'", quoted.replace('\'', "\\'"))
            }
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(repr_of).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, item)| {
                    format!("{}: {}", repr_of(&Value::String(name.clone())), repr_of(item))
                })
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// JSON text of Python's style in another style; what is no JSON text comes back as it is.
pub(crate) fn rewritten(text: &str, writing: Writing) -> Cow<'_, str> {
    if writing == Writing::Python {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', ' ']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(' ') {
            rest = after;
            continue;
        }
        let end = string_end(rest);
        string_into(&mut out, &rest[..end], writing);
        rest = &rest[end..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the string that these bytes begin with ends, its quotation mark included.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn string_into(out: &mut String, text: &str, writing: Writing) {
    if writing == Writing::Slashed {
        if text.contains('/') {
            out.push_str(&text.replace('/', "\\/"))
        } else {
            out.push_str(text)
        }
    } else if text.contains("\\u") {
        match serde_json::from_str::<String>(text) {
            Ok(plain) => out.push_str(&Value::String(plain).to_string()),
            Err(_) => out.push_str(text),
        }
    } else {
        out.push_str(text);
    }
}

/// What Python's `not value` says: empty, zero, false and null are false.
pub(crate) fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::{quote, rewritten, str_of, text};
    use crate::release::Writing;
    use serde_json::json;

    #[test]
    fn text_is_written_as_python_does() {
        let value = json!({"a": [1, 0.5, null], "b": "h\u{e9} \u{1f600}\n\"\\\u{1}"});
        assert_eq!(
            text(&value),
            "{\"a\": [1, 0.5, null], \"b\": \"h\\u00e9 \\ud83d\\ude00\\n\\\"\\\\\\u0001\"}"
        );
        assert_eq!(quote("a\u{7f}"), "\"a\u{7f}\"");
    }

    #[test]
    fn text_is_rewritten_without_blanks_but_not_inside_strings() {
        let python = text(&json!({"a b": ["x / \"y\"", 1], "b": "h\u{e9}\n\\"}));
        assert_eq!(
            rewritten(&python, Writing::Slashed),
            r#"{"a b":["x \/ \"y\"",1],"b":"h\u00e9\n\\"}"#
        );
        assert_eq!(
            rewritten(&python, Writing::Compact),
            "{\"a b\":[\"x / \\\"y\\\"\",1],\"b\":\"h\u{e9}\\n\\\\\"}"
        );
    }

    #[test]
    fn an_object_as_user_becomes_its_python_text() {
        assert_eq!(
            str_of(&json!({"a": 1, "b": [true, "it's"]})),
            "{'a': 1, 'b': [True, \"it's\"]}"
        );
    }
}
