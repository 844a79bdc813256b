//! A stream whose first event is long in coming.
//!
//! Dify 1.5.0 sends not even the head of an answer before a model's first token, which may take
//! minutes; proxies between client and gateway give up before that. So after a while the client gets
//! the head of its stream, and then a comment every few seconds. What goes wrong from then on is told
//! within the stream.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::adapter::Protocol;
use crate::adapter::frames::COMMENT;
use crate::gateway::ai::request::Done;
use crate::gateway::ai::response_headers::{ignored, stream_headers};
use crate::gateway::http::request_id::RequestId;
use crate::gateway::proxy::local_reply;
use crate::gateway::proxy::response_body::{Frames, Outgoing};

/// How long a client of a stream waits for its head, so that what fails at once is told by a status.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two comments.
const COMMENT_EVERY: Duration = Duration::from_secs(10);

/// Whether the head of an answer has gone out before the answer came. All clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Rc<Cell<bool>>);

impl Late {
    /// Whether it has.
    pub(super) fn is_so(&self) -> bool {
        self.0.get()
    }
}

/// What the head of a stream says before its answer is known.
pub(super) struct Head {
    /// `X-Request-ID`.
    pub request_id: RequestId,
    /// Fields that mean nothing to Dify.
    pub ignored: Vec<String>,
    /// The protocol of the client.
    pub protocol: Protocol,
}

/// Waits for an answer, or answers without it.
pub(super) async fn wait(
    run: impl Future<Output = Done> + 'static,
    late: Late,
    head: Head,
) -> Done {
    let mut run: Pin<Box<dyn Future<Output = Done>>> = Box::pin(run);
    if let Ok(done) = timeout(PATIENCE, &mut run).await {
        return done;
    }
    late.0.set(true);
    let stage = Stage::Waiting(run, Box::pin(sleep(Duration::ZERO)));
    let body = Outgoing::Framed(Box::new(Waiting { stage, protocol: head.protocol }));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    stream_headers(headers);
    local_reply::request_id(head.protocol, &head.request_id, headers);
    ignored(headers, &head.ignored);
    Done::Answer(response)
}

/// The body of an answer that has not come yet.
struct Waiting {
    stage: Stage,
    protocol: Protocol,
}

enum Stage {
    Waiting(Pin<Box<dyn Future<Output = Done>>>, Pin<Box<Sleep>>),
    /// It is here.
    Come(Outgoing),
}

impl Frames for Waiting {
    fn is_over(&self) -> bool {
        matches!(&self.stage, Stage::Come(body) if body.is_end_stream())
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Stage::Waiting(run, pause) = &mut self.stage {
            if let Poll::Ready(done) = run.as_mut().poll(context) {
                self.stage = Stage::Come(body(done, self.protocol));
            } else {
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                pause.as_mut().reset(Instant::now() + COMMENT_EVERY);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(COMMENT)))));
            }
        }
        match &mut self.stage {
            Stage::Come(body) => Pin::new(body).poll_frame(context),
            Stage::Waiting(..) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// What goes out of an answer whose head has gone out already.
fn body(done: Done, protocol: Protocol) -> Outgoing {
    match done {
        Done::Answer(response) => response.into_body(),
        Done::Local(record, response) => local_reply::local(response, record).into_body(),
        Done::Error(record, error) => local_reply::error_event(&error, protocol, record),
    }
}
