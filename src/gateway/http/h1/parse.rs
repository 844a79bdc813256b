//! Heads as `httparse` reads them.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{Method, StatusCode, Uri, Version};
use httparse::{Error, Header, Status};

use crate::gateway::http::head::{RequestHead, ResponseHead};
use crate::gateway::http::headers::Headers;

/// Headers that are read without an allocation; a head that has more is read again.
const USUAL_FIELDS: usize = 32;
const MOST_FIELDS: usize = 100;

/// What was at the front of a connection's bytes.
pub(crate) enum Parsed<H> {
    /// A head, and how many bytes it has.
    Head(H, usize),
    Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParseError {
    /// It is not HTTP/1.
    Malformed,
    /// Its target is longer than any that can be taken.
    UriTooLong,
    TooMany,
}

impl From<Error> for ParseError {
    fn from(error: Error) -> Self {
        match error {
            Error::TooManyHeaders => Self::TooMany,
            _ => Self::Malformed,
        }
    }
}

/// The head of a request with up to `most` headers.
///
/// # Errors
/// The bytes are none, however they go on.
pub(crate) fn request(bytes: &[u8], most: usize) -> Result<Parsed<RequestHead>, ParseError> {
    headers(most, |headers| {
        let mut parsed = httparse::Request::new(&mut []);
        let status = parsed.parse_with_uninit_headers(bytes, headers)?;
        let Status::Complete(length) = status else { return Ok(Parsed::Part) };
        let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
            .map_err(|_| ParseError::Malformed)?;
        let target = Bytes::copy_from_slice(parsed.path.unwrap_or_default().as_bytes());
        let uri = Uri::from_maybe_shared(target).map_err(|error| {
            // `http` does not say which it is; its limit is 65,534 bytes.
            if length > usize::from(u16::MAX) && error.to_string().contains("long") {
                ParseError::UriTooLong
            } else {
                ParseError::Malformed
            }
        })?;
        let (version, headers) = (version(parsed.version), of(&bytes[..length], parsed.headers));
        let head = RequestHead { method, uri, version, headers };
        Ok(Parsed::Head(head, length))
    })
}

/// The head of a response.
///
/// # Errors
/// The bytes are none, however they go on.
pub(crate) fn response(bytes: &[u8]) -> Result<Parsed<ResponseHead>, ParseError> {
    headers(MOST_FIELDS, |headers| {
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, bytes, headers)?;
        let Status::Complete(length) = status else { return Ok(Parsed::Part) };
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(ParseError::Malformed)?;
        let (version, headers) = (version(parsed.version), of(&bytes[..length], parsed.headers));
        let head = ResponseHead { status, version, headers };
        Ok(Parsed::Head(head, length))
    })
}

fn of(head: &[u8], headers: &[Header<'_>]) -> Headers {
    Headers::of_parts(head, headers.iter().map(|field| (field.name.as_bytes(), field.value)))
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// Parses with room for the usual number of headers, and again with room for `most` if they are more.
fn headers<'b, H>(
    most: usize,
    parse: impl Fn(&mut [MaybeUninit<Header<'b>>]) -> Result<Parsed<H>, ParseError>,
) -> Result<Parsed<H>, ParseError> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    match parse(&mut usual[..most.min(USUAL_FIELDS)]) {
        Err(ParseError::TooMany) if most > USUAL_FIELDS => {
            let mut many: Vec<_> = (0..most).map(|_| MaybeUninit::uninit()).collect();
            parse(&mut many)
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::{ParseError, Parsed, request, response};
    use crate::gateway::http::header_name::KnownHeader;

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let text = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: g\r\nX-A: 1\r\nCookie:  2\t\r\n\r\nrest";
        for end in 1..text.len() - 4 {
            assert!(matches!(request(&text[..end], 100), Ok(Parsed::Part)), "{end}");
        }
        let Ok(Parsed::Head(head, length)) = request(text, 100) else { panic!() };
        assert_eq!((head.uri.path(), head.version), ("/v1/x", Version::HTTP_11));
        let headers: Vec<_> = head.headers.iter().map(|field| (field.spelt, field.value)).collect();
        assert_eq!(headers, [(&b"Host"[..], &b"g"[..]), (b"X-A", b"1"), (b"Cookie", b"2")]);
        assert_eq!(head.headers.get(KnownHeader::Cookie), Some(&b"2"[..]));
        assert_eq!(&text[length..], b"rest");
    }

    #[test]
    fn fields_are_bounded() {
        let head = |count: usize| {
            let headers: String = (0..count).map(|n| format!("X-{n}: 1\r\n")).collect();
            format!("GET / HTTP/1.1\r\n{headers}\r\n").into_bytes()
        };
        assert!(matches!(request(&head(32), 100), Ok(Parsed::Head(..))));
        assert!(matches!(request(&head(100), 100), Ok(Parsed::Head(..))));
        assert_eq!(request(&head(101), 100).err(), Some(ParseError::TooMany));
        assert_eq!(request(&head(11), 10).err(), Some(ParseError::TooMany));
    }

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text = b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nbody";
        assert!(matches!(response(&text[..20]), Ok(Parsed::Part)));
        let Ok(Parsed::Head(head, length)) = response(text) else { panic!() };
        assert_eq!((head.status.as_u16(), head.version, length), (200, Version::HTTP_10, 30));
        assert!(
            response(b"HTTP/1.1 2000 OK\r\n\r\n").is_err() && response(b"garbage\r\n").is_err()
        );
    }
}
