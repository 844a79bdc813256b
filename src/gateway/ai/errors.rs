//! Errors that only AI clients are told. Each text stands here once.

use std::borrow::Cow;

use crate::conversation::StoreDown;
pub(crate) use crate::gateway::http::errors::{
    body_too_large, internal, malformed_coding, unknown_coding,
};
use crate::gateway::proxy::errors::{LONG_USER, NO_IDENTITY};
pub(crate) use crate::gateway::proxy::errors::{of, turn_taken};
use crate::gateway::state::member::Member;
use crate::model::{ErrorKind, GatewayError, Reason};

/// No key came with the request.
pub(crate) fn no_api_key() -> GatewayError {
    let message = "No API key came with the request: send it as `Authorization: Bearer <key>`.";
    bad_api_key(message)
}

/// Nobody knows the key of the request.
pub(crate) fn wrong_api_key() -> GatewayError {
    // LiteLLM tells a wrong key from a wrong request by OpenAI's first words.
    bad_api_key("Incorrect API key provided: the gateway does not know it.")
}

fn bad_api_key(message: &'static str) -> GatewayError {
    GatewayError::client(Reason::Unauthorized, 401, "invalid_api_key", message)
}

/// A path of OpenAI's or Anthropic's that nothing of Dify's could serve.
pub(crate) fn unsupported_endpoint() -> GatewayError {
    let message = "Dify has nothing that could serve this path.";
    GatewayError::client(Reason::NoRoute, 404, "unsupported_endpoint", message)
}

/// The user is longer than Dify takes it.
pub(crate) fn user_too_long() -> GatewayError {
    GatewayError::invalid("invalid_value", "user", LONG_USER)
}

/// The app wants a signed user.
pub(crate) fn no_identity() -> GatewayError {
    GatewayError::client(Reason::Unauthorized, 401, "invalid_user_token", NO_IDENTITY)
}

/// A clean-up with a key that many people have.
pub(crate) fn shared_key() -> GatewayError {
    let message = "Others share this key: conversations are cleaned up with a key of `keys`, its \
                   own, with one that has `admin: true`, or on the admin listener.";
    GatewayError::client(Reason::Forbidden, 403, "forbidden", message)
}

/// The client names a conversation that it does not have.
pub(crate) fn no_conversation(named: &str) -> GatewayError {
    let message = format!("The conversation `{named}` does not exist or is not yours.");
    GatewayError::new(404, ErrorKind::NotFound, "conversation_not_found", message)
        .with_param("conversation")
}

/// The store of conversations fails.
pub(crate) fn store_down(error: &StoreDown) -> GatewayError {
    let message = "The gateway cannot look up conversations at the moment. Please try again.";
    GatewayError::gateway(Reason::StoreFailed, 503, "conversations_unavailable", message)
        .with_detail(error.to_string())
        .retry_after(1)
}

/// The body of a clean-up is not what it should be.
pub(crate) fn bad_cleanup() -> GatewayError {
    let message = "The body must be a JSON object; `max_age_days` is a whole number.";
    GatewayError::invalid("invalid_value", "max_age_days", message)
}

/// A question has more files than that.
pub(crate) fn too_many_files(max: usize) -> GatewayError {
    let message = format!("A question may have {max} files.");
    GatewayError::invalid("too_many_files", "messages", message)
}

/// A sound came in something else than a form.
pub(crate) fn not_a_form() -> GatewayError {
    let message = "Send the sound as `multipart/form-data`, with fields `file` and `model`.";
    GatewayError::invalid("invalid_value", "file", message)
}

/// A form that breaks its own rules.
pub(crate) fn bad_form(error: &dyn std::error::Error) -> GatewayError {
    GatewayError::invalid("invalid_value", "file", format!("The form cannot be read: {error}."))
}

/// Dify took a file, and did not say as what.
pub(crate) fn unreadable_upload() -> GatewayError {
    unreadable("Dify's answer to an upload cannot be read.")
}

/// An instance does not say what an app is.
pub(crate) fn unknown_app(member: &Member, what: impl std::fmt::Display) -> GatewayError {
    unreadable(format!("{} does not say what this app is: {what}.", member.name()))
}

/// A run was answered with something else than a stream.
pub(crate) fn no_stream() -> GatewayError {
    unreadable("Dify's answer is no stream.").with_reason(Reason::InstanceGarbled).for_good()
}

fn unreadable(message: impl Into<Cow<'static, str>>) -> GatewayError {
    GatewayError::new(502, ErrorKind::Server, "upstream_error", message)
}
