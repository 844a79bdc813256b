//! Anthropic's errors: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::adapter::fault::{Fault, Kind};

/// The body of an error.
pub fn body(fault: &Fault, request_id: &str) -> Bytes {
    let mut value = value(fault);
    value["request_id"] = request_id.into();
    Bytes::from(value.to_string())
}

/// The same as a value without the request's id, for an event of a stream.
pub fn value(fault: &Fault) -> Value {
    json!({"type": "error", "error": {"type": kind(fault.kind), "message": fault.message}})
}

/// Anthropic's `type` of an error.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidRequest => "invalid_request_error",
        Kind::Authentication => "authentication_error",
        Kind::Permission => "permission_error",
        Kind::NotFound => "not_found_error",
        Kind::TooLarge => "request_too_large",
        Kind::RateLimit => "rate_limit_error",
        Kind::Server => "api_error",
        Kind::Timeout => "timeout_error",
        Kind::Overloaded => "overloaded_error",
    }
}
