//! hyper, by which the gateway's own reading is judged.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Waker};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;

/// As it would serve the gateway's connections.
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

/// Lines of the first head that are a `Content-Length`.
pub(crate) fn lengths(wire: &[u8]) -> usize {
    let lines = wire.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let head = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    let name = |line: &[u8]| line.split(|byte| *byte == b':').next().unwrap_or_default().to_vec();
    head.filter(|line| name(line).eq_ignore_ascii_case(b"content-length")).count()
}
