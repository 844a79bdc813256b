//! One attempt: one request to one instance, up to the head of its answer.

use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, timeout};

use crate::balance::Cause;
use crate::gateway::body::Replay;
use crate::gateway::connection::{Lease, Wanted, lease};
use crate::gateway::outbound::Outbound;
use crate::gateway::snapshot::{Member, Timeouts};
use crate::gateway::worker::Worker;
use crate::model::Reason;

/// A reused connection that dies this soon after a request is taken for one that the instance had
/// already closed. Later than that, the instance may have worked on the request.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// How much of the request may have reached the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing, for certain: any other instance may be asked.
    Nothing,
    /// Perhaps all of it: only a request that changes nothing may be asked again.
    Perhaps,
}

/// Why an attempt gave no answer. What follows from it is decided in `forward`.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The word for it.
    pub reason: Reason,
    /// Whether the instance may have the request.
    pub sent: Sent,
    /// For the log and status; it names the instance and holds no secret.
    pub text: String,
}

impl Failure {
    /// What it says about the instance; none for a failure that is not its fault.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self.reason {
            Reason::ConnectFailed | Reason::InstanceClosed | Reason::InstanceTimeout => {
                Some(Cause::Unreachable)
            }
            Reason::InstanceGarbled => Some(Cause::BrokenAnswer),
            _ => None,
        }
    }
}

/// An answer whose body is still to come, and the connection that it comes on.
pub(super) struct Answer {
    /// Head and body.
    pub response: Response<Incoming>,
    /// To be kept when the body has been read to its end.
    pub sender: SendRequest<Replay>,
    /// From sending the request to the head.
    pub first_byte: Duration,
}

/// Sends the request to a member and waits up to `patience` for the head of the answer.
///
/// A reused connection that turns out to be dead is replaced by a fresh one to the same instance,
/// once: Dify's server closes an idle connection after 2.0 s, and this may cross a request.
///
/// # Errors
/// Why there is no answer, and whether the instance may have the request.
pub(super) async fn attempt(
    worker: &Rc<Worker>,
    member: &Member,
    outbound: &Outbound,
    timeouts: &Timeouts,
    patience: Duration,
) -> Result<Answer, Failure> {
    let first = lease(worker, member, timeouts, Wanted::Any).await?;
    let reused = first.reused;
    let began = Instant::now();
    match exchange(first, member, outbound.request(member), patience).await {
        Err(failure) if reused && is_stale(&failure, began) => {
            let fresh = lease(worker, member, timeouts, Wanted::Fresh).await?;
            exchange(fresh, member, outbound.request(member), patience).await
        }
        done => done,
    }
}

fn is_stale(failure: &Failure, began: Instant) -> bool {
    failure.reason == Reason::InstanceClosed && began.elapsed() < STALE_WITHIN
}

async fn exchange(
    lease: Lease,
    member: &Member,
    request: Request<Replay>,
    patience: Duration,
) -> Result<Answer, Failure> {
    let mut sender = lease.sender;
    let began = Instant::now();
    let name = &member.name;
    match timeout(patience, sender.try_send_request(request)).await {
        Ok(Ok(response)) => Ok(Answer { response, sender, first_byte: began.elapsed() }),
        Ok(Err(mut failed)) => {
            let sent = match failed.take_message() {
                Some(_) => Sent::Nothing,
                None => Sent::Perhaps,
            };
            let error = failed.into_error();
            let reason = match error.is_parse() || error.is_parse_too_large() {
                true => Reason::InstanceGarbled,
                false => Reason::InstanceClosed,
            };
            Err(Failure { reason, sent, text: format!("{name}: {}", chain(&error)) })
        }
        Err(_) => {
            let waited = patience.as_secs_f64();
            let text = format!("{name}: no answer within {waited} s");
            Err(Failure { reason: Reason::InstanceTimeout, sent: Sent::Perhaps, text })
        }
    }
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
