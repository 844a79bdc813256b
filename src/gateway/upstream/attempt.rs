//! One attempt: one request to one instance, up to the head of its answer.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::gateway::http::framing;
use crate::gateway::http::head::AnswerHead;
use crate::gateway::http::limits::Timeouts;
use crate::gateway::http::send_state::Progress;
use crate::gateway::http::write_batch;
use crate::gateway::state::member::Member;
use crate::gateway::upstream::attempt_error::{AttemptError, Sent};
use crate::gateway::upstream::conn_pool::{Connections, Inflow, Lease, Wanted};
use crate::gateway::upstream::h1::{SendError, Written};
use crate::gateway::upstream::upstream_request::Outbound;
use crate::model::Reason;

/// An answer's head, and its body, to come or read already.
pub(crate) struct Answer {
    /// Status and headers.
    pub head: AnswerHead,
    /// What follows them.
    pub body: AnswerBody,
    /// When the head was here.
    pub arrived: Instant,
    /// From sending the request to that.
    pub first_byte: Duration,
}

/// The body of an answer.
pub(crate) enum AnswerBody {
    /// Still to come.
    Coming(Inflow),
    /// Read already.
    Read(Bytes),
}

/// How long an attempt may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience<'a> {
    /// When the attempt begins.
    pub now: Instant,
    /// The configured limits.
    pub timeouts: &'a Timeouts,
    /// For the head of the answer of this attempt.
    pub first_byte: Duration,
    /// When all attempts must have ended.
    pub until: Instant,
}

/// Sends the request to a member and waits for the head of the answer.
///
/// A reused connection that turns out to be closed is replaced by a fresh one to the same instance,
/// once, if the request can be sent again: Dify's server closes an idle connection after 2.0 s, and this
/// may cross a request.
///
/// # Errors
/// Why there is no answer, and how much of the request the instance may have.
pub(crate) async fn attempt(
    connections: &Connections,
    member: &Member,
    outbound: &Outbound,
    progress: &Progress,
    patience: Patience<'_>,
) -> Result<Box<Answer>, AttemptError> {
    let exchange = Exchange { connections, member, outbound, progress, patience };
    let first = exchange.lease(Wanted::Any).await?;
    let reused = first.reused;
    // A look at the clock is not free, and the time for a connection at hand is none.
    let began = if reused { patience.now } else { Instant::now() };
    match exchange.run(first, began).await {
        Err(failure) if reused && is_stale(&failure, outbound) => {
            let again = Box::pin(async {
                let fresh = exchange.lease(Wanted::Fresh).await?;
                exchange.run(fresh, Instant::now()).await
            });
            // What the first exchange may have delivered stays so, if the second delivers nothing.
            again.await.map_err(|later| if failure.sent > later.sent { failure } else { later })
        }
        done => done,
    }
}

/// Whether a reused connection was closed before the instance acted on the request, or so that it does
/// no harm to send it again. No clock tells that: an instance may run a request and die within no time.
fn is_stale(failure: &AttemptError, outbound: &Outbound) -> bool {
    let again = failure.sent < Sent::All || outbound.is_idempotent();
    failure.reason == Reason::InstanceClosed && again
}

struct Exchange<'a> {
    connections: &'a Connections,
    member: &'a Member,
    outbound: &'a Outbound,
    progress: &'a Progress,
    patience: Patience<'a>,
}

impl Exchange<'_> {
    async fn lease(&self, wanted: Wanted) -> Result<Lease, AttemptError> {
        let Self { connections, member, patience, .. } = self;
        if wanted == Wanted::Any
            && let Some(lease) = connections.reuse(member, patience.now)
        {
            return Ok(lease);
        }
        // On the heap: it is the rarer case, and large.
        let lease = Box::pin(connections.lease(member, patience.timeouts, wanted));
        match timeout_at(patience.until, lease).await {
            Ok(leased) => leased,
            Err(_) => Err(AttemptError {
                reason: Reason::Busy,
                sent: Sent::Nothing,
                text: format!("{}: no slot within `timeouts.all_attempts`", member.name()),
            }),
        }
    }

    async fn run(&self, lease: Lease, began: Instant) -> Result<Box<Answer>, AttemptError> {
        let Self { member, outbound, progress, patience, .. } = self;
        let left = patience.until.saturating_duration_since(began);
        let wait = patience.first_byte.min(left);
        progress.begin();
        let (method, body) = (outbound.method(), outbound.body(progress));
        write_batch::ended().await;
        let head = |out: &mut Vec<u8>| outbound.write_head(member, out);
        match lease.connection.exchange(method, head, body, began + wait).await {
            Ok((head, answering)) => self.checked(head, Inflow::Coming(answering), began),
            Err((error, written)) => Err(self.failed(error, written, wait)),
        }
    }

    /// What an exchange on one connection met, as the end of the attempt.
    fn failed(&self, error: SendError, written: Written, wait: Duration) -> AttemptError {
        let (reason, what, written) = match error {
            SendError::Closed(what) | SendError::Broken(what) => {
                (Reason::InstanceClosed, what, written)
            }
            SendError::Garbled(what) => (Reason::InstanceGarbled, what.to_owned(), written),
            SendError::Late => {
                let what = format!("no answer within {} s", wait.as_secs_f64());
                (Reason::InstanceTimeout, what, Written::Something)
            }
        };
        let text = format!("{}: {what}", self.member.name());
        AttemptError { reason, sent: self.sent(written), text }
    }

    /// An answer that can be read in two ways is none; its connection goes with it.
    fn checked(
        &self,
        head: AnswerHead,
        body: Inflow,
        began: Instant,
    ) -> Result<Box<Answer>, AttemptError> {
        let Some(fault) = framing::fault_of_answer(&head) else {
            // On the heap, as it goes through many hands.
            let arrived = Instant::now();
            let (body, first_byte) = (AnswerBody::Coming(body), arrived - began);
            return Ok(Box::new(Answer { head, body, arrived, first_byte }));
        };
        let text = format!("{}: an answer that cannot be passed on: {fault}", self.member.name());
        Err(AttemptError { reason: Reason::InstanceGarbled, sent: Sent::Head, text })
    }

    /// How much of the request the instance may have.
    fn sent(&self, written: Written) -> Sent {
        if written == Written::Nothing {
            self.progress.take_back();
            return Sent::Nothing;
        }
        match self.progress.is_body_taken() {
            true => Sent::All,
            false => Sent::Some,
        }
    }
}
