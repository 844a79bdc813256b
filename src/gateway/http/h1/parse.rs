//! Heads as `httparse` reads them.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{Method, StatusCode, Uri, Version};
use httparse::{Error, Header, Status};

use crate::gateway::http::head::{AnswerHead, RequestHead};
use crate::gateway::http::headers::Fields;

/// Fields that are read without an allocation; a head that has more is read again.
const USUAL_FIELDS: usize = 32;
/// Fields of an answer.
const MOST_FIELDS: usize = 100;

/// What was at the front of a connection's bytes.
pub(crate) enum Found<H> {
    /// A head, and how many bytes it has.
    Head(H, usize),
    /// A part of one.
    Part,
}

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It is not HTTP/1.
    Malformed,
    /// Its target is longer than any that can be taken.
    UriTooLong,
    /// It has too many fields.
    TooMany,
}

impl From<Error> for Bad {
    fn from(error: Error) -> Self {
        match error {
            Error::TooManyHeaders => Self::TooMany,
            _ => Self::Malformed,
        }
    }
}

/// The head of a request with up to `most` fields.
///
/// # Errors
/// The bytes are none, however they go on.
pub(crate) fn request(bytes: &[u8], most: usize) -> Result<Found<RequestHead>, Bad> {
    fields(most, |fields| {
        let mut parsed = httparse::Request::new(&mut []);
        let status = parsed.parse_with_uninit_headers(bytes, fields)?;
        let Status::Complete(length) = status else { return Ok(Found::Part) };
        let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
            .map_err(|_| Bad::Malformed)?;
        let target = Bytes::copy_from_slice(parsed.path.unwrap_or_default().as_bytes());
        let uri = Uri::from_maybe_shared(target).map_err(|error| {
            // `http` does not say which it is; its limit is 65,534 bytes.
            if length > usize::from(u16::MAX) && error.to_string().contains("long") {
                Bad::UriTooLong
            } else {
                Bad::Malformed
            }
        })?;
        let (version, fields) = (version(parsed.version), of(&bytes[..length], parsed.headers));
        let head = RequestHead { method, uri, version, fields };
        Ok(Found::Head(head, length))
    })
}

/// The head of an answer.
///
/// # Errors
/// The bytes are none, however they go on.
pub(crate) fn answer(bytes: &[u8]) -> Result<Found<AnswerHead>, Bad> {
    fields(MOST_FIELDS, |fields| {
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, bytes, fields)?;
        let Status::Complete(length) = status else { return Ok(Found::Part) };
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Bad::Malformed)?;
        let (version, fields) = (version(parsed.version), of(&bytes[..length], parsed.headers));
        let head = AnswerHead { status, version, fields };
        Ok(Found::Head(head, length))
    })
}

fn of(head: &[u8], fields: &[Header<'_>]) -> Fields {
    Fields::of_parts(head, fields.iter().map(|field| (field.name.as_bytes(), field.value)))
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// Parses with room for the usual number of fields, and again with room for `most` if they are more.
fn fields<'b, H>(
    most: usize,
    parse: impl Fn(&mut [MaybeUninit<Header<'b>>]) -> Result<Found<H>, Bad>,
) -> Result<Found<H>, Bad> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    match parse(&mut usual[..most.min(USUAL_FIELDS)]) {
        Err(Bad::TooMany) if most > USUAL_FIELDS => {
            let mut many: Vec<_> = (0..most).map(|_| MaybeUninit::uninit()).collect();
            parse(&mut many)
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::{Bad, Found, answer, request};
    use crate::gateway::http::header_name::Name;

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let text = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: g\r\nX-A: 1\r\nCookie:  2\t\r\n\r\nrest";
        for end in 1..text.len() - 4 {
            assert!(matches!(request(&text[..end], 100), Ok(Found::Part)), "{end}");
        }
        let Ok(Found::Head(head, length)) = request(text, 100) else { panic!() };
        assert_eq!((head.uri.path(), head.version), ("/v1/x", Version::HTTP_11));
        let fields: Vec<_> = head.fields.iter().map(|field| (field.spelt, field.value)).collect();
        assert_eq!(fields, [(&b"Host"[..], &b"g"[..]), (b"X-A", b"1"), (b"Cookie", b"2")]);
        assert_eq!(head.fields.get(Name::Cookie), Some(&b"2"[..]));
        assert_eq!(&text[length..], b"rest");
    }

    #[test]
    fn fields_are_bounded() {
        let head = |count: usize| {
            let fields: String = (0..count).map(|n| format!("X-{n}: 1\r\n")).collect();
            format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes()
        };
        assert!(matches!(request(&head(32), 100), Ok(Found::Head(..))));
        assert!(matches!(request(&head(100), 100), Ok(Found::Head(..))));
        assert_eq!(request(&head(101), 100).err(), Some(Bad::TooMany));
        assert_eq!(request(&head(11), 10).err(), Some(Bad::TooMany));
    }

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text = b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nbody";
        assert!(matches!(answer(&text[..20]), Ok(Found::Part)));
        let Ok(Found::Head(head, length)) = answer(text) else { panic!() };
        assert_eq!((head.status.as_u16(), head.version, length), (200, Version::HTTP_10, 30));
        assert!(answer(b"HTTP/1.1 2000 OK\r\n\r\n").is_err() && answer(b"garbage\r\n").is_err());
    }
}
