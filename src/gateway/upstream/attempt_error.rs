//! Why an attempt gave no response to pass on, as data; what follows from it is decided in `retry`.

use http::StatusCode;

use crate::balance::EjectionCause;
use crate::gateway::state::instance::Headroom;
use crate::gateway::state::member::Member;
use crate::gateway::state::runs::NoRunPermit;
use crate::model::Reason;

/// How much of the request may have reached the instance, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sent {
    Nothing,
    /// Not all of its body. Dify acts only on whole bodies, so it has not acted on this one.
    Some,
    /// Perhaps all of it: the instance may have acted on it.
    All,
    /// All of it, and the instance answered with a head.
    Head,
}

/// Why an attempt gave no response. What follows from it is decided in `retry`.
#[derive(Clone, Debug)]
pub(crate) struct AttemptError {
    pub reason: Reason,
    /// How much of the request the instance may have.
    pub sent: Sent,
    /// For the log and status; it names the instance and holds no secret.
    pub text: String,
}

impl AttemptError {
    /// The response broke off after its head.
    pub(crate) fn cut(reason: Reason, member: &Member, what: &str) -> Self {
        let text = format!("{}: answer cut: {what}", member.name());
        Self { reason, sent: Sent::Head, text }
    }

    /// Dify's own way to say that the app takes no more runs: 400 `invalid_param` "Too many
    /// requests".
    pub(crate) fn busy(member: &Member) -> Self {
        let text = format!("{}: Dify takes no more runs of this app", member.name());
        Self { reason: Reason::Busy, sent: Sent::Nothing, text }
    }

    /// All places for streamed flows stay taken at this member's instance.
    pub(crate) fn no_place(member: &Member, why: NoRunPermit) -> Self {
        let (name, limit) = (member.name(), member.instance.runs().limit().unwrap_or_default());
        let text = match why {
            NoRunPermit::QueueFull => {
                let size = member.queue.size;
                format!("{name}: all {limit} runs of `max_runs` are under way and {size} wait")
            }
            NoRunPermit::TooLate => {
                let waited = member.queue.run_timeout.as_secs_f64();
                format!("{name}: all {limit} runs of `max_runs` stayed under way for {waited} s")
            }
        };
        Self { reason: Reason::Busy, sent: Sent::Nothing, text }
    }

    /// A response whose status says that another should be asked.
    pub(crate) fn bad_status(member: &Member, status: StatusCode) -> Self {
        let text = format!("{}: answered {}", member.name(), status.as_u16());
        Self { reason: Reason::BadStatus, sent: Sent::Head, text }
    }

    /// What it says about the instance, which had that room when the attempt began; none for a
    /// failure that is not its fault.
    pub(crate) fn cause(&self, room: Headroom) -> Option<EjectionCause> {
        match self.reason {
            Reason::InstanceTimeout if room == Headroom::Last => None,
            Reason::ConnectFailed | Reason::InstanceClosed | Reason::InstanceTimeout => {
                Some(EjectionCause::Unreachable)
            }
            Reason::InstanceGarbled | Reason::AnswerCut | Reason::AnswerIdle => {
                Some(EjectionCause::BrokenAnswer)
            }
            _ => None,
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
