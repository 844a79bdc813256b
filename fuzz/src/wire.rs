//! What the gateway reads from a connection, beside hyper.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, ErrorKind};

use difygate::gateway::fuzzing::{Coming, Front, Lines, Seen, answer, passed_on, request};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;

use crate::oracle::{builder, lengths, serve};
use crate::same_in_pieces;

/// A request that can only be followed by chunks.
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
/// Up to so many bytes, a head is cut everywhere; a longer one in as many places.
const CUTS: usize = 256;

/// Reads the input as a client's connection, as an instance's, and as chunks. What is read is within
/// the bytes, does not depend on how they are cut, and is what hyper reads.
pub fn wire(input: &[u8]) {
    requests(input);
    requests(&[CHUNKED, input].concat());
    let Some(head) = front(input, answer) else { return };
    let after = &input[head.length..];
    if let Some(on) = &head.on {
        let on = map(on);
        assert!(on.get_all("content-length").iter().count() <= 1, "{on:?}");
        for name in ["connection", "keep-alive", "trailer", "transfer-encoding", "upgrade"] {
            assert!(!on.contains_key(name), "{name} goes on");
        }
        body(&head, after);
    }
}

/// What belongs to one connection.
const HOPS: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// A request that goes on.
#[derive(Debug, PartialEq)]
struct Asked {
    line: String,
    on: HeaderMap,
    body: Vec<u8>,
    end: End,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Whole,
    /// More is to come.
    Cut,
    /// It is not valid.
    Bad,
}

/// The gateway and hyper read the same, up to where one of them reads no more.
fn requests(input: &[u8]) {
    let (own, hyper) = (by_own(input), by_hyper(input));
    for (own, hyper) in own.iter().zip(&hyper) {
        assert_eq!((&own.line, &own.on), (&hyper.line, &hyper.on));
        let common = own.body.len().min(hyper.body.len());
        assert_eq!(own.body[..common], hyper.body[..common]);
        match (own.end, hyper.end) {
            (End::Bad, _) => {}
            // It bounds trailers by their count, too, and counts their line ends.
            (_, End::Bad) => assert!(input.len() >= 16 << 10 || lines(input) > 100, "{own:?}"),
            (one, other) => assert_eq!((one, own.body.len()), (other, hyper.body.len())),
        }
    }
    // What the gateway takes, hyper takes.
    if own.len() > hyper.len() {
        assert_eq!(hyper.last().map(|asked| asked.end), Some(End::Bad), "{own:?} {hyper:?}");
    }
    if own.is_empty() && !hyper.is_empty() {
        // hyper hides a length beside chunks, whatever it is.
        let Front::Head(head) = request(input) else { panic!("no head, but {hyper:?}") };
        let has = |name: &[u8]| head.headers.iter().any(|field| field.0.eq_ignore_ascii_case(name));
        assert!(has(b"content-length") && has(b"transfer-encoding"), "{hyper:?}");
    }
}

fn lines(input: &[u8]) -> usize {
    input.iter().filter(|byte| **byte == b'\n').count()
}

fn by_own(mut input: &[u8]) -> Vec<Asked> {
    let mut asked = Vec::new();
    while let Some(head) = front(input, request) {
        let Some(on) = &head.on else { break };
        let on = map(on);
        check(&on);
        let is_length =
            |(name, _): &&(Vec<u8>, Vec<u8>)| name.eq_ignore_ascii_case(b"content-length");
        assert!(head.headers.iter().filter(is_length).count() <= 1, "{:?}", head.headers);
        let (body, end, used) = body(&head, &input[head.length..]);
        input = &input[head.length + used..];
        // hyper does not read a `Connection` that is not ASCII.
        let is_odd = |(name, value): &(Vec<u8>, Vec<u8>)| {
            name.eq_ignore_ascii_case(b"connection") && !value.is_ascii()
        };
        let goes_on = head.stays && end == End::Whole && !head.headers.iter().any(is_odd);
        asked.push(Asked { line: head.line, on, body, end });
        if !goes_on {
            break;
        }
    }
    asked
}

/// Whether headers can be read in one way, and are none of the connection's.
fn check(headers: &HeaderMap) {
    for name in HOPS.iter().chain(&["content-length"]) {
        assert!(!headers.contains_key(*name), "{name} goes on");
    }
    let hosts: Vec<_> = headers.get_all("host").iter().collect();
    assert!(hosts.len() <= 1, "{hosts:?}");
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(byte);
    assert!(hosts.iter().all(|host| host.as_bytes().iter().all(is_host)), "{hosts:?}");
}

/// The head at the front of the input, if there is one; the same wherever the input is cut.
fn front(input: &[u8], read: fn(&[u8]) -> Front) -> Option<Seen> {
    let head = match read(input) {
        Front::Head(head) => Some(head),
        Front::Part => None,
        Front::Bad => return None,
    };
    let length = head.as_ref().map_or(input.len(), |head| head.length);
    assert!(length <= input.len());
    let last = length.saturating_sub(8)..length;
    for end in (0..length).step_by(length / CUTS + 1).chain(last) {
        let part = read(&input[..end]);
        assert!(matches!(part, Front::Part), "{end} of {length} bytes are {part:?}");
    }
    if let Some(head) = &head {
        let alone = read(&input[..length]);
        let Front::Head(alone) = alone else { panic!("without what follows, it is {alone:?}") };
        assert_eq!((&alone.line, &alone.headers), (&head.line, &head.headers));
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        for (name, value) in &head.headers {
            assert!(!name.is_empty() && name.iter().copied().all(is_token), "{name:?}");
            assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)), "{value:?}");
            assert!(!is_blank(value.first()) && !is_blank(value.last()), "{value:?}");
        }
        assert!(!head.line.bytes().any(|byte| byte < b' ' || byte == 127), "{:?}", head.line);
    }
    head
}

/// A byte of a name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// For hyper; nothing is lost.
fn map(lines: &Lines) -> HeaderMap {
    let field = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let name = HeaderName::from_bytes(name).expect("a name for hyper");
        (name, HeaderValue::from_bytes(value).expect("a value for hyper"))
    };
    let mut map = HeaderMap::new();
    lines.iter().map(field).for_each(|(name, value)| {
        map.append(name, value);
    });
    map
}

/// The body of a head in what follows it, how it ends there, and how many bytes it has.
fn body(head: &Seen, input: &[u8]) -> (Vec<u8>, End, usize) {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| read(head.body(), pieces);
    same_in_pieces(input, read);
    let (data, end, used) = read(&mut std::iter::once(input));
    assert!(used <= input.len() && data.len() <= used);
    if let Some(length) = head.body().left() {
        let here = usize::try_from(length).unwrap_or(usize::MAX).min(input.len());
        assert_eq!((&data[..], used), (&input[..here], here));
        assert_eq!(end == End::Whole, here as u64 == length);
    }
    (data, end, used)
}

/// Reads as a connection does: until there is an end, and no further.
fn read(mut body: Coming, pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<u8>, End, usize) {
    let (mut data, mut used) = (Vec::new(), 0);
    for piece in pieces {
        if body.is_over() {
            break;
        }
        match body.read(piece, &mut data) {
            Ok(taken) => {
                assert!(taken == piece.len() || body.is_over(), "{taken} of {}", piece.len());
                used += taken;
            }
            // Where that was seen depends on the pieces.
            Err(_) => {
                let used = data.len();
                return (data, End::Bad, used);
            }
        }
    }
    let end = if body.is_over() { End::Whole } else { End::Cut };
    (data, end, used)
}

fn by_hyper(input: &[u8]) -> Vec<Asked> {
    let (first, asked) = (RefCell::new(Some(input)), RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let (head, mut body) = request.into_parts();
        // hyper joins equal lengths, which the gateway refuses.
        let repeated = first.take().is_some_and(|wire| lengths(wire) > 1);
        let on = passed_on(&head).filter(|_| !repeated);
        let line = format!("{} {} {:?}", head.method, head.uri, head.version);
        let asked = &asked;
        async move {
            let mut response = Response::new(String::new());
            let Some(on) = on else {
                // As the gateway does.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return Ok::<_, Infallible>(response);
            };
            let index = asked.borrow().len();
            asked.borrow_mut().push(Asked { line, on, body: Vec::new(), end: End::Cut });
            let end = loop {
                match body.frame().await.transpose() {
                    Ok(Some(frame)) => {
                        let data = frame.into_data().unwrap_or_default();
                        asked.borrow_mut()[index].body.extend_from_slice(&data);
                    }
                    Ok(None) => break End::Whole,
                    Err(error) if is_cut(&error) => break End::Cut,
                    Err(_) => break End::Bad,
                }
            };
            asked.borrow_mut()[index].end = end;
            Ok(response)
        }
    });
    // It would not answer the last request if it minded that nothing else comes.
    serve(builder().half_close(true), input, service);
    asked.into_inner()
}

/// Whether the end of the input is why there is no more.
fn is_cut(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_incomplete_message() || io.is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof)
}
