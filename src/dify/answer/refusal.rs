//! The few refusals of Dify that say something about the instance and not about the request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A refusal that means more than its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownRefusal {
    /// The instance does not have the conversation, message or file. Nothing was done, so another
    /// instance may be asked with the same request. Dify says the same of what was deleted and of
    /// what belongs to another user.
    NotHere,
    /// As many runs of the app as its `max_active_requests` allows: Dify's 429, which it sends as
    /// 400. Nothing was done.
    Busy,
}

/// Reads a refusal. Only codes and whole messages of Dify 1.5.0 count (without the full stop,
/// which newer versions may drop); a model provider's text stands behind another code or behind
/// `Run failed: `.
pub fn refusal(status: u16, body: &[u8]) -> Option<KnownRefusal> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
        #[serde(borrow)]
        message: Cow<'a, str>,
    }
    if !matches!(status, 400 | 404 | 429) {
        return None;
    }
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    let message = body.message.strip_suffix('.').unwrap_or(&body.message);
    match (status, body.code.as_ref()) {
        (404, "not_found") => matches!(
            message,
            "Conversation Not Exists" | "Last Conversation Not Exists" | "Message Not Exists"
        )
        .then_some(KnownRefusal::NotHere),
        (400, "invalid_param") if message == "Invalid upload file" => Some(KnownRefusal::NotHere),
        (400, "invalid_param") if message.starts_with("Too many requests. Please try again") => {
            Some(KnownRefusal::Busy)
        }
        // What the 400 was meant to be.
        (429, "too_many_requests") => Some(KnownRefusal::Busy),
        _ => None,
    }
}

/// Whether the 200 of `GET /v1/workflows/run/<id>` means that the instance does not know the run:
/// Dify 1.5.0 then answers with every field null.
pub fn is_null_run(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        #[serde(borrow)]
        workflow_id: &'a RawValue,
    }
    let is_null = |value: &RawValue| value.get() == "null";
    serde_json::from_slice::<Body<'_>>(body)
        .is_ok_and(|run| is_null(run.id) && is_null(run.workflow_id))
}
