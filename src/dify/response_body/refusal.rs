//! The few refusals of Dify that say something about the instance and not about the request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dify::path::{CallKind, Run};

/// A refusal that means more than its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownRefusal {
    /// The instance does not have what the request names. Nothing was done, so another instance may
    /// be asked with the same request. Dify says the same of what was deleted and of what belongs to
    /// another user.
    NotHere,
    /// As many runs of the app as its `max_active_requests` allows: Dify's 429, which it sends as
    /// 400. Nothing was done.
    Busy,
}

/// Status, `code` and `message` of each refusal that means [`KnownRefusal::NotHere`], from 1.5.0 to
/// the main branch of June 2026. `First Message Not Exists.` and `Conversation Variable Not Exists.`
/// are not among them: who says that has the conversation.
const NOT_HERE: &[(u16, &str, &str)] = &[
    (404, "not_found", "Conversation Not Exists"),
    (404, "not_found", "Last Conversation Not Exists"),
    (404, "not_found", "Message Not Exists"),
    (404, "not_found", "Workflow run not found"),
    (404, "not_found", "Form not found"),
    (404, "not_found", "Annotation not found"),
    (404, "not_found", "Dataset not found"),
    (404, "not_found", "File not found or signature is invalid"),
    (404, "file_not_found", "File not found in message context"),
    (404, "end_user_not_found", "End user not found"),
    (400, "invalid_param", "Invalid upload file"),
];

/// The same with the id behind it.
const NO_WORKFLOW: &str = "Workflow not found with id: ";

/// Of a job of `/v1/apps/annotation-reply/…/status/<job>`; elsewhere it may mean something else.
const NO_JOB: &str = "The job does not exist";

/// Reads a refusal of a call of this kind. `code` must be Dify's and `message` begin with its text; a
/// model provider's text stands behind another code or behind `Run failed: `.
pub fn refusal(kind: CallKind, status: u16, body: &[u8]) -> Option<KnownRefusal> {
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
    let (code, message) = (body.code.as_ref(), body.message.as_ref());
    let not_here = NOT_HERE.iter().any(|(of_status, of_code, text)| {
        (*of_status, *of_code) == (status, code) && says(message, text)
    });
    let of_kind = match (kind, status, code) {
        (CallKind::Run(_), 404, "not_found") => message.starts_with(NO_WORKFLOW),
        (CallKind::AnnotationReplyStatus, 400, "invalid_param") => says(message, NO_JOB),
        _ => false,
    };
    if not_here || of_kind {
        return Some(KnownRefusal::NotHere);
    }
    match (status, code) {
        (400, "invalid_param") if message.starts_with("Too many requests. Please try again") => {
            Some(KnownRefusal::Busy)
        }
        // What the 400 was meant to be.
        (429, "too_many_requests") => Some(KnownRefusal::Busy),
        _ => None,
    }
}

/// Whether a message is this text, give or take a full stop and the hint that the router of newer
/// versions adds where the path is like one of its routes.
pub(super) fn says(message: &str, text: &str) -> bool {
    message.strip_prefix(text).is_some_and(|rest| {
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        rest.is_empty() || rest.starts_with(" You have requested this URI [")
    })
}

/// Whether a 404 in HTML, to a call of this kind that names an id, means that the instance does not
/// have it: the route came after Dify 1.5, and its Dify is older. `/v1/workflows/run` is as old as the
/// others, so of runs it can only be `/v1/workflows/<id>/run`.
pub fn is_newer_route(kind: CallKind) -> bool {
    matches!(
        kind,
        CallKind::FilePreview
            | CallKind::WorkflowEvents
            | CallKind::HumanInputForm
            | CallKind::EndUser
            | CallKind::ConversationVariable
            | CallKind::Run(Run::Workflow)
    )
}

/// Whether the 200 of `GET /v1/workflows/run/<id>` means that the instance does not know the run:
/// Dify up to 1.12 then answers with every field null.
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
