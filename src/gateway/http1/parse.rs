//! Heads as `httparse` reads them, in the types of `http`.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version, request, response};
use httparse::{Error, Header, Status};

/// Fields that are read without an allocation; a head that has more is read again.
const USUAL_FIELDS: usize = 32;
/// Fields of an answer.
const MOST_FIELDS: usize = 100;

/// What was at the front of a connection's bytes.
pub(super) enum Found<H> {
    /// A head, and how many bytes it has.
    Head(H, usize),
    /// A part of one.
    Part,
}

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
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
pub(super) fn request(bytes: &[u8], most: usize) -> Result<Found<request::Parts>, Bad> {
    fields(most, |fields| {
        let mut parsed = httparse::Request::new(&mut []);
        let status = parsed.parse_with_uninit_headers(bytes, fields)?;
        let Status::Complete(length) = status else { return Ok(Found::Part) };
        let copy = Copy::of(bytes, length);
        let mut head = Request::new(()).into_parts().0;
        head.method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
            .map_err(|_| Bad::Malformed)?;
        let target = copy.slice(parsed.path.unwrap_or_default().as_bytes());
        head.uri = Uri::from_maybe_shared(target).map_err(|error| {
            // `http` does not say which it is; its limit is 65,534 bytes.
            if length > usize::from(u16::MAX) && error.to_string().contains("long") {
                Bad::UriTooLong
            } else {
                Bad::Malformed
            }
        })?;
        head.version = version(parsed.version);
        head.headers = copy.headers(parsed.headers)?;
        Ok(Found::Head(head, length))
    })
}

/// The head of an answer.
///
/// # Errors
/// The bytes are none, however they go on.
pub(super) fn answer(bytes: &[u8]) -> Result<Found<response::Parts>, Bad> {
    fields(MOST_FIELDS, |fields| {
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, bytes, fields)?;
        let Status::Complete(length) = status else { return Ok(Found::Part) };
        let copy = Copy::of(bytes, length);
        let mut head = Response::new(()).into_parts().0;
        head.status =
            parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Bad::Malformed)?;
        head.version = version(parsed.version);
        head.headers = copy.headers(parsed.headers)?;
        Ok(Found::Head(head, length))
    })
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

/// A head's own bytes, which its values are parts of.
struct Copy<'a> {
    from: &'a [u8],
    bytes: Bytes,
}

impl<'a> Copy<'a> {
    fn of(bytes: &'a [u8], length: usize) -> Self {
        let from = &bytes[..length];
        Self { from, bytes: Bytes::copy_from_slice(from) }
    }

    /// The copy of a part of the original.
    fn slice(&self, part: &[u8]) -> Bytes {
        let begin = (part.as_ptr() as usize).saturating_sub(self.from.as_ptr() as usize);
        match begin + part.len() <= self.from.len() {
            true => self.bytes.slice(begin..begin + part.len()),
            false => Bytes::copy_from_slice(part),
        }
    }

    fn headers(&self, fields: &[Header<'_>]) -> Result<HeaderMap, Bad> {
        // An answer gets two of the gateway's own.
        let mut headers = HeaderMap::with_capacity(fields.len() + 2);
        for field in fields {
            let name = match usual(field.name.as_bytes()) {
                Some(name) => name,
                None => {
                    HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Bad::Malformed)?
                }
            };
            let value = HeaderValue::from_maybe_shared(self.slice(field.value))
                .map_err(|_| Bad::Malformed)?;
            headers.append(name, value);
        }
        Ok(headers)
    }
}

/// The names of most fields, as they are mostly spelt: a comparison costs less than finding out which
/// name it is.
fn usual(name: &[u8]) -> Option<HeaderName> {
    Some(match name {
        b"Host" | b"host" => header::HOST,
        b"Date" | b"date" => header::DATE,
        b"Accept" | b"accept" => header::ACCEPT,
        b"Server" | b"server" => header::SERVER,
        b"Connection" | b"connection" => header::CONNECTION,
        b"User-Agent" | b"user-agent" => header::USER_AGENT,
        b"Content-Type" | b"content-type" => header::CONTENT_TYPE,
        b"Authorization" | b"authorization" => header::AUTHORIZATION,
        b"Content-Length" | b"content-length" => header::CONTENT_LENGTH,
        b"Accept-Encoding" | b"accept-encoding" => header::ACCEPT_ENCODING,
        b"Transfer-Encoding" | b"transfer-encoding" => header::TRANSFER_ENCODING,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Version};

    use super::{Bad, Found, answer, request, usual};

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let text = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: g\r\nX-A: 1\r\nX-A: 2\r\n\r\nrest";
        for end in 1..text.len() - 4 {
            assert!(matches!(request(&text[..end], 100), Ok(Found::Part)), "{end}");
        }
        let Ok(Found::Head(head, length)) = request(text, 100) else { panic!() };
        assert_eq!((head.uri.path(), head.version), ("/v1/x", Version::HTTP_11));
        assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(&text[length..], b"rest");
    }

    #[test]
    fn a_usual_name_is_the_same_however_it_is_found() {
        let names = "Host Date Accept Server Connection User-Agent Content-Type Authorization \
                     Content-Length Accept-Encoding Transfer-Encoding";
        for name in names.split_whitespace() {
            for spelt in [name.to_owned(), name.to_lowercase()] {
                let found = usual(spelt.as_bytes());
                assert_eq!(found, HeaderName::from_bytes(spelt.as_bytes()).ok(), "{spelt}");
            }
        }
        assert_eq!(usual(b"HOST"), None);
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
