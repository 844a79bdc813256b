//! Which values of fields that Dify cannot serve change nothing, and so pass.

use serde_json::Value;

pub(super) fn nothing(_value: &Value) -> bool {
    false
}

pub(super) fn one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

pub(super) fn off(value: &Value) -> bool {
    value == &Value::Bool(false) || value.as_f64() == Some(0.0)
}

pub(super) fn empty(value: &Value) -> bool {
    value == ""
}

/// A choice of tools that allows to call none.
pub(super) fn free_choice(value: &Value) -> bool {
    let mode = match value.get("type").and_then(Value::as_str) {
        Some("allowed_tools") => value.get("allowed_tools").and_then(|tools| tools.get("mode")),
        Some(_) => None,
        None => Some(value),
    };
    mode.and_then(Value::as_str).is_some_and(|mode| matches!(mode, "auto" | "none"))
}

/// `{"type": "text"}`
pub(super) fn text_format(value: &Value) -> bool {
    value.get("type").is_some_and(|format| format == "text")
}

/// `["text"]`
pub(super) fn text_only(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(|modality| modality == "text"))
}

/// The one format in which Dify speaks.
pub(super) fn mp3(value: &Value) -> bool {
    value == "mp3"
}

/// Sound as it is.
pub(super) fn audio(value: &Value) -> bool {
    value == "audio"
}
