//! Anthropic's errors: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::model::{ErrorKind, GatewayError};

/// The body of an error.
pub fn body(error: &GatewayError, request_id: &str) -> Bytes {
    let mut value = value(error);
    value["request_id"] = request_id.into();
    Bytes::from(value.to_string())
}

/// The same as a value without the request's id, for an event of a stream.
pub fn value(error: &GatewayError) -> Value {
    json!({"type": "error", "error": {"type": kind(error.kind), "message": error.message}})
}

/// Anthropic's `type` of an error.
fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "invalid_request_error",
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::NotFound => "not_found_error",
        ErrorKind::TooLarge => "request_too_large",
        ErrorKind::RateLimit => "rate_limit_error",
        ErrorKind::Server => "api_error",
        ErrorKind::Timeout => "timeout_error",
        ErrorKind::Overloaded => "overloaded_error",
    }
}
