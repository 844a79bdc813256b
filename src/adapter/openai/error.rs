//! OpenAI's errors: `{"error": {"message", "type", "param", "code"}}`, all four always there.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::model::{ErrorKind, GatewayError, Reason};

/// The body of an error.
pub fn body(error: &GatewayError) -> Bytes {
    Bytes::from(value(error).to_string())
}

/// The same as a value, for an event of a stream.
pub fn value(error: &GatewayError) -> Value {
    json!({"error": {
        "message": error.message,
        "type": kind(error.kind),
        "param": error.param,
        "code": code(error),
    }})
}

/// The `code` of an error. Where it is Dify's or HTTP's word, OpenAI's clients get theirs.
pub fn code(error: &GatewayError) -> &str {
    match &*error.code {
        "request_entity_too_large" => "request_too_large",
        "too_many_requests" => "rate_limit_exceeded",
        "forbidden" => "permission_denied",
        "owner_unavailable" | "insufficient_storage" => "service_unavailable",
        "gateway_timeout" => "upstream_timeout",
        "bad_gateway" if error.reason == Reason::ConnectFailed => "upstream_unavailable",
        "bad_gateway" => "upstream_error",
        code => code,
    }
}

/// OpenAI's `type` of an error.
fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::Authentication
        | ErrorKind::NotFound
        | ErrorKind::TooLarge => "invalid_request_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::RateLimit => "requests",
        ErrorKind::Server | ErrorKind::Timeout | ErrorKind::Overloaded => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::code;
    use crate::model::{GatewayError, Reason};

    #[test]
    fn the_gateways_own_codes_are_told_in_openais_words() {
        for (reason, status, own, expected) in [
            (Reason::BadRequest, 400, "bad_request", "bad_request"),
            (Reason::BodyTimeout, 408, "request_timeout", "request_timeout"),
            (Reason::BodyTooLarge, 413, "request_entity_too_large", "request_too_large"),
            (Reason::Busy, 429, "too_many_requests", "rate_limit_exceeded"),
            (Reason::Forbidden, 403, "forbidden", "permission_denied"),
            (Reason::SpoolFailed, 507, "insufficient_storage", "service_unavailable"),
            (Reason::NoInstance, 503, "service_unavailable", "service_unavailable"),
            (Reason::OwnerOut, 503, "owner_unavailable", "service_unavailable"),
            (Reason::ConnectFailed, 502, "bad_gateway", "upstream_unavailable"),
            (Reason::InstanceClosed, 502, "bad_gateway", "upstream_error"),
            (Reason::InstanceTimeout, 504, "gateway_timeout", "upstream_timeout"),
        ] {
            let error = GatewayError::instance(reason, status, own, "x");
            assert_eq!(code(&error), expected, "{own}");
        }
    }
}
