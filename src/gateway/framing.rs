//! What HTTP/1 leaves ambiguous is refused here or taken out, in both directions.
//!
//! hyper has already refused what it cannot parse; what it hides is seen by `head`. Beside
//! `Transfer-Encoding`, `Content-Length` does not count and the connection closes after the answer
//! (RFC 9112 §6.3). Neither is passed on: the gateway frames its own request to the instance.

use std::borrow::Cow;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Method, StatusCode, Version, response};
use smallvec::SmallVec;

use crate::gateway::head::HeadWatch;
use crate::gateway::snapshot::Limits;
use crate::model::{Reason, Refusal};

/// Whether a header belongs to one connection (RFC 9110 §7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    // By pattern: one look at which of the known names it is, for every field of every head.
    matches!(
        *name,
        CONNECTION
            | PROXY_AUTHENTICATE
            | PROXY_AUTHORIZATION
            | TE
            | TRAILER
            | TRANSFER_ENCODING
            | UPGRADE
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Refuses a request whose head can be read in two ways.
///
/// # Errors
/// 400, 405 or 414 with what was wrong.
pub(super) fn check(
    head: &Parts,
    seen: Option<&HeadWatch>,
    limits: &Limits,
) -> Result<(), Refusal> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::client(
            Reason::BadRequest,
            405,
            "method_not_allowed",
            format!("The method {} is not allowed here.", head.method),
        ));
    }
    let uri_bytes = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if uri_bytes > limits.uri_bytes {
        let limit = limits.uri_bytes;
        return Err(Refusal::client(
            Reason::BadRequest,
            414,
            "uri_too_long",
            format!("The URI has {uri_bytes} bytes; the limit is {limit} (`limits.uri_bytes`)."),
        ));
    }
    head_size(head, limits)?;
    target(head)?;
    match head.version {
        Version::HTTP_2 => authority(head)?,
        _ => host(head)?,
    }
    if head.headers.contains_key(TRANSFER_ENCODING) {
        transfer_encoding(&head.headers)?;
        if head.version == Version::HTTP_10 {
            // RFC 9112 §6.1: who passed it on may not have understood it.
            return Err(bad("HTTP/1.0 has no Transfer-Encoding."));
        }
    }
    if seen.is_some_and(HeadWatch::repeats_length) {
        return Err(bad("The request has more than one Content-Length header."));
    }
    content_length(&head.headers)
}

/// hyper bounds what it reads, but only roughly: a head that came in one piece passes.
fn head_size(head: &Parts, limits: &Limits) -> Result<(), Refusal> {
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let bytes: usize = fields.sum();
    if head.headers.len() > limits.headers {
        let (count, limit) = (head.headers.len(), limits.headers);
        return Err(Refusal::client(
            Reason::BadRequest,
            431,
            "request_header_fields_too_large",
            format!("There are {count} headers; the limit is {limit} (`limits.headers`)."),
        ));
    }
    if bytes <= limits.header_bytes {
        return Ok(());
    }
    let limit = limits.header_bytes;
    Err(Refusal::client(
        Reason::BadRequest,
        431,
        "request_header_fields_too_large",
        format!("The headers have {bytes} bytes; the limit is {limit} (`limits.header_bytes`)."),
    ))
}

fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::client(Reason::BadRequest, 400, "bad_request", message)
}

/// The host of an absolute target counts, not the header (RFC 9112 §3.2.2); so it must be as good.
fn target(head: &Parts) -> Result<(), Refusal> {
    let scheme = head.uri.scheme();
    if scheme.is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(bad("The target's scheme must be http or https."));
    }
    match head.uri.authority() {
        Some(authority) if !is_host(authority.as_str().as_bytes()) => {
            Err(bad("The target's host is not a valid host."))
        }
        _ => Ok(()),
    }
}

fn host(head: &Parts) -> Result<(), Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let valid = host.as_bytes().is_empty() && head.uri.authority().is_some()
                || is_host(host.as_bytes());
            if valid { Ok(()) } else { Err(bad("The Host header is not a valid host.")) }
        }
        (None, _) if head.version == Version::HTTP_10 => Ok(()),
        (None, _) => Err(bad("HTTP/1.1 requests need a Host header.")),
        (Some(_), Some(_)) => Err(bad("The request has more than one Host header.")),
    }
}

/// HTTP/2 names the host in `:authority`; a `Host` beside it must say the same (RFC 9113 §8.3.1).
fn authority(head: &Parts) -> Result<(), Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (written, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(bad("The request has more than one Host header."));
    }
    let authority = head.uri.authority().map(|name| name.as_str().as_bytes());
    let host = written.map(HeaderValue::as_bytes);
    let named = match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(bad("The Host header is not the request's :authority."));
        }
        (Some(named), _) | (None, Some(named)) => named,
        (None, None) => return Err(bad("The request names no host: it needs :authority.")),
    };
    if is_host(named) { Ok(()) } else { Err(bad("The request's :authority is not a valid host.")) }
}

/// A name or an address, and perhaps a port.
fn is_host(host: &[u8]) -> bool {
    if is_plain_host(host) {
        return true;
    }
    let Ok(authority) = Authority::try_from(host) else { return false };
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or("?");
    let is_port = port.is_empty() || port == ":" || authority.port_u16().is_some();
    is_port && host.iter().all(|byte| is_host_byte(*byte))
}

/// The usual: a name or an IPv4 address, and perhaps a port.
fn is_plain_host(host: &[u8]) -> bool {
    let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
    let (name, port) = host.split_at(end);
    let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte));
    let digits = port.iter().skip(1).map(|byte| u32::from(byte.wrapping_sub(b'0')));
    let is_port = port.len() <= 6
        && digits.clone().all(|digit| digit < 10)
        && digits.fold(0, |port, digit| port * 10 + digit) <= u32::from(u16::MAX);
    is_name && !name.is_empty() && is_port
}

/// What names, addresses and ports are made of. RFC 3986 allows more, such as commas, by which one
/// header could pass for a list.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(&byte)
}

fn transfer_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(bad("Transfer-Encoding must be exactly one `chunked`.")),
    }
}

fn content_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if is_length(length) => Ok(()),
        _ => Err(bad("Content-Length must be one decimal number.")),
    }
}

/// A decimal number that a body can have, with room for what is counted beside it.
fn is_length(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u64>().is_ok_and(|length| length < u64::MAX - 1)
}

/// Says what is wrong with the head of an instance's answer, if it can be read in two ways or is
/// none to a request of ours. Passing on `Content-Length` beside chunks would show a cut body as
/// whole, and a coding that is taken off here unnamed would leave a body that nobody can read.
pub(super) fn fault_of_answer(head: &response::Parts) -> Option<&'static str> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Some("it switches protocols, which nobody asked for");
    }
    if head.status.as_u16() > 599 {
        return Some("its status is none of HTTP's");
    }
    let coded = head.headers.contains_key(TRANSFER_ENCODING);
    if coded && head.version == Version::HTTP_10 {
        return Some("HTTP/1.0 has no Transfer-Encoding");
    }
    if coded && head.headers.contains_key(CONTENT_LENGTH) {
        return Some("Content-Length stands beside Transfer-Encoding");
    }
    if coded && transfer_encoding(&head.headers).is_err() {
        return Some("Transfer-Encoding is not exactly one `chunked`");
    }
    content_length(&head.headers).err().map(|_| "Content-Length is not one decimal number")
}

/// Whether the client's connection must close after the answer, because its next request could
/// begin elsewhere for somebody else. A chunked head that was not seen on the wire may hide a
/// `Content-Length`.
pub(super) fn must_close(headers: &HeaderMap, seen: Option<&HeadWatch>) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && seen.is_none_or(HeadWatch::has_two_framings)
}

/// Takes out what belongs to the instance's connection. `Content-Length` stays: it is what tells a
/// client that an answer was cut.
pub(super) fn strip_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most heads have none of them, and looking costs less than removing.
    let here: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if here.is_empty() {
        return;
    }
    named_by_connection(headers).for_each(|name| {
        headers.remove(name);
    });
    here.into_iter().for_each(|name| {
        headers.remove(name);
    });
}

/// What `Connection` names, so that it goes no further (RFC 9110 §7.6.1).
pub(super) fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + use<> {
    // The usual `Connection: keep-alive` or `close` names nothing else.
    let named: SmallVec<[HeaderName; 2]> = headers
        .get_all(CONNECTION)
        .iter()
        .filter(|value| !is_plain_connection(value))
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // A client must not be able to have the gateway take out what it relies on.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    named.into_iter()
}

/// Whether a field of a request belongs to the client's connection or to its framing.
pub(super) fn stays_behind(name: &HeaderName) -> bool {
    matches!(*name, CONTENT_LENGTH | EXPECT) || is_hop_by_hop(name)
}

fn is_plain_connection(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
        || value.as_bytes().eq_ignore_ascii_case(b"close")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Request, Response, request::Parts};

    use super::{check, fault_of_answer, named_by_connection, stays_behind, strip_response};
    use crate::gateway::snapshot::Limits;

    const LIMITS: Limits = Limits {
        max_body_bytes: 1000,
        memory_body_bytes: 100,
        spool_dir: std::path::PathBuf::new(),
        header_bytes: 8192,
        headers: 100,
        uri_bytes: 40,
        h2_streams: 128,
        body_rate: 0,
        connections_per_address: None,
    };

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn status(method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        check(&head(method, uri, headers), None, &LIMITS)
            .map_or_else(|refusal| refusal.status, |()| 200)
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        type Case = (u16, &'static str, &'static str, &'static [(&'static str, &'static str)]);
        const H: (&str, &str) = ("host", "gateway");
        let cases: &[Case] = &[
            (200, "GET", "/v1/info", &[H]),
            (200, "GET", "http://gateway:80/v1/info", &[H]),
            (200, "POST", "/v1/", &[H, ("transfer-encoding", "Chunked")]),
            (200, "POST", "/v1/", &[H, ("content-length", "10")]),
            (400, "GET", "/", &[]),
            (400, "GET", "/", &[H, ("host", "gateway")]),
            (400, "GET", "/", &[("host", "a b")]),
            (400, "GET", "/", &[("host", "user@gateway")]),
            (400, "GET", "/", &[("host", "a,b")]),
            (200, "GET", "/", &[("host", "[::1]:80")]),
            (400, "GET", "/", &[("host", "a:99999")]),
            (400, "GET", "/", &[("host", "a:b")]),
            (400, "GET", "http://user:secret@gateway/", &[H]),
            (400, "GET", "ftp://gateway/", &[H]),
            (400, "POST", "/", &[H, ("transfer-encoding", "gzip, chunked")]),
            (400, "POST", "/", &[H, ("transfer-encoding", "identity")]),
            (
                400,
                "POST",
                "/",
                &[H, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            ),
            (400, "POST", "/", &[H, ("content-length", "10"), ("content-length", "10")]),
            (400, "POST", "/", &[H, ("content-length", "10, 10")]),
            (400, "POST", "/", &[H, ("content-length", "+10")]),
            (400, "POST", "/", &[H, ("content-length", "")]),
            (405, "TRACE", "/", &[H]),
            (405, "CONNECT", "gateway:80", &[H]),
            (414, "GET", "/v1/info?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &[H]),
        ];
        for (expected, method, uri, headers) in cases {
            assert_eq!(status(method, uri, headers), *expected, "{method} {uri} {headers:?}");
        }
    }

    #[test]
    fn http2_names_its_host_once() {
        type Case = (u16, &'static str, &'static [(&'static str, &'static str)]);
        let cases: &[Case] = &[
            (200, "https://gateway/v1/info", &[]),
            (200, "https://gateway:8443/v1/info", &[("host", "Gateway:8443")]),
            (200, "/v1/info", &[("host", "gateway")]),
            (400, "/v1/info", &[]),
            (400, "https://gateway/v1/info", &[("host", "other")]),
            (400, "https://gateway/v1/info", &[("host", "gateway"), ("host", "gateway")]),
            (400, "https://user@gateway/v1/info", &[]),
            (400, "/v1/info", &[("host", "")]),
        ];
        for (expected, uri, headers) in cases {
            let mut head = head("GET", uri, headers);
            head.version = http::Version::HTTP_2;
            let status =
                check(&head, None, &LIMITS).map_or_else(|refusal| refusal.status, |()| 200);
            assert_eq!(status, *expected, "{uri} {headers:?}");
        }
    }

    #[test]
    fn an_answer_that_can_be_read_in_two_ways_has_a_fault() {
        let fault = |status: u16, headers: &[(&str, &str)]| {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            fault_of_answer(&response.body(()).unwrap().into_parts().0).is_some()
        };
        let (chunked, length) = (("transfer-encoding", "chunked"), ("content-length", "5"));
        for headers in [&[][..], &[chunked], &[length]] {
            assert!(!fault(200, headers), "{headers:?}");
        }
        let twofold: &[&[(&str, &str)]] = &[
            &[chunked, length],
            &[chunked, chunked],
            &[length, length],
            &[("transfer-encoding", "gzip")],
            &[("content-length", "5, 5")],
        ];
        for headers in twofold {
            assert!(fault(200, headers), "{headers:?}");
        }
        assert!(fault(101, &[]) && fault(600, &[]));
    }

    #[test]
    fn headers_of_the_connection_do_not_travel() {
        let headers = [
            ("connection", "keep-alive, X-Private , host, content-length"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic eDp5"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("host", "gateway"),
            ("x-kept", "1"),
        ];
        let mut headers: HeaderMap = head("GET", "/", &headers).headers;
        let named: Vec<_> = named_by_connection(&headers).collect();
        let left = headers.keys().filter(|name| !stays_behind(name) && !named.contains(name));
        assert_eq!(sorted(left), ["host", "x-kept"]);
        strip_response(&mut headers);
        assert_eq!(sorted(headers.keys()), ["expect", "host", "x-kept"]);
    }

    fn sorted<'a>(names: impl Iterator<Item = &'a http::HeaderName>) -> Vec<&'a str> {
        let mut names: Vec<_> = names.map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }
}
