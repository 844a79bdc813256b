//! What HTTP/1 leaves ambiguous is refused here or taken out, in both directions.
//!
//! What is no HTTP at all has already been refused. Beside `Transfer-Encoding`, `Content-Length` does not count and the connection closes after the answer
//! (RFC 9112 §6.3). Neither is passed on: the gateway frames its own request to the instance.

use http::uri::{Authority, Scheme};
use http::{Method, StatusCode, Version};

use crate::gateway::http::errors::{self, bad_request};
use crate::gateway::http::head::{AnswerHead, RequestHead};
use crate::gateway::http::header_name::Name;
use crate::gateway::http::headers::{Fields, Said, decimal};
use crate::gateway::http::limits::Limits;
use crate::model::GatewayError;

/// No method that is registered has more than half as many letters; RFC 9110 §15.6.2 has 501 for others.
pub(crate) const LONGEST_METHOD: usize = 32;

/// Refuses a request whose head can be read in two ways.
///
/// # Errors
/// 400, 405 or 414 with what was wrong.
pub(crate) fn check(head: &RequestHead, limits: &Limits) -> Result<(), GatewayError> {
    if head.method.as_str().len() > LONGEST_METHOD {
        return Err(errors::method_unknown());
    }
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(errors::method_not_allowed(&head.method));
    }
    let uri_bytes = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if uri_bytes > limits.uri_bytes {
        let detail = format!("{uri_bytes} bytes; the limit is {}", limits.uri_bytes);
        return Err(errors::uri_too_long().with_detail(detail));
    }
    head_size(head, limits)?;
    target(head)?;
    match head.version {
        Version::HTTP_2 => authority(head)?,
        _ => host(head)?,
    }
    if head.fields.has(Name::TransferEncoding) {
        transfer_encoding(&head.fields)?;
        if head.version == Version::HTTP_10 {
            // RFC 9112 §6.1: who passed it on may not have understood it.
            return Err(bad_request(errors::OLD_CHUNKS));
        }
    }
    content_length(&head.fields)
}

/// Who reads a head bounds it, but only roughly: one that came in one piece passes.
fn head_size(head: &RequestHead, limits: &Limits) -> Result<(), GatewayError> {
    let (bytes, count) = (head.fields.size(), head.fields.count());
    if count <= limits.headers && bytes <= limits.header_bytes {
        return Ok(());
    }
    let (most, limit) = (limits.headers, limits.header_bytes);
    let detail = format!("{count} headers, {bytes} bytes; the limits are {most} and {limit}");
    Err(errors::headers_too_large().with_detail(detail))
}

/// The host of an absolute target counts, not the header (RFC 9112 §3.2.2); so it must be as good.
fn target(head: &RequestHead) -> Result<(), GatewayError> {
    let scheme = head.uri.scheme();
    if scheme.is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(bad_request(errors::BAD_SCHEME));
    }
    match head.uri.authority() {
        Some(authority) if !is_host(authority.as_str().as_bytes()) => {
            Err(bad_request(errors::BAD_TARGET_HOST))
        }
        _ => Ok(()),
    }
}

fn host(head: &RequestHead) -> Result<(), GatewayError> {
    match head.fields.said(Name::Host) {
        Said::Once(host) => {
            let valid = host.is_empty() && head.uri.authority().is_some() || is_host(host);
            if valid { Ok(()) } else { Err(bad_request(errors::BAD_HOST)) }
        }
        Said::Never if head.version == Version::HTTP_10 => Ok(()),
        Said::Never => Err(bad_request(errors::NO_HOST)),
        Said::Often => Err(bad_request(errors::TWO_HOSTS)),
    }
}

/// HTTP/2 names the host in `:authority`; a `Host` beside it must say the same (RFC 9113 §8.3.1).
fn authority(head: &RequestHead) -> Result<(), GatewayError> {
    let authority = head.uri.authority().map(|name| name.as_str().as_bytes());
    let named = match (authority, head.fields.said(Name::Host)) {
        (_, Said::Often) => return Err(bad_request(errors::TWO_HOSTS)),
        (Some(authority), Said::Once(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(bad_request(errors::OTHER_HOST));
        }
        (Some(named), _) | (None, Said::Once(named)) => named,
        (None, Said::Never) => return Err(bad_request(errors::NO_AUTHORITY)),
    };
    if is_host(named) { Ok(()) } else { Err(bad_request(errors::BAD_AUTHORITY)) }
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
    let end = host.iter().position(|byte| !IS_OF_A_NAME[usize::from(*byte)]);
    let (name, port) = host.split_at(end.unwrap_or(host.len()));
    let is_port = match port {
        [] | b":" => true,
        [b':', digits @ ..] => decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX)),
        _ => false,
    };
    is_port && !name.is_empty()
}

/// Letters, digits, `-` and `.`: looked up, since this is asked for each byte of each host.
const IS_OF_A_NAME: [bool; 256] = {
    let (mut is, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        is[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        byte += 1;
    }
    is
};

/// What names, addresses and ports are made of. RFC 3986 allows more, such as commas, by which one
/// header could pass for a list.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(&byte)
}

fn transfer_encoding(fields: &Fields) -> Result<(), GatewayError> {
    match fields.said(Name::TransferEncoding) {
        Said::Never => Ok(()),
        Said::Once(coding) if coding.eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(bad_request(errors::BAD_CODING)),
    }
}

fn content_length(fields: &Fields) -> Result<(), GatewayError> {
    match fields.said(Name::ContentLength) {
        Said::Never => Ok(()),
        // With room for what is counted beside it.
        Said::Once(length) if decimal(length).is_some_and(|length| length < u64::MAX - 1) => Ok(()),
        _ => Err(bad_request(errors::BAD_LENGTH)),
    }
}

/// Says what is wrong with the head of an instance's answer, if it can be read in two ways or is
/// none to a request of ours. Passing on `Content-Length` beside chunks would show a cut body as
/// whole, and a coding that is taken off here unnamed would leave a body that nobody can read.
pub(crate) fn fault_of_answer(head: &AnswerHead) -> Option<&'static str> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Some("it switches protocols, which nobody asked for");
    }
    if head.status.as_u16() > 599 {
        return Some("its status is none of HTTP's");
    }
    let coded = head.fields.has(Name::TransferEncoding);
    if coded && head.version == Version::HTTP_10 {
        return Some("HTTP/1.0 has no Transfer-Encoding");
    }
    if coded && head.fields.has(Name::ContentLength) {
        return Some("Content-Length stands beside Transfer-Encoding");
    }
    if coded && transfer_encoding(&head.fields).is_err() {
        return Some("Transfer-Encoding is not exactly one `chunked`");
    }
    content_length(&head.fields).err().map(|_| "Content-Length is not one decimal number")
}

/// Whether the client's connection must close after the answer, because its next request could
/// begin elsewhere for somebody else.
pub(crate) fn must_close(fields: &Fields) -> bool {
    fields.has(Name::TransferEncoding) && fields.has(Name::ContentLength)
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};

    use super::{check, fault_of_answer};
    use crate::gateway::http::head::{AnswerHead, RequestHead};
    use crate::gateway::http::headers::Fields;
    use crate::gateway::http::limits::Limits;

    const LIMITS: Limits = Limits {
        max_body_bytes: 1000,
        client_body_bytes: 100,
        memory_body_bytes: 100,
        spool_dir: std::path::PathBuf::new(),
        header_bytes: 8192,
        headers: 100,
        uri_bytes: 40,
        h2_streams: 128,
        body_rate: 0,
        min_answer_rate: 0,
        connections_per_address: None,
    };

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> RequestHead {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        RequestHead::of_parts(request.body(()).unwrap().into_parts().0)
    }

    fn status(method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        check(&head(method, uri, headers), &LIMITS).map_or_else(|refusal| refusal.status, |()| 200)
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
            let status = check(&head, &LIMITS).map_or_else(|refusal| refusal.status, |()| 200);
            assert_eq!(status, *expected, "{uri} {headers:?}");
        }
    }

    #[test]
    fn an_answer_that_can_be_read_in_two_ways_has_a_fault() {
        let fault = |status: u16, headers: &[(&str, &str)]| {
            let (status, fields) = (status.try_into().unwrap(), Fields::of_lines(headers));
            fault_of_answer(&AnswerHead { status, version: Version::HTTP_11, fields }).is_some()
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
}
