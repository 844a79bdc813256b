//! The gateway's own responses.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, RETRY_AFTER,
};
use http::request::Parts;
use http::{Response, StatusCode};

use crate::adapter::Protocol;
use crate::dify;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::response_body::ResponseBody;
use crate::model::GatewayError;

/// Where Anthropic's clients look for the id of their request.
const ANTHROPIC_ID: HeaderName = HeaderName::from_static("request-id");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// `Allow` of a path that this version does not know; the instance may.
const ANY_METHOD: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// What the gateway answers itself, with its record.
pub(crate) fn local(response: Response<Bytes>, mut record: Box<Record>) -> Response<ResponseBody> {
    record.local(response.status().as_u16());
    whole(response, record)
}

/// What went wrong, in the client's protocol, with the CORS headers that let a browser's script read
/// it; of the request's headers, only `Origin` matters.
pub(crate) fn error(
    error: &GatewayError,
    protocol: Protocol,
    request: &HeaderMap,
    mut record: Box<Record>,
) -> Response<ResponseBody> {
    if let Some(detail) = &error.detail {
        let (reason, source) = (error.reason.label(), error.source.label());
        tracing::debug!("error: {} {reason} ({source}): {detail}", error.status);
    }
    let mut response = Response::new(protocol.body(error, record.request_id().as_str()));
    *response.status_mut() = error_head(error, protocol, response.headers_mut());
    dify::cors::add(request, response.headers_mut());
    request_id(protocol, record.request_id(), response.headers_mut());
    told(error, protocol, response.status().as_u16(), &mut record);
    whole(response, record)
}

/// The same as a page for people.
pub(crate) fn error_page(
    error: &GatewayError,
    page: Response<Bytes>,
    mut record: Box<Record>,
) -> Response<ResponseBody> {
    record.failed(error, page.status().as_u16());
    whole(page, record)
}

/// An error as the only event of a stream whose head has gone out.
pub(crate) fn error_event(
    error: &GatewayError,
    protocol: Protocol,
    mut record: Box<Record>,
) -> ResponseBody {
    told(error, protocol, 200, &mut record);
    ResponseBody::Whole(Some(protocol.event(error)), record)
}

/// Of native calls, the log has the details alone: what the message says, `reason` says, too.
fn told(error: &GatewayError, protocol: Protocol, status: u16, record: &mut Record) {
    record.failed(error, status);
    if protocol != Protocol::Dify {
        record.note_if_none(&error.message);
    }
}

/// The id of a request where the clients of its protocol look for it.
pub(crate) fn request_id(protocol: Protocol, id: &RequestId, headers: &mut HeaderMap) {
    headers.insert(KnownHeader::RequestId.header(), id.header());
    if protocol == Protocol::Anthropic {
        headers.insert(ANTHROPIC_ID, id.header());
    }
}

/// What clients look for beside the body of an error: its status, and headers.
pub(crate) fn error_head(
    error: &GatewayError,
    protocol: Protocol,
    headers: &mut HeaderMap,
) -> StatusCode {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if error.is_final && protocol.has_should_retry() {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(seconds) = error.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    StatusCode::from_u16(protocol.status(error)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The response to a browser's preflight, as Dify 1.5.0 gives it.
pub(crate) fn preflight(head: &Parts) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let allow = dify::path::allowed_methods(head.uri.path()).unwrap_or(ANY_METHOD);
    headers.insert(ALLOW, HeaderValue::from_static(allow));
    dify::cors::add_preflight(&head.headers, headers);
    response
}

/// The response to a browser's preflight for a route. AI clients send headers of their own, and a key is
/// needed for all that follows: so every header may be sent.
pub(crate) fn client_preflight(head: &Parts) -> Response<Bytes> {
    let mut response = preflight(head);
    if let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

fn whole(response: Response<Bytes>, record: Box<Record>) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(KnownHeader::RequestId.header(), record.request_id().header());
    Response::from_parts(head, ResponseBody::Whole(Some(body), record))
}
