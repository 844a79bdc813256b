//! Heads of requests, as a connection of the gateway reads them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Waker};

use difygate::gateway::fuzzing::passed_on;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;

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

/// Reads the input as a client's connection. What goes on to an instance can be read in one way.
pub fn head(input: &[u8]) {
    let first = RefCell::new(Some(input));
    let service = service_fn(|request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let wire = first.take();
        if let Some(headers) = passed_on(&head, wire) {
            check(&headers);
            let lengths = wire.map_or(0, lengths);
            assert!(lengths <= 1, "{lengths} lengths were passed on");
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            assert!(!target.bytes().any(|byte| byte <= b' ' || byte == 127), "{target:?}");
        }
        async move {
            let _ = body.collect().await;
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    serve(&builder(), input, service);
}

/// hyper as it serves the gateway's connections.
pub(crate) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(64 << 10).max_headers(100).half_close(false);
    builder
}

/// Serves a connection on which the input comes at once.
pub(crate) fn serve<S>(builder: &http1::Builder, input: &[u8], service: S)
where
    S: HttpService<Incoming, ResBody = String, Error = Infallible>,
{
    let io = TokioIo::new(tokio::io::join(input, tokio::io::sink()));
    let mut connection = pin!(builder.serve_connection(io, service));
    // All bytes are here, so it is never waiting for long.
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 + input.len() {
        if connection.as_mut().poll(&mut context).is_ready() {
            return;
        }
    }
    panic!("the connection does not end");
}

/// Whether fields can be read in one way, and are none of the connection's.
pub(crate) fn check(headers: &HeaderMap) {
    for name in HOPS.iter().chain(&["content-length"]) {
        assert!(!headers.contains_key(*name), "{name} goes on");
    }
    let hosts: Vec<_> = headers.get_all("host").iter().collect();
    assert!(hosts.len() <= 1, "{hosts:?}");
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(byte);
    assert!(hosts.iter().all(|host| host.as_bytes().iter().all(is_host)), "{hosts:?}");
}

/// Lines of the first head that are a `Content-Length`.
fn lengths(wire: &[u8]) -> usize {
    let lines = wire.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let head = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    let name = |line: &[u8]| line.split(|byte| *byte == b':').next().unwrap_or_default().to_vec();
    head.filter(|line| name(line).eq_ignore_ascii_case(b"content-length")).count()
}
