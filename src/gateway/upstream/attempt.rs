//! One attempt: one request to one instance, up to the head of its response.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::gateway::http::framing;
use crate::gateway::http::head::ResponseHead;
use crate::gateway::http::limits::Timeouts;
use crate::gateway::http::send_state::SendState;
use crate::gateway::http::write_batch;
use crate::gateway::state::member::Member;
use crate::gateway::upstream::attempt_error::{AttemptError, Sent};
use crate::gateway::upstream::conn_pool::{ConnectionPool, PooledConnection, Reuse, UpstreamBody};
use crate::gateway::upstream::h1::{BytesSent, SendError};
use crate::gateway::upstream::upstream_request::UpstreamRequest;
use crate::model::Reason;

/// A response's head, and its body, to come or read already.
pub(crate) struct AttemptResponse {
    pub head: ResponseHead,
    pub body: AttemptBody,
    pub arrived: Instant,
    /// From sending the request to that.
    pub first_byte: Duration,
}

pub(crate) enum AttemptBody {
    Coming(UpstreamBody),
    Read(Bytes),
}

/// How long an attempt may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptDeadlines<'a> {
    pub now: Instant,
    pub timeouts: &'a Timeouts,
    /// For the head of the response of this attempt.
    pub first_byte: Duration,
    /// When all attempts must have ended.
    pub until: Instant,
}

/// Sends the request to a member and waits for the head of the response.
///
/// A reused connection that turns out to be closed is replaced by a fresh one to the same instance,
/// once, if the request can be sent again: Dify's server closes an idle connection after 2.0 s, and this
/// may cross a request.
///
/// # Errors
/// Why there is no response, and how much of the request the instance may have.
pub(crate) async fn attempt(
    connections: &ConnectionPool,
    member: &Member,
    outbound: &UpstreamRequest,
    progress: &SendState,
    deadlines: AttemptDeadlines<'_>,
) -> Result<Box<AttemptResponse>, AttemptError> {
    let attempt = Attempt { connections, member, outbound, progress, deadlines };
    let first = attempt.lease(Reuse::Any).await?;
    let reused = first.reused;
    // A look at the clock is not free, and the time for a connection at hand is none.
    let began = if reused { deadlines.now } else { Instant::now() };
    match attempt.run(first, began).await {
        Err(failure) if reused && is_stale(&failure, outbound) => {
            let again = Box::pin(async {
                let fresh = attempt.lease(Reuse::Fresh).await?;
                attempt.run(fresh, Instant::now()).await
            });
            // What the first attempt may have delivered stays so, if the second delivers nothing.
            again.await.map_err(|later| if failure.sent > later.sent { failure } else { later })
        }
        done => done,
    }
}

/// Whether a reused connection was closed before the instance acted on the request, or so that it does
/// no harm to send it again. No clock tells that: an instance may run a request and die within no time.
fn is_stale(failure: &AttemptError, outbound: &UpstreamRequest) -> bool {
    let again = failure.sent < Sent::All || outbound.is_idempotent();
    failure.reason == Reason::InstanceClosed && again
}

struct Attempt<'a> {
    connections: &'a ConnectionPool,
    member: &'a Member,
    outbound: &'a UpstreamRequest,
    progress: &'a SendState,
    deadlines: AttemptDeadlines<'a>,
}

impl Attempt<'_> {
    async fn lease(&self, wanted: Reuse) -> Result<PooledConnection, AttemptError> {
        let Self { connections, member, deadlines, .. } = self;
        if wanted == Reuse::Any
            && let Some(lease) = connections.reuse(member, deadlines.timeouts, deadlines.now)
        {
            return Ok(lease);
        }
        // On the heap: it is the rarer case, and large.
        let lease = Box::pin(connections.lease(member, deadlines.timeouts, wanted));
        match timeout_at(deadlines.until, lease).await {
            Ok(leased) => leased,
            Err(_) => Err(AttemptError {
                reason: Reason::Busy,
                sent: Sent::Nothing,
                text: format!("{}: no slot within `timeouts.all_attempts`", member.name()),
            }),
        }
    }

    async fn run(
        &self,
        lease: PooledConnection,
        began: Instant,
    ) -> Result<Box<AttemptResponse>, AttemptError> {
        let Self { member, outbound, progress, deadlines, .. } = self;
        let left = deadlines.until.saturating_duration_since(began);
        let wait = deadlines.first_byte.min(left);
        progress.begin();
        let (method, body) = (outbound.method(), outbound.body(progress));
        write_batch::next_tick().await;
        let head = |out: &mut Vec<u8>| outbound.write_head(member, out);
        match lease.connection.send_request(method, head, body, began + wait).await {
            Ok((head, answering)) => self.checked(head, UpstreamBody::Coming(answering), began),
            Err((error, written)) => Err(self.failed(error, written, wait)),
        }
    }

    /// What a request on one connection met, as the end of the attempt.
    fn failed(&self, error: SendError, written: BytesSent, wait: Duration) -> AttemptError {
        let (reason, what, written) = match error {
            SendError::Closed(what) | SendError::Broken(what) => {
                (Reason::InstanceClosed, what, written)
            }
            SendError::Garbled(what) => (Reason::InstanceGarbled, what.to_owned(), written),
            SendError::Late => {
                let what = format!("no answer within {} s", wait.as_secs_f64());
                (Reason::InstanceTimeout, what, BytesSent::Something)
            }
        };
        let text = format!("{}: {what}", self.member.name());
        AttemptError { reason, sent: self.sent(written), text }
    }

    /// A response that can be read in two ways is none; its connection goes with it.
    fn checked(
        &self,
        head: ResponseHead,
        body: UpstreamBody,
        began: Instant,
    ) -> Result<Box<AttemptResponse>, AttemptError> {
        let Some(fault) = framing::fault_of_answer(&head) else {
            // On the heap, as it goes through many hands.
            let arrived = Instant::now();
            let (body, first_byte) = (AttemptBody::Coming(body), arrived - began);
            return Ok(Box::new(AttemptResponse { head, body, arrived, first_byte }));
        };
        let text = format!("{}: an answer that cannot be passed on: {fault}", self.member.name());
        Err(AttemptError { reason: Reason::InstanceGarbled, sent: Sent::Head, text })
    }

    /// How much of the request the instance may have.
    fn sent(&self, written: BytesSent) -> Sent {
        if written == BytesSent::Nothing {
            self.progress.take_back();
            return Sent::Nothing;
        }
        match self.progress.is_body_taken() {
            true => Sent::All,
            false => Sent::Some,
        }
    }
}
