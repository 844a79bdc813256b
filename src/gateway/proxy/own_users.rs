//! Makes a request speak for its key's own users: each place of Dify's where it names one, or could,
//! says it with the key's name before it.
//!
//! Which of the places Dify reads depends on the call and the release, so all of them are rewritten: a
//! JSON body, a form of either kind, the query.

use std::rc::Rc;

use http::Uri;

use crate::dify::multipart::MultipartScanner;
use crate::dify::pairs;
use crate::dify::path::CallKind;
use crate::dify::scan::UserSlot;
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::proxy::end_user::KeyUsers;
use crate::gateway::proxy::errors::{self, bad_request};
use crate::gateway::proxy::identify::Identified;
use crate::model::GatewayError;

/// Rewrites body and query; gives the user that Dify will know, in place of what was said.
///
/// # Errors
/// A user is too long with the key's name; the body has no place for one.
pub(crate) fn rewrite(
    speaker: &KeyUsers,
    head: &mut Rc<RequestHead>,
    kind: CallKind,
    asked: &mut Identified,
) -> Result<(), GatewayError> {
    let in_body = match body(speaker, head, asked)? {
        Some(user) => {
            asked.facts.user = Some(user);
            true
        }
        None => false,
    };
    let query = head.uri.query().unwrap_or_default();
    let takes_user = takes_user(kind);
    if pairs::has_user(query.as_bytes()) || (!in_body && takes_user) {
        let query = pairs::with_user(query.as_bytes(), |user| speaker.user(user))?;
        let query = String::from_utf8(query).map_err(|_| bad_request(errors::BAD_QUERY))?;
        let target = format!("{}?{query}", head.uri.path());
        let uri = with_target(&head.uri, &target);
        Rc::make_mut(head).uri = uri.ok_or_else(|| bad_request(errors::LONG_QUERY))?;
    }
    asked.user = match &asked.user {
        None if !takes_user => None,
        given => Some(speaker.user(given.as_deref())?),
    };
    Ok(())
}

/// The same URI with another path and query. The authority of an absolute one counts as `Host`.
fn with_target(uri: &Uri, target: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether Dify may look for a user where the call brings none, and take one of its own for it that
/// all keys would share. What is none of its known calls may be one of a newer Dify.
fn takes_user(kind: CallKind) -> bool {
    !matches!(
        kind,
        CallKind::Root
            | CallKind::Info
            | CallKind::Parameters
            | CallKind::Meta
            | CallKind::Site
            | CallKind::WorkflowRunDetail
            | CallKind::WorkflowLogs
            | CallKind::EndUser
            | CallKind::AppFeedbacks
            | CallKind::Annotations
            | CallKind::Annotation
            | CallKind::AnnotationReply
            | CallKind::AnnotationReplyStatus
    )
}

/// Puts the user into the body, and gives it; none where the body has no place for one.
fn body(
    speaker: &KeyUsers,
    head: &RequestHead,
    asked: &mut Identified,
) -> Result<Option<String>, GatewayError> {
    let content_type = head.headers.text(KnownHeader::ContentType).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let is_form = essence.eq_ignore_ascii_case("multipart/form-data");
    if asked.body.is_empty() {
        return Ok(None);
    }
    if let Some(form) = asked.pairs.take() {
        asked.body = form.rewritten(speaker)?;
        return Ok(Some(speaker.user(asked.facts.user.as_deref())?));
    }
    let user = speaker.user(asked.facts.user.as_deref())?;
    let quoted = || serde_json::Value::from(user.as_str()).to_string();
    let (place, with) = match (asked.facts.user_slot.clone(), is_form) {
        (UserSlot::None, true) => {
            return Err(bad_request(errors::NO_USER_FIELD));
        }
        (UserSlot::None, false) => return Ok(None),
        (UserSlot::Value(place), true) => (place, user.clone()),
        (UserSlot::Value(place), false) => (place, quoted()),
        (UserSlot::Before(at), true) => {
            let part = MultipartScanner::part_of(content_type, &user);
            let part = part.map_err(|error| bad_request(error.to_string()))?;
            (at..at, String::from_utf8_lossy(&part).into_owned())
        }
        (UserSlot::Before(at), false) => (at..at, format!(",\"user\":{}", quoted())),
        (UserSlot::Only(at), _) => (at..at, format!("\"user\":{}", quoted())),
    };
    if let Some(later) = &mut asked.facts.conversation_place
        && later.start >= place.end
    {
        let shift = |at: u64| at - (place.end - place.start) + with.len() as u64;
        *later = shift(later.start)..shift(later.end);
    }
    let body = std::mem::replace(&mut asked.body, BufferedBody::EMPTY);
    asked.body = body.spliced(place, with.as_bytes());
    Ok(Some(user))
}
