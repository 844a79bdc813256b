//! Headers of responses to AI clients.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

/// Names the fields of a request that mean nothing to Dify.
pub(super) fn ignored(headers: &mut HeaderMap, names: &[String]) {
    if names.is_empty() {
        return;
    }
    if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(IGNORED, names);
    }
}

/// What the head of a stream says.
pub(super) fn stream_headers(headers: &mut HeaderMap) {
    let kind = "text/event-stream; charset=utf-8";
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx passes each event on at once, then.
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
}

pub(crate) fn json(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

pub(crate) const IGNORED: HeaderName = HeaderName::from_static("x-difygate-ignored");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
