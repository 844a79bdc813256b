//! Every error that the gateway tells a client of its own accord, each text once. Which protocol it
//! is told in, `adapter::Protocol` knows; what Dify itself refuses is read in `adapter::refused`.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use uuid::Uuid;

use crate::conversation::StoreDown;
use crate::dify::error::UNAUTHORIZED;
use crate::gateway::attempt_error::AttemptError;
use crate::gateway::identify::Most;
use crate::gateway::member::Member;
use crate::gateway::select::Candidates;
use crate::model::{ErrorKind, GatewayError, Reason};

/// When a body may find room that found none, in seconds.
const BODIES_RETRY_S: u32 = 5;

// What is wrong with a request: for `bad_request`.
pub(super) const BAD_SCHEME: &str = "The target's scheme must be http or https.";
pub(super) const BAD_TARGET_HOST: &str = "The target's host is not a valid host.";
pub(super) const BAD_HOST: &str = "The Host header is not a valid host.";
pub(super) const NO_HOST: &str = "HTTP/1.1 requests need a Host header.";
pub(super) const TWO_HOSTS: &str = "The request has more than one Host header.";
pub(super) const OTHER_HOST: &str = "The Host header is not the request's :authority.";
pub(super) const NO_AUTHORITY: &str = "The request names no host: it needs :authority.";
pub(super) const BAD_AUTHORITY: &str = "The request's :authority is not a valid host.";
pub(super) const OLD_CHUNKS: &str = "HTTP/1.0 has no Transfer-Encoding.";
pub(super) const BAD_CODING: &str = "Transfer-Encoding must be exactly one `chunked`.";
pub(super) const BAD_LENGTH: &str = "Content-Length must be one decimal number.";
pub(super) const BAD_USER_HEADER: &str = "The header `X-User-ID` is not UTF-8.";
pub(super) const TWO_TYPES: &str = "The request has more than one `Content-Type`.";
pub(super) const LONG_FORM: &str =
    "The form is longer than 256 KiB: send it as `multipart/form-data`.";
pub(super) const NO_USER_FIELD: &str = "The form has no place for the field `user`.";
pub(super) const BAD_QUERY: &str = "The query is not text.";
pub(super) const LONG_QUERY: &str = "The query is too long.";
pub(super) const BAD_HEAD: &str = "The request's head is not valid HTTP/1.1.";
pub(super) const NOT_TLS: &str = "TLS is spoken at this port: use https://.";

/// What is wrong with a request to an app with `user_jwt`.
pub(super) const NO_IDENTITY: &str =
    "This app wants a signed header with the end user, and none that is valid came.";

const LONG_USER: &str = "The user is longer than 255 characters, which is all that Dify takes.";

/// 400: the request is not what it says it is, or can be read in two ways.
pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> GatewayError {
    GatewayError::client(Reason::BadRequest, 400, "bad_request", message)
}

/// The body ends before its end.
pub(super) fn body_incomplete(error: &dyn std::error::Error) -> GatewayError {
    bad_request("The request's body is not complete.").with_detail(error.to_string())
}

/// CONNECT or TRACE.
pub(super) fn method_not_allowed(method: &http::Method) -> GatewayError {
    let message = format!("The method {method} is not allowed here.");
    GatewayError::client(Reason::BadRequest, 405, "method_not_allowed", message)
}

/// A method that no server has: longer than any that is registered.
pub(super) fn method_unknown() -> GatewayError {
    let message = "No method has more than 32 letters.";
    GatewayError::client(Reason::BadRequest, 501, "not_implemented", message)
}

/// The target of the request is longer than any that is taken.
pub(super) fn uri_too_long() -> GatewayError {
    let message = "The URI is too long (`limits.uri_bytes`).";
    GatewayError::client(Reason::BadRequest, 414, "uri_too_long", message)
}

/// The head of the request is larger than any that is taken.
pub(super) fn headers_too_large() -> GatewayError {
    let message = "The headers are too long or too many (`limits.header_bytes`, `limits.headers`).";
    GatewayError::client(Reason::BadRequest, 431, "request_header_fields_too_large", message)
}

/// The head of the request did not come in time.
pub(super) fn head_too_slow() -> GatewayError {
    let message = "The request's head was not complete in time (`timeouts.header`).";
    GatewayError::client(Reason::BadRequest, 408, "request_timeout", message)
}

/// The body of the request did not come in time.
pub(super) fn body_too_slow(waited: Duration, rate: u64) -> GatewayError {
    let waited = waited.as_secs_f64();
    let message = format!(
        "The request's body stood still for {waited} s, or came with less than {rate} bytes/s after \
         that (`timeouts.body`, `limits.body_rate`)."
    );
    GatewayError::client(Reason::BodyTimeout, 408, "request_timeout", message)
}

/// The body of the request is larger than any that is taken.
pub(super) fn body_too_large(most: Most) -> GatewayError {
    let Most { bytes, key } = most;
    let message = format!("The request's body is larger than {bytes} bytes (`{key}`).");
    GatewayError::client(Reason::BodyTooLarge, 413, "request_entity_too_large", message)
}

/// One address has as many connections as it may have.
pub(super) fn too_many_connections() -> GatewayError {
    let message = "Your address has too many connections (`limits.connections_per_address`).";
    GatewayError::client(Reason::BadRequest, 429, "too_many_connections", message)
}

/// All bodies together have as much memory as they may.
pub(super) fn bodies_full() -> GatewayError {
    let message = "The gateway holds as many request bodies as it may (`limits.all_bodies_memory`). \
                   Repeat the request.";
    GatewayError::gateway(Reason::BodiesFull, 503, "service_unavailable", message)
        .retry_after(BODIES_RETRY_S)
}

/// The body of the request is compressed in an unknown way.
pub(super) fn unknown_coding() -> GatewayError {
    let message = "The request's body is compressed in a way that the gateway does not know: its \
                   `Content-Encoding` can be gzip, deflate, br or zstd.";
    GatewayError::new(415, ErrorKind::InvalidRequest, "unsupported_encoding", message)
}

/// The body of the request cannot be decompressed.
pub(super) fn malformed_coding() -> GatewayError {
    let message = "The request's body is not compressed as its `Content-Encoding` says.";
    GatewayError::new(400, ErrorKind::InvalidRequest, "invalid_encoding", message)
}

/// Something failed that cannot.
pub(super) fn internal(error: &dyn std::error::Error) -> GatewayError {
    let message = "The gateway could not handle the request.";
    GatewayError::new(500, ErrorKind::Server, "internal_error", message)
        .with_detail(error.to_string())
}

/// The body of the request could not be kept.
pub(super) fn spool_failed(error: &io::Error) -> GatewayError {
    let message = "The gateway has no room to keep the request's body.";
    GatewayError::gateway(Reason::SpoolFailed, 507, "insufficient_storage", message)
        .with_detail(error.to_string())
}

/// Dify's own 401, in these words of its.
pub(super) fn unauthorized(message: &'static str) -> GatewayError {
    GatewayError::client(Reason::Unauthorized, 401, UNAUTHORIZED, message)
}

/// The token opens these apps, and the request does not say which it wants.
pub(super) fn ambiguous_app(names: &str) -> GatewayError {
    let message =
        format!("This token opens these apps: {names}. Name one in the header `X-Difygate-App`.");
    GatewayError::client(Reason::AmbiguousApp, 400, "invalid_param", message)
}

/// Neither Dify's service API nor anything else of the gateway's.
pub(super) fn no_route() -> GatewayError {
    let message = "Nothing is served at this path. Dify's service API is below /v1/.";
    GatewayError::client(Reason::NoRoute, 404, "not_found", message)
}

/// No instance of the app has a key for the knowledge API: the app's own would be 401.
pub(super) fn no_datasets() -> GatewayError {
    let message = "The knowledge API is not open to clients of this app.";
    GatewayError::client(Reason::Forbidden, 403, "forbidden", message)
        .with_detail("its instances have no `dataset_token`")
}

/// The task runs for another user or app.
pub(super) fn foreign_task() -> GatewayError {
    let message = "No such task runs for this user.";
    GatewayError::client(Reason::Forbidden, 404, "not_found", message)
}

/// The user is longer than Dify takes; it would answer 500.
pub(super) fn too_long_for_dify() -> GatewayError {
    GatewayError::client(Reason::BadRequest, 400, "invalid_param", LONG_USER)
}

/// The key's answers have not named what the request names.
pub(super) fn unknown_to_key() -> GatewayError {
    let message = "Nothing of this id is known to be of this key.";
    GatewayError::client(Reason::Forbidden, 404, "not_found", message)
}

/// It is the app's as a whole, and the key speaks for its own users alone.
pub(super) fn not_of_one_key(key: &str) -> GatewayError {
    let message = "This concerns all users of the app: it needs a key with `impersonate: true`.";
    GatewayError::client(Reason::Forbidden, 403, "forbidden", message)
        .with_detail(format!("key {key} has no `impersonate: true`"))
}

/// A failed attempt after which no other may follow.
pub(super) fn of(attempt: &AttemptError) -> GatewayError {
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
pub(super) fn out_of_budget(attempt: &AttemptError) -> GatewayError {
    of(attempt).with_detail(format!("{}; the retry budget is used up", attempt.text))
}

/// The answer broke off after it had begun: the last event of a stream.
pub(super) fn answer_cut(reason: Reason) -> GatewayError {
    let message = match reason {
        Reason::AnswerIdle => "The instance that ran this request has stopped answering.",
        _ => "The connection to the instance that ran this request broke off.",
    };
    GatewayError::instance(reason, 502, "bad_gateway", message).for_good()
}

/// A run went on after its stream broke off, and says something else than it did.
pub(super) fn differs() -> GatewayError {
    let message = "The connection to the instance that ran this request broke off. The run went on, \
                   but its text does not continue what has been sent.";
    GatewayError::instance(Reason::AnswerCut, 502, "bad_gateway", message).for_good()
}

/// A streamed flow has said nothing in time: the last event of its stream.
pub(super) fn run_not_started() -> GatewayError {
    let message = "The run has not started in time. It may still be done later.";
    GatewayError::instance(Reason::RunNotStarted, 504, "run_not_started", message).for_good()
}

/// Every candidate is out.
pub(super) fn nobody(candidates: &Candidates) -> GatewayError {
    unavailable(
        Reason::NoInstance,
        "service_unavailable",
        "No instance of this app is available at the moment. Please try again.",
    )
    .with_detail(format!("out of rotation: {}", names(candidates)))
}

/// The one that has what the request names is out.
pub(super) fn owner_out(member: &Member, attempt: Option<&AttemptError>) -> GatewayError {
    let why = match (attempt, member.instance.last_failure()) {
        (Some(attempt), _) => attempt.text.clone(),
        (None, Some(last)) => last.to_string(),
        (None, None) => "it is out of rotation".to_owned(),
    };
    owner_unavailable().with_detail(format!("{} has what the request names: {why}", member.name()))
}

/// Nobody who could be asked has what the request names; somebody could not be asked.
pub(super) fn perhaps_elsewhere(
    candidates: &Candidates,
    last: Option<&AttemptError>,
) -> GatewayError {
    let out = names(candidates);
    let failed = last.map_or_else(String::new, |attempt| format!("; {}", attempt.text));
    owner_unavailable().with_detail(format!("not on those asked; not asked: {out}{failed}"))
}

/// Nobody who answered has it; these did not answer.
pub(super) fn perhaps_there(names: &str) -> GatewayError {
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
pub(super) fn too_many_searches() -> GatewayError {
    too_many("Too many unknown conversations are being looked for. Please try again in a moment.")
}

/// The turn before in the same conversation goes on for too long.
pub(super) fn turn_taken(conversation: Uuid, waited: Duration) -> GatewayError {
    too_many("Another turn of this conversation is still running. Please try again.")
        .with_detail(format!("conversation {conversation}: waited {} s", waited.as_secs_f64()))
}

fn too_many(message: &'static str) -> GatewayError {
    GatewayError::client(Reason::Busy, 429, "too_many_requests", message).retry_after(1)
}

// Of AI clients alone.

/// No key came with the request.
pub(super) fn no_api_key() -> GatewayError {
    let message = "No API key came with the request: send it as `Authorization: Bearer <key>`.";
    bad_api_key(message)
}

/// Nobody knows the key of the request.
pub(super) fn wrong_api_key() -> GatewayError {
    // LiteLLM tells a wrong key from a wrong request by OpenAI's first words.
    bad_api_key("Incorrect API key provided: the gateway does not know it.")
}

fn bad_api_key(message: &'static str) -> GatewayError {
    GatewayError::client(Reason::Unauthorized, 401, "invalid_api_key", message)
}

/// A path of OpenAI's or Anthropic's that nothing of Dify's could serve.
pub(super) fn unsupported_endpoint() -> GatewayError {
    let message = "Dify has nothing that could serve this path.";
    GatewayError::client(Reason::NoRoute, 404, "unsupported_endpoint", message)
}

/// The user is longer than Dify takes it.
pub(super) fn user_too_long() -> GatewayError {
    GatewayError::invalid("invalid_value", "user", LONG_USER)
}

/// The app wants a signed user.
pub(super) fn no_identity() -> GatewayError {
    GatewayError::client(Reason::Unauthorized, 401, "invalid_user_token", NO_IDENTITY)
}

/// A clean-up with a key that many people have.
pub(super) fn shared_key() -> GatewayError {
    let message = "Others share this key: conversations are cleaned up with a key of `keys`, its \
                   own, with one that has `admin: true`, or on the admin listener.";
    GatewayError::client(Reason::Forbidden, 403, "forbidden", message)
}

/// The client names a conversation that it does not have.
pub(super) fn no_conversation(named: &str) -> GatewayError {
    let message = format!("The conversation `{named}` does not exist or is not yours.");
    GatewayError::new(404, ErrorKind::NotFound, "conversation_not_found", message)
        .with_param("conversation")
}

/// The store of conversations fails.
pub(super) fn store_down(error: &StoreDown) -> GatewayError {
    let message = "The gateway cannot look up conversations at the moment. Please try again.";
    GatewayError::gateway(Reason::StoreFailed, 503, "conversations_unavailable", message)
        .with_detail(error.to_string())
        .retry_after(1)
}

/// The body of a clean-up is not what it should be.
pub(super) fn bad_cleanup() -> GatewayError {
    let message = "The body must be a JSON object; `max_age_days` is a whole number.";
    GatewayError::invalid("invalid_value", "max_age_days", message)
}

/// A question has more files than that.
pub(super) fn too_many_files(max: usize) -> GatewayError {
    let message = format!("A question may have {max} files.");
    GatewayError::invalid("too_many_files", "messages", message)
}

/// A sound came in something else than a form.
pub(super) fn not_a_form() -> GatewayError {
    let message = "Send the sound as `multipart/form-data`, with fields `file` and `model`.";
    GatewayError::invalid("invalid_value", "file", message)
}

/// A form that breaks its own rules.
pub(super) fn bad_form(error: &dyn std::error::Error) -> GatewayError {
    GatewayError::invalid("invalid_value", "file", format!("The form cannot be read: {error}."))
}

/// Dify took a file, and did not say as what.
pub(super) fn unreadable_upload() -> GatewayError {
    unreadable("Dify's answer to an upload cannot be read.")
}

/// An instance does not say what an app is.
pub(super) fn unknown_app(member: &Member, what: impl std::fmt::Display) -> GatewayError {
    unreadable(format!("{} does not say what this app is: {what}.", member.name()))
}

/// A run was answered with something else than a stream.
pub(super) fn no_stream() -> GatewayError {
    unreadable("Dify's answer is no stream.").with_reason(Reason::InstanceGarbled).for_good()
}

fn unreadable(message: impl Into<Cow<'static, str>>) -> GatewayError {
    GatewayError::new(502, ErrorKind::Server, "upstream_error", message)
}
