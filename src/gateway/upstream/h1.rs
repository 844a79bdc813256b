//! A connection to an instance: one request, one answer, and then perhaps the next.
//!
//! There is no task behind it. Who waits for the response polls the socket, so nothing is handed over
//! between tasks; an idle connection is looked at when it is taken, and by the worker's sweep.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::gateway::http::buffered_body::ReplayBody;
use crate::gateway::http::buffered_body::TURN_BYTES;
use crate::gateway::http::h1::body::BodyDecoder;
use crate::gateway::http::h1::deadline::Deadline;
use crate::gateway::http::h1::io_buffers::IoBuffers;
use crate::gateway::http::h1::io_buffers::join;
use crate::gateway::http::h1::parse::{self, Parsed};
use crate::gateway::http::h1::write_buf::WriteBuf;
use crate::gateway::http::head::ResponseHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::headers::Headers;
use crate::gateway::http::tls::transport::Transport;
use crate::gateway::state::slots::Slot;

/// The longest head of a response.
const HEAD_BYTES: usize = 64 * 1024;
/// Responses that only say that there will be another (RFC 9110 §15.2).
const MOST_INFORMATIONAL: u32 = 8;
/// A piece of a body up to this size is copied behind the head, to leave in one write.
const SMALL_BYTES: usize = 4 * 1024;

/// What TCP counts as acknowledged of who has connected and sent nothing.
const SYN_BYTES: u64 = 1;

/// What an exchange on a connection met instead of a response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The instance ended the connection in order.
    Closed(String),
    /// The connection broke: a reset, or silence for too long.
    Broken(String),
    Garbled(&'static str),
    /// It did not come in time.
    Late,
}

/// How much of a request was given to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BytesSent {
    /// Not a byte, or none that came to the instance.
    Nothing,
    Something,
}

/// An open connection, with the slot that it holds, if it is its own.
pub(crate) struct Connection {
    stream: Transport,
    /// Bytes that came and have not been used.
    input: Bytes,
    outflow: WriteBuf,
    /// Bytes that the socket has taken, before TLS.
    taken: u64,
    alarm: Deadline,
    buffers: IoBuffers,
    _slot: Option<Slot>,
}

struct Sending<F> {
    /// Puts the head together; none once it is on its way.
    head: Option<F>,
    body: ReplayBody,
    written: BytesSent,
    /// Why no more can be sent. A response may have come all the same.
    broken: Option<io::Error>,
    informational: u32,
}

impl Connection {
    /// A connection that has carried nothing yet.
    pub(crate) fn new(stream: Transport, buffers: IoBuffers) -> Self {
        Self {
            stream,
            input: Bytes::new(),
            outflow: WriteBuf::default(),
            taken: 0,
            alarm: Deadline::default(),
            buffers,
            _slot: None,
        }
    }

    /// It holds a slot of its instance for as long as it is open.
    pub(crate) fn with_slot(self, slot: Slot) -> Self {
        Self { _slot: Some(slot), ..self }
    }

    /// Whether an idle connection can carry a request: nothing has come on it, be it its end. No
    /// system call: the kernel has told the runtime before.
    pub(crate) fn is_fit(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.stream.socket().poll_read_ready(&mut context).is_pending()
    }

    /// Sends a request whose head `head` writes, and waits for the head of its response until `due`.
    ///
    /// # Errors
    /// Why there is no response, and whether the instance may have any of the request.
    pub(crate) async fn send_request(
        mut self: Box<Self>,
        method: &Method,
        head: impl FnOnce(&mut Vec<u8>),
        body: ReplayBody,
        due: Instant,
    ) -> Result<(ResponseHead, H1Body), (SendError, BytesSent)> {
        let (head, written) = (Some(head), BytesSent::Nothing);
        let before = self.acked_before(method);
        let mut sending = Sending { head, body, written, broken: None, informational: 0 };
        let found = poll_fn(|context| self.poll_exchange(&mut sending, due, context)).await;
        let head = found.map_err(|error| match self.is_unsent(&error, before) {
            true => (error, BytesSent::Nothing),
            false => (error, sending.written),
        })?;
        let is_sent = sending.head.is_none()
            && sending.body.is_end_stream()
            && self.outflow.is_empty()
            && sending.broken.is_none();
        let body = match is_bodiless(method, head.status) {
            true => BodyDecoder::Known(0),
            false => BodyDecoder::of_answer(&head.headers),
        };
        let reusable = is_sent && stays_open(&head) && !matches!(body, BodyDecoder::UntilClose);
        Ok((head, H1Body { connection: self, body, reusable, spare: BytesMut::new() }))
    }

    /// What the instance's system has acknowledged when it has all that came before a request, and
    /// nothing of that. With TLS, what goes out is not what was taken, so the system is asked; who may
    /// send a request twice need not know.
    fn acked_before(&self, method: &Method) -> Option<u64> {
        match &self.stream {
            _ if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) => None,
            Transport::Plain(_) => Some(SYN_BYTES + self.taken),
            Transport::Tls(_) => self.stream.bytes_acked(),
        }
    }

    /// Whether nothing of a request has come to the instance, for certain: it ended the connection in
    /// order, and has acknowledged no more than before. Its end (FIN) acknowledges what came in before that,
    /// and what comes in later is read by nobody. A reset acknowledges nothing, so it proves nothing.
    fn is_unsent(&self, error: &SendError, before: Option<u64>) -> bool {
        matches!(error, SendError::Closed(_))
            && before.is_some()
            && self.stream.bytes_acked() == before
    }

    fn poll_exchange(
        &mut self,
        sending: &mut Sending<impl FnOnce(&mut Vec<u8>)>,
        due: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, SendError>> {
        if sending.broken.is_none()
            && let Err(error) = self.send(sending, context)
        {
            sending.broken = Some(error);
        }
        match self.poll_head(sending, context) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => self.alarm.poll(due, context).map(|()| Err(SendError::Late)),
        }
    }

    /// Sends as much as the socket takes.
    fn send(
        &mut self,
        sending: &mut Sending<impl FnOnce(&mut Vec<u8>)>,
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        let mut left = TURN_BYTES;
        loop {
            while !self.outflow.is_empty() {
                match self.outflow.poll_drain(&mut self.stream, context) {
                    Poll::Ready(sent) => self.taken += sending.note(sent?),
                    Poll::Pending => return Ok(()),
                };
            }
            if left == 0 {
                // It takes all as quickly as it is read: others have their turn. Woken by itself, the task
                // would come again before the runtime looks who else has sent something, which it does
                // once in 61 polls.
                let _ = pin!(yield_now()).poll(context);
                return Ok(());
            }
            let mut piece = match Pin::new(&mut sending.body).poll_frame(context) {
                Poll::Ready(Some(frame)) => frame?.into_data().unwrap_or_default(),
                Poll::Ready(None) if sending.head.is_none() => return Ok(()),
                Poll::Ready(None) => Bytes::new(),
                Poll::Pending => return Ok(()),
            };
            left = left.saturating_sub(piece.len());
            let Self { buffers, outflow, stream, .. } = self;
            let sent = buffers.compose(|first| {
                if let Some(head) = sending.head.take() {
                    head(first);
                }
                if piece.len() <= SMALL_BYTES {
                    first.extend_from_slice(&std::mem::take(&mut piece));
                }
                outflow.send(stream, context, (first, piece, b""))
            })?;
            self.taken += sending.note(sent);
        }
    }

    fn poll_head<F>(
        &mut self,
        sending: &mut Sending<F>,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, SendError>> {
        loop {
            let Self { buffers, stream, input, .. } = self;
            let read = ready!(buffers.poll_look(stream, context, |bytes| read_head(input, bytes)));
            let mut found = read.unwrap_or_else(|error| Err(broken(&error)));
            while let Ok(Some(head)) = found {
                if !is_informational(head.status) {
                    return Poll::Ready(Ok(head));
                }
                sending.informational += 1;
                if sending.informational > MOST_INFORMATIONAL {
                    return Poll::Ready(Err(SendError::Garbled("it announces itself for ever")));
                }
                let behind = std::mem::take(input);
                found = if behind.is_empty() { Ok(None) } else { read_head(input, &behind) };
            }
            if let Err(mut error) = found {
                if let (SendError::Closed(text) | SendError::Broken(text), Some(broken)) =
                    (&mut error, &sending.broken)
                {
                    *text = broken.to_string();
                }
                return Poll::Ready(Err(error));
            }
        }
    }
}

impl<F> Sending<F> {
    /// Notes how many bytes the socket took, and gives them back.
    fn note(&mut self, sent: usize) -> u64 {
        if sent > 0 {
            self.written = BytesSent::Something;
        }
        sent as u64
    }
}

/// What a failed read says. TLS that ends without a word of its own is an end of TCP in order.
fn broken(error: &io::Error) -> SendError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SendError::Closed(error.to_string()),
        _ => SendError::Broken(error.to_string()),
    }
}

/// The head in what came before and now; what is behind it, or not enough, stays in `input`.
fn read_head(input: &mut Bytes, bytes: &[u8]) -> Result<Option<ResponseHead>, SendError> {
    if bytes.is_empty() {
        return Err(SendError::Closed("connection closed before the answer's head".to_owned()));
    }
    let joined: Bytes;
    let all = if input.is_empty() {
        bytes
    } else {
        joined = join(std::mem::take(input), bytes);
        &joined
    };
    let bad = |_| SendError::Garbled("its head is not valid HTTP/1");
    match parse::response(all).map_err(bad)? {
        Parsed::Head(head, length) => {
            *input = Bytes::copy_from_slice(&all[length..]);
            Ok(Some(head))
        }
        Parsed::Part if all.len() > HEAD_BYTES => Err(SendError::Garbled("its head is too long")),
        Parsed::Part => {
            *input = Bytes::copy_from_slice(all);
            Ok(None)
        }
    }
}

/// What only says that there will be another answer. A switch of protocols is none of it.
fn is_informational(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// Whether such a response has no body, whatever its headers say (RFC 9112 §6.3).
fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

pub(crate) fn stays_open(head: &ResponseHead) -> bool {
    head.version == Version::HTTP_11 && !says_close(&head.headers)
}

/// Whether `Connection` names `close`.
pub(crate) fn says_close(headers: &Headers) -> bool {
    names(headers, b"close")
}

/// Whether `Connection` names it.
pub(crate) fn names(headers: &Headers, option: &[u8]) -> bool {
    headers
        .all(KnownHeader::Connection)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
}

/// The body of a response, with the connection that it comes on.
pub(crate) struct H1Body {
    connection: Box<Connection>,
    body: BodyDecoder,
    reusable: bool,
    spare: BytesMut,
}

impl H1Body {
    /// The connection, if it can carry another request now.
    pub(crate) fn into_connection(self) -> Option<Box<Connection>> {
        let free = self.reusable && self.body.is_over() && self.connection.input.is_empty();
        free.then_some(self.connection)
    }
}

impl http_body::Body for H1Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { connection, body, spare, .. } = &mut *self;
        let Connection { stream, input, buffers, .. } = &mut **connection;
        loop {
            match body.decode(input) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) if body.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(what) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, what);
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let filled = match body.left() {
                None => buffers.poll_stream(stream, context),
                left => buffers.poll_fill(stream, context, (left, spare)),
            };
            *input = ready!(filled)?;
            if input.is_empty() {
                return Poll::Ready(match body.ends_by_closing() {
                    true => None,
                    false => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                });
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.left().map_or(SizeHint::new(), SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
