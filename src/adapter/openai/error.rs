//! OpenAI's errors: `{"error": {"message", "type", "param", "code"}}`, all four always there.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::adapter::fault::{Fault, Kind};

/// The body of an error.
pub fn body(fault: &Fault) -> Bytes {
    Bytes::from(value(fault).to_string())
}

/// The same as a value, for an event of a stream.
pub fn value(fault: &Fault) -> Value {
    json!({"error": {
        "message": fault.message,
        "type": kind(fault.kind),
        "param": fault.param,
        "code": fault.code,
    }})
}

/// OpenAI's `type` of an error.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidRequest | Kind::Authentication | Kind::NotFound | Kind::TooLarge => {
            "invalid_request_error"
        }
        Kind::Permission => "permission_error",
        Kind::RateLimit => "requests",
        Kind::Server | Kind::Timeout | Kind::Overloaded => "server_error",
    }
}
