//! What stands in an app's JSON: documents, and a workflow's answer among its outputs.

use serde_json::Value;

use crate::adapter::response_encoder::Source;

/// Under these names a workflow's answer is looked for in its outputs.
const OUTPUTS: [&str; 5] = ["text", "answer", "result", "output", "out"];

/// A document as a client gets it.
pub(super) fn source(raw: Value) -> Source {
    let text = |name: &str| raw.get(name).and_then(Value::as_str).map(str::to_owned);
    let title = text("document_name").or_else(|| text("title")).unwrap_or_default();
    let within = |name: &str| raw.get("doc_metadata")?.get(name)?.as_str().map(str::to_owned);
    let url = text("url").or_else(|| within("url")).or_else(|| within("source"));
    let url = url.filter(|url| url.starts_with("http://") || url.starts_with("https://"));
    Source { title, url, raw }
}

/// A workflow's answer among its outputs.
pub(super) fn output(outputs: Option<&Value>, name: Option<&str>) -> Option<String> {
    let outputs = outputs?.as_object()?;
    let written = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    if let Some(name) = name {
        return outputs.get(name).and_then(written);
    }
    if let Some(text) = OUTPUTS.iter().find_map(|name| outputs.get(*name)?.as_str()) {
        return Some(text.to_owned());
    }
    let mut texts = outputs.values().filter(|value| value.is_string());
    match (texts.next(), texts.next()) {
        (Some(only), None) => written(only),
        _ if outputs.is_empty() => None,
        _ => Some(Value::Object(outputs.clone()).to_string()),
    }
}
