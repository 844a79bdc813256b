//! Every error that the gateway tells a client of its own accord, each text once. Which protocol it
//! is told in, `adapter::Protocol` knows; what Dify itself refuses is read in `adapter::refused`.

use std::time::Duration;

use uuid::Uuid;

use crate::dify::error::UNAUTHORIZED;
pub(crate) use crate::gateway::http::errors::{
    bad_request, bodies_full, body_incomplete, body_too_large, body_too_slow, spool_failed,
};
use crate::gateway::proxy::select::Candidates;
use crate::gateway::state::member::Member;
use crate::gateway::upstream::attempt_error::AttemptError;
use crate::model::{GatewayError, Reason};

// What is wrong with a request: for `bad_request`.
pub(crate) const BAD_USER_HEADER: &str = "The header `X-User-ID` is not UTF-8.";
pub(crate) const TWO_TYPES: &str = "The request has more than one `Content-Type`.";
pub(crate) const LONG_FORM: &str =
    "The form is longer than 256 KiB: send it as `multipart/form-data`.";
pub(crate) const NO_USER_FIELD: &str = "The form has no place for the field `user`.";
pub(crate) const BAD_QUERY: &str = "The query is not text.";
pub(crate) const LONG_QUERY: &str = "The query is too long.";

/// What is wrong with a request to an app with `user_jwt`.
pub(crate) const NO_IDENTITY: &str =
    "This app wants a signed header with the end user, and none that is valid came.";

pub(crate) const LONG_USER: &str =
    "The user is longer than 255 characters, which is all that Dify takes.";

/// Dify's own 401, in these words of its.
pub(crate) fn unauthorized(message: &'static str) -> GatewayError {
    GatewayError::client(Reason::Unauthorized, 401, UNAUTHORIZED, message)
}

/// The token opens these apps, and the request does not say which it wants.
pub(crate) fn ambiguous_app(names: &str) -> GatewayError {
    let message =
        format!("This token opens these apps: {names}. Name one in the header `X-Difygate-App`.");
    GatewayError::client(Reason::AmbiguousApp, 400, "invalid_param", message)
}

/// Neither Dify's service API nor anything else of the gateway's.
pub(crate) fn no_route() -> GatewayError {
    let message = "Nothing is served at this path. Dify's service API is below /v1/.";
    GatewayError::client(Reason::NoRoute, 404, "not_found", message)
}

/// No instance of the app has a key for the knowledge API: the app's own would be 401.
pub(crate) fn no_datasets() -> GatewayError {
    let message = "The knowledge API is not open to clients of this app.";
    GatewayError::client(Reason::Forbidden, 403, "forbidden", message)
        .with_detail("its instances have no `dataset_token`")
}

/// The task runs for another user or app.
pub(crate) fn foreign_task() -> GatewayError {
    let message = "No such task runs for this user.";
    GatewayError::client(Reason::Forbidden, 404, "not_found", message)
}

/// The user is longer than Dify takes; it would answer 500.
pub(crate) fn too_long_for_dify() -> GatewayError {
    GatewayError::client(Reason::BadRequest, 400, "invalid_param", LONG_USER)
}

/// The key's answers have not named what the request names.
pub(crate) fn unknown_to_key() -> GatewayError {
    let message = "Nothing of this id is known to be of this key.";
    GatewayError::client(Reason::Forbidden, 404, "not_found", message)
}

/// It is the app's as a whole, and the key speaks for its own users alone.
pub(crate) fn not_of_one_key(key: &str) -> GatewayError {
    let message = "This concerns all users of the app: it needs a key with `impersonate: true`.";
    GatewayError::client(Reason::Forbidden, 403, "forbidden", message)
        .with_detail(format!("key {key} has no `impersonate: true`"))
}

/// A failed attempt after which no other may follow.
pub(crate) fn of(attempt: &AttemptError) -> GatewayError {
    let (status, code, message) = match attempt.reason {
        Reason::Busy => (
            429,
            "too_many_requests",
            "The instance that serves you is busy. Please try again in a moment.",
        ),
        Reason::InstanceTimeout => (504, "gateway_timeout", "The instance did not answer in time."),
        Reason::ConnectFailed => {
            (502, "bad_gateway", "No instance of this app could be reached. Please try again.")
        }
        Reason::InstanceGarbled => {
            (502, "bad_gateway", "The instance gave an answer that is not HTTP.")
        }
        _ => (502, "bad_gateway", "The instance closed the connection before it answered."),
    };
    let error = GatewayError::instance(attempt.reason, status, code, message)
        .with_detail(attempt.text.clone());
    match attempt.reason {
        Reason::Busy => error.retry_after(1),
        // Nothing was sent, so it may well be repeated.
        Reason::ConnectFailed => error,
        _ => error.for_good(),
    }
}

/// The same, where only the app's retry budget stood in the way.
pub(crate) fn out_of_budget(attempt: &AttemptError) -> GatewayError {
    of(attempt).with_detail(format!("{}; the retry budget is used up", attempt.text))
}

/// The answer broke off after it had begun: the last event of a stream.
pub(crate) fn answer_cut(reason: Reason) -> GatewayError {
    let message = match reason {
        Reason::AnswerIdle => "The instance that ran this request has stopped answering.",
        _ => "The connection to the instance that ran this request broke off.",
    };
    GatewayError::instance(reason, 502, "bad_gateway", message).for_good()
}

/// A run went on after its stream broke off, and says something else than it did.
pub(crate) fn differs() -> GatewayError {
    let message = "The connection to the instance that ran this request broke off. The run went on, \
                   but its text does not continue what has been sent.";
    GatewayError::instance(Reason::AnswerCut, 502, "bad_gateway", message).for_good()
}

/// A streamed flow has said nothing in time: the last event of its stream.
pub(crate) fn run_not_started() -> GatewayError {
    let message = "The run has not started in time. It may still be done later.";
    GatewayError::instance(Reason::RunNotStarted, 504, "run_not_started", message).for_good()
}

/// Every candidate is out.
pub(crate) fn nobody(candidates: &Candidates) -> GatewayError {
    unavailable(
        Reason::NoInstance,
        "service_unavailable",
        "No instance of this app is available at the moment. Please try again.",
    )
    .with_detail(format!("out of rotation: {}", names(candidates)))
}

/// The one that has what the request names is out.
pub(crate) fn owner_out(member: &Member, attempt: Option<&AttemptError>) -> GatewayError {
    let why = match attempt {
        Some(attempt) => attempt.text.clone(),
        None if !member.instance.breaker().is_open() && member.is_ejected_for_somebody() => {
            member.stats.last_bad()
        }
        None => {
            let last = member.instance.last_failure();
            last.map_or_else(|| "it is out of rotation".to_owned(), |last| last.to_string())
        }
    };
    owner_unavailable().with_detail(format!("{} has what the request names: {why}", member.name()))
}

/// Nobody who could be asked has what the request names; somebody could not be asked.
pub(crate) fn perhaps_elsewhere(
    candidates: &Candidates,
    last: Option<&AttemptError>,
) -> GatewayError {
    let out = names(candidates);
    let failed = last.map_or_else(String::new, |attempt| format!("; {}", attempt.text));
    owner_unavailable().with_detail(format!("not on those asked; not asked: {out}{failed}"))
}

/// Nobody who answered has it; these did not answer.
pub(crate) fn perhaps_there(names: &str) -> GatewayError {
    owner_unavailable().with_detail(format!("not on those that answered; no answer from: {names}"))
}

fn owner_unavailable() -> GatewayError {
    unavailable(
        Reason::OwnerOut,
        "owner_unavailable",
        "The instance that has what the request names is not available at the moment. Please try \
         again.",
    )
}

fn unavailable(reason: Reason, code: &'static str, message: &'static str) -> GatewayError {
    GatewayError::instance(reason, 503, code, message).retry_after(1)
}

/// Who was passed over, and why.
fn names(candidates: &Candidates) -> String {
    let skipped = candidates.skipped().iter();
    let names: Vec<_> =
        skipped.map(|(member, why)| format!("{} ({})", member.name(), why.label())).collect();
    names.join(", ")
}

/// As many instances are being asked for conversations as may be.
pub(crate) fn too_many_searches() -> GatewayError {
    too_many("Too many unknown conversations are being looked for. Please try again in a moment.")
}

/// The turn before in the same conversation goes on for too long.
pub(crate) fn turn_taken(conversation: Uuid, waited: Duration) -> GatewayError {
    too_many("Another turn of this conversation is still running. Please try again.")
        .with_detail(format!("conversation {conversation}: waited {} s", waited.as_secs_f64()))
}

fn too_many(message: &'static str) -> GatewayError {
    GatewayError::client(Reason::Busy, 429, "too_many_requests", message).retry_after(1)
}
