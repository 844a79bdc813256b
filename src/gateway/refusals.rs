//! What the client is told when no instance's answer can be passed on.

use std::io;
use std::time::Duration;

use uuid::Uuid;

use crate::gateway::failure::{Failure, Sent};
use crate::gateway::journey::Forwarded;
use crate::gateway::member::Member;
use crate::gateway::runs::NoPlace;
use crate::gateway::select::Candidates;
use crate::model::{Reason, Refusal};

/// A failed attempt after which no other may follow.
pub(super) fn of(failure: &Failure) -> Refusal {
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

/// The same, where only the app's retry budget stood in the way.
pub(super) fn out_of_budget(failure: &Failure) -> Refusal {
    of(failure).with_detail(format!("{}; the retry budget is used up", failure.text))
}

/// Every candidate is out.
pub(super) fn nobody(candidates: &Candidates) -> Refusal {
    unavailable(Reason::NoInstance, "No instance of this app is available at the moment.")
        .with_detail(format!("out of rotation: {}", names(candidates)))
}

/// The one that has what the request names is out.
pub(super) fn owner_out(member: &Member, failure: Option<&Failure>) -> Refusal {
    let why = match (failure, member.instance.last_failure()) {
        (Some(failure), _) => failure.text.clone(),
        (None, Some(last)) => last.to_string(),
        (None, None) => "it is out of rotation".to_owned(),
    };
    owner_message().with_detail(format!("{} has what the request names: {why}", member.name()))
}

/// Nobody who could be asked has what the request names; somebody could not be asked.
pub(super) fn perhaps_elsewhere(candidates: &Candidates, last: Option<&Failure>) -> Refusal {
    let out = names(candidates);
    let failed = last.map_or_else(String::new, |failure| format!("; {}", failure.text));
    owner_message().with_detail(format!("not on those asked; not asked: {out}{failed}"))
}

/// Nobody who answered has it; these did not answer.
pub(super) fn perhaps_there(names: &str) -> Refusal {
    owner_message().with_detail(format!("not on those that answered; no answer from: {names}"))
}

/// As many instances are being asked for conversations as may be.
pub(super) fn too_many_searches() -> Refusal {
    let message =
        "Too many unknown conversations are being looked for. Please try again in a moment.";
    Refusal::client(Reason::Busy, 429, "too_many_requests", message).retry_after(1)
}

/// The task runs for another user or app.
pub(super) fn foreign_task() -> Refusal {
    let message = "No such task runs for this user.";
    Refusal::client(Reason::Forbidden, 404, "not_found", message)
}

fn owner_message() -> Refusal {
    let message = "The instance that has what the request names is not available at the moment.";
    unavailable(Reason::OwnerOut, message)
}

fn unavailable(reason: Reason, message: &str) -> Refusal {
    let code = match reason {
        Reason::OwnerOut => "owner_unavailable",
        _ => "service_unavailable",
    };
    let message = format!("{message} Please try again.");
    Refusal::instance(reason, 503, code, message).retry_after(1)
}

/// The turn before in the same conversation goes on for too long.
pub(super) fn turn_taken(conversation: Uuid, waited: Duration) -> Refusal {
    Refusal::client(
        Reason::Busy,
        429,
        "too_many_requests",
        "The conversation's last turn is still running. Please wait for its end.",
    )
    .with_detail(format!("conversation {conversation}: waited {} s", waited.as_secs_f64()))
    .retry_after(1)
}

/// A changed body could not be kept.
pub(super) fn spool(error: &io::Error) -> Refusal {
    Refusal::gateway(
        Reason::SpoolFailed,
        507,
        "insufficient_storage",
        "The gateway has no room to keep the request's body.",
    )
    .with_detail(error.to_string())
}

/// Dify's own way to say that the app takes no more runs: 400 `invalid_param` "Too many requests".
pub(super) fn busy(forwarded: &Forwarded) -> Failure {
    let text = format!("{}: Dify takes no more runs of this app", forwarded.member.name());
    Failure { reason: Reason::Busy, sent: Sent::Nothing, text }
}

/// All places for streamed flows stay taken at this member's instance.
pub(super) fn no_place(member: &Member, why: NoPlace) -> Failure {
    let (name, limit) = (member.name(), member.instance.runs().limit().unwrap_or_default());
    let text = match why {
        NoPlace::QueueFull => {
            let size = member.queue.size;
            format!("{name}: all {limit} runs of `max_runs` are under way and {size} wait")
        }
        NoPlace::TooLate => {
            let waited = member.queue.run_timeout.as_secs_f64();
            format!("{name}: all {limit} runs of `max_runs` stayed under way for {waited} s")
        }
    };
    Failure { reason: Reason::Busy, sent: Sent::Nothing, text }
}

/// An answer whose status says that another should be asked.
pub(super) fn bad_status(forwarded: &Forwarded) -> Failure {
    let status = forwarded.answer.head.status.as_u16();
    let text = format!("{}: answered {status}", forwarded.member.name());
    Failure { reason: Reason::BadStatus, sent: Sent::Head, text }
}

/// Who was passed over, and why.
fn names(candidates: &Candidates) -> String {
    let skipped = candidates.skipped().iter();
    let names: Vec<_> =
        skipped.map(|(member, why)| format!("{} ({})", member.name(), why.label())).collect();
    names.join(", ")
}
