//! Why a run or a call failed, in Dify's own words, for the log.
//!
//! Such words stand in the `message` of an error answer or event, in `data.error` of a flow that has
//! ended, and on a page of whatever stands between.

use super::json_members::{members, value};

/// The most bytes kept of an explanation.
const MAX_BYTES: usize = 1000;

/// How newer versions end a flow that was stopped: as failed, by chance (1.12 to main, measured).
const ABORTED: &str = "Aborted: User requested stop";

/// How the others do.
const STOPPED: &str = "Stopped by user";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing was said of it, or it is not over.
    #[default]
    Unknown,
    /// It went well, perhaps with exceptions that the flow has handled.
    Succeeded,
    Stopped,
    Failed(String),
}

/// Whether an explanation says no more than that a user stopped the run.
pub(super) fn is_stop(text: &str) -> bool {
    text.contains(ABORTED) || text.contains(STOPPED)
}

/// Reads `status` and `error` of a flow's data, as far as they are there.
pub(super) fn outcome(data: &[u8]) -> Outcome {
    let (mut status, mut error) = (None, None);
    members(data, |key, rest| {
        let (value, after) = value(rest)?;
        match key {
            b"status" => status = shown(value),
            b"error" => error = shown(value),
            _ => {}
        }
        Some(after)
    });
    match (status.as_deref(), error) {
        (Some("succeeded" | "partial-succeeded"), _) => Outcome::Succeeded,
        (Some("stopped"), _) => Outcome::Stopped,
        (_, Some(error)) if is_stop(&error) => Outcome::Stopped,
        (_, Some(error)) => Outcome::Failed(error),
        (Some("failed"), None) => Outcome::Failed("the flow failed without an error text".into()),
        (_, None) => Outcome::Unknown,
    }
}

/// Why a flow failed whose whole answer this is; none if it did not.
pub fn failed_flow(body: &[u8]) -> Option<String> {
    let mut found = Outcome::Unknown;
    members(body, |key, rest| {
        if key == b"data" {
            found = outcome(rest);
        }
        value(rest).map(|(_, after)| after)
    });
    match found {
        Outcome::Failed(why) => Some(why),
        _ => None,
    }
}

/// What an answer with a bad status says: the message of Dify's error, the title of a page, or text.
pub fn explanation(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(16 * MAX_BYTES)]);
    let text = text.trim();
    if text.starts_with('{') {
        let (mut code, mut message) = (None, None);
        members(text.as_bytes(), |key, rest| {
            let (value, after) = value(rest)?;
            match key {
                b"code" => code = shown(value),
                b"message" => message = shown(value),
                b"error" | b"detail" if message.is_none() => message = shown(value),
                _ => {}
            }
            Some(after)
        });
        return match (code, message) {
            (Some(code), Some(message)) => Some(format!("{code}: {message}")),
            (one, other) => other.or(one),
        };
    }
    let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    match title {
        Some((title, _)) => bounded(title.trim()),
        None if text.starts_with('<') => None,
        None => bounded(text),
    }
}

/// A value as text: what a string says, anything else as it stands; nothing for null and emptiness.
pub(super) fn shown(value: &[u8]) -> Option<String> {
    if value == b"null" {
        return None;
    }
    match serde_json::from_slice::<String>(value) {
        Ok(text) => bounded(text.trim()),
        Err(_) => bounded(&String::from_utf8_lossy(value)),
    }
}

fn bounded(text: &str) -> Option<String> {
    let end = text.floor_char_boundary(MAX_BYTES);
    let cut = if end < text.len() { " …" } else { "" };
    (!text.is_empty()).then(|| [&text[..end], cut].concat())
}

#[cfg(test)]
mod tests {
    use super::{Outcome, explanation, failed_flow, outcome};

    #[test]
    fn a_flows_end_is_told_by_status_and_error() {
        let failed = |text: &str| Outcome::Failed(text.to_owned());
        for (data, expected) in [
            (r#"{"status":"succeeded","error":"an exception"}"#, Outcome::Succeeded),
            (r#"{"status":"partial-succeeded","error":""}"#, Outcome::Succeeded),
            (r#"{"status":"stopped","error":"Stopped by user."}"#, Outcome::Stopped),
            (r#"{"status":"failed","error":"Aborted: User requested stop"}"#, Outcome::Stopped),
            (r#"{"status":"failed","error":"a \"b\" \u00e4"}"#, failed("a \"b\" ä")),
            (r#"{"error":{"code":7},"status":"failed"}"#, failed(r#"{"code":7}"#)),
            (r#"{"status":"running","error":null}"#, Outcome::Unknown),
            (r#"{"status":"failed","outp"#, failed("the flow failed without an error text")),
        ] {
            assert_eq!(outcome(data.as_bytes()), expected, "{data}");
        }
        let body = r#"{"task_id":"t","data":{"status":"failed","error":"no sandbox"},"x":1}"#;
        assert_eq!(failed_flow(body.as_bytes()).as_deref(), Some("no sandbox"));
        assert_eq!(failed_flow(br#"{"data":{"status":"succeeded"}}"#), None);
    }

    #[test]
    fn what_a_bad_answer_says_is_found() {
        let long = "x".repeat(3000);
        for (body, expected) in [
            (
                r#"{"code":"invalid_param","message":"Run failed: a","status":400}"#.to_owned(),
                Some("invalid_param: Run failed: a".to_owned()),
            ),
            (r#"{"detail":"Not found"}"#.to_owned(), Some("Not found".to_owned())),
            (r#"{"status":400}"#.to_owned(), None),
            (
                "<html><head><title>413 Request Entity Too Large</title>".to_owned(),
                Some("413 Request Entity Too Large".to_owned()),
            ),
            ("<html>".to_owned(), None),
            ("upstream request timeout".to_owned(), Some("upstream request timeout".to_owned())),
            (long.clone(), Some(format!("{} …", &long[..1000]))),
            (String::new(), None),
        ] {
            assert_eq!(explanation(body.as_bytes()), expected, "{body}");
        }
    }
}
