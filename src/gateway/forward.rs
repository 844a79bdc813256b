//! The retry loop: candidate after candidate, until one answers or none may be asked any more.

use std::sync::Arc;

use crate::gateway::attempt::{Answer, attempt};
use crate::gateway::failure::{Failure, Sent};
use crate::gateway::outbound::Outbound;
use crate::gateway::record::Record;
use crate::gateway::select::{Candidate, Candidates, Tie};
use crate::gateway::snapshot::{Member, Snapshot};
use crate::gateway::worker::Worker;
use crate::model::{Reason, Refusal};

/// An answer's head, whose it is, and the body to come.
pub(super) struct Forwarded {
    /// The member that answered.
    pub member: Arc<Member>,
    /// Its answer.
    pub answer: Answer,
    /// The member counts this request as under way until this is dropped.
    pub flight: Flight,
}

/// A request under way at an instance.
pub(super) struct Flight(Arc<Member>);

impl Flight {
    fn begin(member: &Arc<Member>) -> Self {
        member.instance.in_flight().rise();
        member.stats.in_flight.rise();
        Self(Arc::clone(member))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.instance.in_flight().fall();
        self.0.stats.in_flight.fall();
    }
}

/// Sends the request to its candidates in turn.
///
/// The next one is asked only if the last certainly did not get the request, or if asking twice
/// changes nothing.
///
/// # Errors
/// The refusal for the client, when no candidate is left or may be asked.
pub(super) async fn forward(
    worker: &Worker,
    snapshot: &Snapshot,
    mut candidates: Candidates,
    outbound: &Outbound,
    record: &mut Record,
) -> Result<Forwarded, Refusal> {
    let timeouts = &snapshot.timeouts;
    let clock = worker.shared();
    let tie = candidates.tie();
    let mut left = snapshot.further_attempts;
    let mut last: Option<Failure> = None;
    while let Some(Candidate { member, trust }) = candidates.next(clock.now_ms()) {
        let another = left > 0 && candidates.has_next();
        let patience = match outbound.is_idempotent() && another {
            true => timeouts.first_byte_idempotent,
            false => timeouts.first_byte,
        };
        let flight = Flight::begin(&member);
        let failure =
            match attempt(&worker.connections, &member, outbound, timeouts, patience).await {
                Ok(answer) => {
                    trust.answered(answer.response.status().as_u16(), clock.now_ms());
                    member.stats.first_byte.observe(answer.first_byte);
                    return Ok(Forwarded { member, answer, flight });
                }
                Err(failure) => failure,
            };
        if let Some(cause) = failure.cause(member.instance.slots()) {
            member.stats.failures.add_one();
            trust.bad(cause, &failure.text, clock.now_ms());
        }
        record.attempt_failed(&member, &failure);
        let again = left > 0 && may_ask_another(&failure, outbound.is_idempotent(), tie);
        last = Some(failure);
        if !again {
            break;
        }
        left -= 1;
    }
    Err(last.map_or_else(|| nobody(&candidates), |failure| refusal(&failure)))
}

fn may_ask_another(failure: &Failure, idempotent: bool, tie: Tie) -> bool {
    match (failure.reason, failure.sent) {
        (Reason::Busy, _) => tie == Tie::Free,
        (_, Sent::Nothing) => true,
        (_, Sent::Perhaps) => idempotent,
    }
}

fn nobody(candidates: &Candidates) -> Refusal {
    let out: Vec<_> = candidates
        .skipped()
        .iter()
        .map(|(member, why)| format!("{} ({})", member.name, why.label()))
        .collect();
    Refusal::instance(
        Reason::NoInstance,
        503,
        "service_unavailable",
        "No instance of this app is available at the moment. Please try again.",
    )
    .with_detail(format!("out of rotation: {}", out.join(", ")))
    .retry_after(1)
}

fn refusal(failure: &Failure) -> Refusal {
    let (status, code, message) = match failure.reason {
        Reason::Busy => (
            429,
            "too_many_requests",
            "The instance that serves you is busy. Please try again in a moment.",
        ),
        Reason::InstanceTimeout => (504, "gateway_timeout", "The instance did not answer in time."),
        Reason::ConnectFailed => {
            (502, "bad_gateway", "No instance of this app could be reached. Please try again.")
        }
        Reason::InstanceGarbled => {
            (502, "bad_gateway", "The instance gave an answer that is not HTTP.")
        }
        _ => (502, "bad_gateway", "The instance closed the connection before it answered."),
    };
    let refusal =
        Refusal::instance(failure.reason, status, code, message).with_detail(failure.text.clone());
    if failure.reason == Reason::Busy { refusal.retry_after(1) } else { refusal }
}
