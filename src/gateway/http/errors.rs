//! Errors of HTTP itself: heads, bodies and connections. Each text stands here once.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use crate::gateway::http::limits::BodyLimit;
use crate::model::{ErrorKind, GatewayError, Reason};

/// When a body may find room that found none, in seconds.
const BODIES_RETRY_S: u32 = 5;

// What is wrong with a request: for `bad_request`.
pub(crate) const BAD_SCHEME: &str = "The target's scheme must be http or https.";
pub(crate) const BAD_TARGET_HOST: &str = "The target's host is not a valid host.";
pub(crate) const BAD_HOST: &str = "The Host header is not a valid host.";
pub(crate) const NO_HOST: &str = "HTTP/1.1 requests need a Host header.";
pub(crate) const TWO_HOSTS: &str = "The request has more than one Host header.";
pub(crate) const OTHER_HOST: &str = "The Host header is not the request's :authority.";
pub(crate) const NO_AUTHORITY: &str = "The request names no host: it needs :authority.";
pub(crate) const BAD_AUTHORITY: &str = "The request's :authority is not a valid host.";
pub(crate) const OLD_CHUNKS: &str = "HTTP/1.0 has no Transfer-Encoding.";
pub(crate) const BAD_CODING: &str = "Transfer-Encoding must be exactly one `chunked`.";
pub(crate) const BAD_LENGTH: &str = "Content-Length must be one decimal number.";
pub(crate) const BAD_HEAD: &str = "The request's head is not valid HTTP/1.1.";
pub(crate) const NOT_TLS: &str = "TLS is spoken at this port: use https://.";

/// 400: the request is not what it says it is, or can be read in two ways.
pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> GatewayError {
    GatewayError::client(Reason::BadRequest, 400, "bad_request", message)
}

/// The body ends before its end.
pub(crate) fn body_incomplete(error: &dyn std::error::Error) -> GatewayError {
    bad_request("The request's body is not complete.").with_detail(error.to_string())
}

/// CONNECT or TRACE.
pub(crate) fn method_not_allowed(method: &http::Method) -> GatewayError {
    let message = format!("The method {method} is not allowed here.");
    GatewayError::client(Reason::BadRequest, 405, "method_not_allowed", message)
}

/// A method that no server has: longer than any that is registered.
pub(crate) fn method_unknown() -> GatewayError {
    let message = "No method has more than 32 letters.";
    GatewayError::client(Reason::BadRequest, 501, "not_implemented", message)
}

/// The target of the request is longer than any that is taken.
pub(crate) fn uri_too_long() -> GatewayError {
    let message = "The URI is too long (`limits.uri_bytes`).";
    GatewayError::client(Reason::BadRequest, 414, "uri_too_long", message)
}

/// The head of the request is larger than any that is taken.
pub(crate) fn headers_too_large() -> GatewayError {
    let message = "The headers are too long or too many (`limits.header_bytes`, `limits.headers`).";
    GatewayError::client(Reason::BadRequest, 431, "request_header_fields_too_large", message)
}

/// The head of the request did not come in time.
pub(crate) fn head_too_slow() -> GatewayError {
    let message = "The request's head was not complete in time (`timeouts.header`).";
    GatewayError::client(Reason::BadRequest, 408, "request_timeout", message)
}

/// The body of the request did not come in time.
pub(crate) fn body_too_slow(waited: Duration, rate: u64) -> GatewayError {
    let waited = waited.as_secs_f64();
    let message = format!(
        "The request's body stood still for {waited} s, or came with less than {rate} bytes/s after \
         that (`timeouts.body`, `limits.body_rate`)."
    );
    GatewayError::client(Reason::BodyTimeout, 408, "request_timeout", message)
}

/// The body of the request is larger than any that is taken.
pub(crate) fn body_too_large(most: BodyLimit) -> GatewayError {
    let BodyLimit { bytes, key } = most;
    let message = format!("The request's body is larger than {bytes} bytes (`{key}`).");
    GatewayError::client(Reason::BodyTooLarge, 413, "request_entity_too_large", message)
}

/// One address has as many connections as it may have.
pub(crate) fn too_many_connections() -> GatewayError {
    let message = "Your address has too many connections (`limits.connections_per_address`).";
    GatewayError::client(Reason::BadRequest, 429, "too_many_connections", message)
}

/// All bodies together have as much memory as they may.
pub(crate) fn bodies_full() -> GatewayError {
    let message = "The gateway holds as many request bodies as it may (`limits.all_bodies_memory`). \
                   Repeat the request.";
    GatewayError::gateway(Reason::BodiesFull, 503, "service_unavailable", message)
        .retry_after(BODIES_RETRY_S)
}

/// The body of the request is compressed in an unknown way.
pub(crate) fn unknown_coding() -> GatewayError {
    let message = "The request's body is compressed in a way that the gateway does not know: its \
                   `Content-Encoding` can be gzip, deflate, br or zstd.";
    GatewayError::new(415, ErrorKind::InvalidRequest, "unsupported_encoding", message)
}

/// The body of the request cannot be decompressed.
pub(crate) fn malformed_coding() -> GatewayError {
    let message = "The request's body is not compressed as its `Content-Encoding` says.";
    GatewayError::new(400, ErrorKind::InvalidRequest, "invalid_encoding", message)
}

/// Something failed that cannot.
pub(crate) fn internal(error: &dyn std::error::Error) -> GatewayError {
    let message = "The gateway could not handle the request.";
    GatewayError::new(500, ErrorKind::Server, "internal_error", message)
        .with_detail(error.to_string())
}

/// The body of the request could not be kept.
pub(crate) fn spool_failed(error: &io::Error) -> GatewayError {
    let message = "The gateway has no room to keep the request's body.";
    GatewayError::gateway(Reason::SpoolFailed, 507, "insufficient_storage", message)
        .with_detail(error.to_string())
}
