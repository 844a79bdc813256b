//! One attempt: one request to one instance, up to the head of its answer.

use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, timeout};

use crate::gateway::body::Replay;
use crate::gateway::connection::{Connections, Lease, Wanted};
use crate::gateway::failure::{Failure, Sent, chain};
use crate::gateway::outbound::Outbound;
use crate::gateway::snapshot::{Member, Timeouts};
use crate::model::Reason;

/// A reused connection that dies this soon after a request is taken for one that the instance had
/// already closed. Later than that, the instance may have worked on the request.
const STALE_WITHIN: Duration = Duration::from_secs(1);

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
    connections: &Connections,
    member: &Member,
    outbound: &Outbound,
    timeouts: &Timeouts,
    patience: Duration,
) -> Result<Answer, Failure> {
    let first = connections.lease(member, timeouts, Wanted::Any).await?;
    let reused = first.reused;
    let began = Instant::now();
    match exchange(first, member, outbound.request(member), patience).await {
        Err(failure) if reused && is_stale(&failure, began) => {
            let fresh = connections.lease(member, timeouts, Wanted::Fresh).await?;
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
