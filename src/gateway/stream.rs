//! The answer on its way to the client: each piece goes out as it came in.
//!
//! Nothing is gathered, paced or looked into, so an event of a stream is one write here as it was one
//! write of Dify's. The record travels with the body and ends with it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, Sleep, sleep};

use crate::balance::{Cause, Pass};
use crate::dify::error::StreamError;
use crate::gateway::attempt::Answer;
use crate::gateway::body::Replay;
use crate::gateway::failure::chain;
use crate::gateway::forward::{Flight, Forwarded};
use crate::gateway::framing;
use crate::gateway::outbound::REQUEST_ID;
use crate::gateway::record::Record;
use crate::gateway::snapshot::Member;
use crate::gateway::trust::Trust;
use crate::gateway::worker::Worker;
use crate::model::Reason;

/// Says which instance answered.
pub(super) const INSTANCE: &str = "x-difygate-instance";

/// The body of every answer the gateway gives.
pub(super) enum Outgoing {
    /// The gateway's own words.
    Whole(Option<Bytes>, Box<Record>),
    /// An instance's, passed on as it comes.
    Relay(Box<Relay>),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes, record) => Poll::Ready(bytes.take().map(|bytes| {
                record.sent(bytes.len());
                Ok(Frame::data(bytes))
            })),
            Self::Relay(relay) => relay.poll_piece(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes, _) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Relay(relay) => relay.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes, _) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Relay(relay) => relay.body.as_ref().map_or(SizeHint::new(), Body::size_hint),
        }
    }
}

/// An instance's answer under way.
pub(super) struct Relay {
    /// None once it is over.
    body: Option<Incoming>,
    sender: Option<SendRequest<Replay>>,
    member: Arc<Member>,
    worker: Rc<Worker>,
    record: Record,
    _flight: Flight,
    is_event_stream: bool,
    /// The last piece stopped in the middle of an event.
    in_event: bool,
    idle: Idle,
}

/// Makes the client's answer out of an instance's.
pub(super) fn relay(
    worker: &Rc<Worker>,
    forwarded: Forwarded,
    mut record: Record,
    idle_timeout: Duration,
) -> Response<Outgoing> {
    let Forwarded { member, answer, flight } = forwarded;
    let Answer { response, sender, .. } = answer;
    let (mut head, body) = response.into_parts();
    framing::strip_response(&mut head.headers);
    head.headers.insert(REQUEST_ID, record.request_id().clone());
    if let Some(name) = &member.header {
        head.headers.insert(INSTANCE, name.clone());
    }
    let is_event_stream = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    record.answered(&member, head.status.as_u16());
    let mut relay = Relay {
        body: Some(body),
        sender: Some(sender),
        member,
        worker: Rc::clone(worker),
        record,
        _flight: flight,
        is_event_stream,
        in_event: false,
        idle: Idle::new(idle_timeout),
    };
    relay.finish_if_over();
    Response::from_parts(head, Outgoing::Relay(Box::new(relay)))
}

impl Relay {
    fn is_over(&self) -> bool {
        self.body.is_none()
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let piece = match Pin::new(body).poll_frame(context) {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                ready!(self.idle.poll(context));
                let waited = self.idle.limit.as_secs_f64();
                return Poll::Ready(self.cut(Reason::AnswerIdle, format!("silent for {waited} s")));
            }
        };
        self.idle.moved();
        match piece {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.record.sent(data.len());
                    self.in_event = !data.ends_with(b"\n\n");
                    self.finish_if_over();
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                // Trailers: Dify sends none, and they are not announced to the client.
                Err(_) => self.poll_piece(context),
            },
            None => {
                self.finish();
                Poll::Ready(None)
            }
            Some(Err(error)) => Poll::Ready(self.cut(Reason::AnswerCut, chain(&error))),
        }
    }

    /// hyper does not ask for more once `Content-Length` is reached, so the end is noticed here.
    fn finish_if_over(&mut self) {
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.finish();
        }
    }

    /// The answer is whole: the connection can carry another request.
    fn finish(&mut self) {
        self.body = None;
        self.record.end(Reason::Answered);
        if let Some(sender) = self.sender.take() {
            self.worker.connections.put(&self.member.instance, sender);
        }
    }

    /// The answer broke off. A client of a stream gets Dify's error event and a proper end; any other
    /// answer ends visibly broken, because what is missing cannot be made up for.
    fn cut(&mut self, reason: Reason, what: String) -> Option<io::Result<Frame<Bytes>>> {
        self.body = None;
        self.sender = None;
        let text = format!("{}: answer cut: {what}", self.member.name);
        self.member.stats.failures.add_one();
        Trust::new(Arc::clone(&self.member), Pass::Normal).bad(
            Cause::BrokenAnswer,
            &text,
            self.worker.shared().now_ms(),
        );
        self.record.note(text);
        self.record.end(reason);
        if self.is_event_stream {
            let event = error_event(reason);
            let event =
                if self.in_event { [b"\n\n", event.as_ref()].concat().into() } else { event };
            self.record.sent(event.len());
            Some(Ok(Frame::data(event)))
        } else {
            Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the instance's answer was cut")))
        }
    }
}

/// The last event of a stream that broke off, in Dify's shape.
fn error_event(reason: Reason) -> Bytes {
    let message = match reason {
        Reason::AnswerIdle => "The instance that ran this request has stopped answering.",
        _ => "The connection to the instance that ran this request broke off.",
    };
    let (conversation_id, message_id, created_at) = (None, None, None);
    StreamError {
        conversation_id,
        message_id,
        created_at,
        code: "bad_gateway",
        status: 502,
        message,
    }
    .event()
}

/// Notices that nothing has moved for too long, with one timer per silence and not per piece.
struct Idle {
    limit: Duration,
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), timer: None }
    }

    fn moved(&mut self) {
        self.since = Instant::now();
    }

    /// Ready when the limit is over. The timer runs on over pieces that move; when it rings early it
    /// is set again for what is left.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        while timer.as_mut().poll(context).is_ready() {
            let due = self.since + self.limit;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}
