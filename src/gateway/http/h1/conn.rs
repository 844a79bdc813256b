//! A client's connection as the loop over its requests and the body of one of them share it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use memchr::memchr;

use crate::gateway::http::client_conn::Client;
use crate::gateway::http::early_error::EarlyError;
use crate::gateway::http::framing::LONGEST_METHOD;
use crate::gateway::http::h1::body::Body;
use crate::gateway::http::h1::io_buffers::{Gear, join};
use crate::gateway::http::h1::parse::{self, Bad, Found};
use crate::gateway::http::h1::write_buf::Outflow;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::limits::Limits;
use crate::gateway::http::tls::transport::Transport;

/// What a client may send ahead of its answer before it is no longer listened to.
const AHEAD_BYTES: usize = 64 * 1024;

/// How a client begins that takes HTTP/2 for granted (RFC 9113 §3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n";

/// A client's connection.
pub(crate) struct Line {
    /// The client.
    pub client: Rc<Client>,
    /// The worker's coarse time, in milliseconds.
    pub clock: Rc<Cell<u64>>,
    /// The worker's buffers.
    pub gear: Gear,
    stream: RefCell<Transport>,
    /// Bytes that came and have not been used.
    input: RefCell<Bytes>,
    outflow: RefCell<Outflow>,
    /// What has been read of the request's body.
    body: Cell<Progress>,
}

/// How far the body of the request at hand has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// To its end, so that the next request begins here.
    Whole,
    /// Not to its end.
    Part,
}

/// What a client has sent.
pub(crate) enum Next {
    /// The head of a request.
    Head(Rc<RequestHead>),
    /// Nothing more, or nothing that can be read.
    End,
}

impl Line {
    /// The connection of `client`.
    pub(crate) fn new(
        stream: Transport,
        client: Rc<Client>,
        clock: Rc<Cell<u64>>,
        gear: Gear,
    ) -> Self {
        Self {
            client,
            clock,
            gear,
            stream: RefCell::new(stream),
            input: RefCell::default(),
            outflow: RefCell::default(),
            body: Cell::new(Progress::Whole),
        }
    }

    /// The socket back.
    pub(crate) fn into_stream(self) -> Transport {
        self.stream.into_inner()
    }

    /// Whether the next request begins where the last one ended.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.get() == Progress::Whole
    }

    /// Whether nothing of a next request is here.
    pub(crate) fn is_quiet(&self) -> bool {
        self.input.borrow().is_empty()
    }

    /// The next head. What cannot be one is noted with the client.
    pub(crate) fn poll_head(&self, limits: &Limits, context: &mut Context<'_>) -> Poll<Next> {
        let mut input = self.input.borrow_mut();
        if self.client.is_between_requests() && !input.is_empty() {
            // It came in behind the request before.
            self.client.begin_head(self.clock.get());
            let bytes = std::mem::take(&mut *input);
            if let Some(next) = self.found(&mut input, &bytes, limits) {
                return Poll::Ready(next);
            }
        }
        loop {
            let mut stream = self.stream.borrow_mut();
            let look = |bytes: &[u8]| {
                if bytes.is_empty() {
                    return Some(Next::End);
                }
                if self.client.is_between_requests() {
                    self.client.begin_head(self.clock.get());
                }
                self.found(&mut input, bytes, limits)
            };
            match ready!(self.gear.poll_look(&mut stream, context, look)) {
                Ok(Some(next)) => return Poll::Ready(next),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Next::End),
            }
        }
    }

    /// The head in what came before and now; what is behind it, or not enough, stays in `input`.
    fn found(&self, input: &mut Bytes, bytes: &[u8], limits: &Limits) -> Option<Next> {
        let joined: Bytes;
        let all = if input.is_empty() {
            bytes
        } else {
            joined = join(std::mem::take(input), bytes);
            // A client that sends byte by byte has its head read once for each line, of which there
            // may not be many, and not once for each byte.
            if memchr(b'\n', bytes).is_none() && joined.len() <= limits.header_bytes {
                *input = joined;
                return None;
            }
            &joined
        };
        let fault = match parse::request(all, limits.headers) {
            Ok(Found::Head(head, length)) => {
                *input = Bytes::copy_from_slice(&all[length..]);
                return Some(Next::Head(Rc::new(head)));
            }
            Ok(Found::Part) if all.len() <= limits.header_bytes && !is_method_too_long(all) => {
                *input = Bytes::copy_from_slice(all);
                return None;
            }
            // Another protocol, which would not understand an answer.
            Err(_) if all.starts_with(HTTP2) => return Some(Next::End),
            Ok(Found::Part) | Err(_) if is_method_too_long(all) => EarlyError::MethodTooLong,
            Err(Bad::UriTooLong) => EarlyError::UriTooLong,
            Ok(Found::Part) | Err(_) if is_target_too_long(all, limits) => EarlyError::UriTooLong,
            Ok(Found::Part) | Err(Bad::TooMany) => EarlyError::TooLarge,
            Err(_) if all.len() > limits.header_bytes => EarlyError::TooLarge,
            Err(Bad::Malformed) => EarlyError::Malformed,
        };
        self.client.head_refused(fault);
        Some(Next::End)
    }

    /// Ready when the client has closed its side or broken off. What it sends ahead is kept.
    pub(crate) fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_whole() {
            return Poll::Pending;
        }
        let (mut input, mut stream) = (self.input.borrow_mut(), self.stream.borrow_mut());
        while input.len() < AHEAD_BYTES {
            let look = |bytes: &[u8]| {
                if !bytes.is_empty() {
                    *input = join(std::mem::take(&mut *input), bytes);
                }
                !bytes.is_empty()
            };
            match ready!(self.gear.poll_look(&mut stream, context, look)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Sends the three, one behind the other; what the socket does not take is kept.
    pub(crate) fn send(
        &self,
        context: &mut Context<'_>,
        pieces: (&[u8], Bytes, &'static [u8]),
    ) -> io::Result<()> {
        let (mut stream, mut outflow) = (self.stream.borrow_mut(), self.outflow.borrow_mut());
        let sent = outflow.send(&mut stream, context, pieces)?;
        self.client.sent(sent, outflow.rest(), self.clock.get());
        Ok(())
    }

    /// Ready when the socket has taken all.
    pub(crate) fn poll_sent(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outflow = self.outflow.borrow_mut();
        if !outflow.is_empty() && self.client.is_to_be_pushed() {
            let pushed = outflow.push(&mut self.stream.borrow_mut())?;
            self.client.sent(pushed, outflow.rest(), self.clock.get());
        }
        while !outflow.is_empty() {
            let sent = ready!(outflow.poll_drain(&mut self.stream.borrow_mut(), context))?;
            self.client.sent(sent, outflow.rest(), self.clock.get());
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether a request begins with a word that is longer than any method.
fn is_method_too_long(head: &[u8]) -> bool {
    // Blank lines may stand before a request (RFC 9112 §2.2).
    let begin = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let word = head[begin..].iter().take_while(|byte| fits(**byte));
    word.take(LONGEST_METHOD + 1).count() > LONGEST_METHOD
}

/// Whether a target alone is longer than all headers may be.
fn is_target_too_long(head: &[u8], limits: &Limits) -> bool {
    let line = &head[..memchr(b'\n', head).unwrap_or(head.len())];
    let most = limits.header_bytes.max(limits.uri_bytes);
    memchr(b' ', line).is_some_and(|method| line.len() - method > most)
}

/// The body of a request, read when it is asked for.
pub(crate) struct RequestBody {
    line: Rc<Line>,
    body: Body,
    expectation: Expectation,
    spare: BytesMut,
}

/// Whether the client waits for leave to send the body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    None,
    Continue,
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl RequestBody {
    /// The body of a request whose head was read from `line`.
    pub(crate) fn new(line: Rc<Line>, body: Body, expectation: Expectation) -> Self {
        line.body.set(if body.is_over() { Progress::Whole } else { Progress::Part });
        Self { line, body, expectation, spare: BytesMut::new() }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let Self { line, body, spare, .. } = self;
        let mut input = line.input.borrow_mut();
        loop {
            let found = body.decode(&mut input);
            match found.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))? {
                Some(data) => return Poll::Ready(Ok(Some(data))),
                None if body.is_over() => return Poll::Ready(Ok(None)),
                None => {}
            }
            let mut stream = line.stream.borrow_mut();
            if self.expectation == Expectation::Continue {
                self.expectation = Expectation::None;
                line.outflow.borrow_mut().send(
                    &mut stream,
                    context,
                    (CONTINUE, Bytes::new(), b""),
                )?;
            }
            *input = ready!(line.gear.poll_fill(&mut stream, context, (body.left(), spare)))?;
            line.client.moved(line.clock.get());
            if input.is_empty() {
                let cut = "the connection closed before the end of the body";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut)));
            }
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = ready!(self.poll_data(context))?;
        if self.body.is_over() {
            self.line.body.set(Progress::Whole);
        }
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.left().map_or(SizeHint::new(), SizeHint::with_exact)
    }
}

impl Drop for RequestBody {
    /// What is already here of a body that nobody wanted is passed over, so that the connection can
    /// go on.
    fn drop(&mut self) {
        let mut input = self.line.input.borrow_mut();
        while let Ok(Some(_)) = self.body.decode(&mut input) {}
        if self.body.is_over() && self.expectation == Expectation::None {
            self.line.body.set(Progress::Whole);
        }
    }
}
