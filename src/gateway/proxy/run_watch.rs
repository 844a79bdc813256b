//! A streamed flow that an instance has taken: whether it starts, and when it ends.
//!
//! How a flow is known (facts of 190 recorded streams): `/v1/workflows/run` is one by its path. Of
//! `/v1/chat-messages` the app's mode says it, which AI endpoints ask for and earlier streams have
//! shown. Where neither has, the first bytes do: from 1.13 on every stream of a flow begins with
//! `event: ping`, sent before anything is looked at (0.01 to 1 s, later only where the instance has
//! no connection to serve it by); no stream of a plain chat, an agent or a completion does, and none
//! of 1.5 or 1.12. Those ping after 10 s at the earliest, so a ping that leads later says nothing.
//!
//! The first ping comes from the API. All that follows comes from the worker, further pings included:
//! then the run has started, and only `timeouts.idle` counts.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::balance::{RunChange, fraction};
use crate::dify::path::Run;
use crate::gateway::proxy::exchange::{Exchange, millis};
use crate::gateway::proxy::select;
use crate::gateway::state::instance::Instance;
use crate::gateway::state::runs::{LATE, RunPermit};
use crate::gateway::state::shared::Shared;

/// A plain chat pings from 10 s on.
const LEADS_WITHIN: Duration = Duration::from_secs(9);

pub(crate) struct RunWatch {
    instance: Arc<Instance>,
    /// A hash of the app and its user.
    user: u64,
    began: Instant,
    began_ms: u64,
    /// `timeouts.run_start`.
    span: Duration,
    /// From sending the request to its response's head.
    first_byte: Duration,
    stage: Stage,
    timer: Pin<Box<Sleep>>,
    place: Option<RunPermit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has come, and the app's kind is not known.
    Unknown,
    Waiting(Seen),
    /// The same, and for longer than an operator should not know of it.
    Late(Seen),
    /// It did not start in time. It may still.
    Silent(Seen),
    Started,
    NoFlow,
}

/// What has come of a flow without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Ping,
}

/// What a stream has said by a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Ping,
    Event,
}

fn event_of(piece: &[u8]) -> Event {
    // Comments and blank lines are no events either.
    let is_silent =
        |line: &[u8]| line.is_empty() || line.starts_with(b":") || line == b"event: ping";
    let mut lines = piece.split(|byte| *byte == b'\n');
    if lines.all(|line| is_silent(line.strip_suffix(b"\r").unwrap_or(line))) {
        Event::Ping
    } else {
        Event::Event
    }
}

/// What a piece of a stream has told of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunProgress {
    /// It has not started, as far as is known.
    None,
    Started,
    /// It is no flow: there is nothing to watch.
    NoFlow,
}

impl RunWatch {
    /// Watches a run whose stream begins; none if it is known to be no flow, or does not stream.
    /// The place that it has is taken over.
    pub(crate) fn new(
        exchange: &mut Exchange,
        instance: &Arc<Instance>,
        first_byte: Duration,
    ) -> Option<Box<Self>> {
        let call = exchange.call.as_mut()?;
        let (run, kind) = (call.run?, &call.app.stats.kind);
        let stage = match run {
            Run::Completion => return None,
            Run::Workflow => Stage::Waiting(Seen::Nothing),
            Run::Chat if kind.is_flow() => Stage::Waiting(Seen::Nothing),
            Run::Chat if kind.is_plain() => return None,
            Run::Chat => Stage::Unknown,
        };
        let user = call.user_in_body.as_deref().unwrap_or_default();
        let key = select::key(call.app.name.as_str(), user);
        let began = Instant::now();
        Some(Box::new(Self {
            instance: Arc::clone(instance),
            user: fraction(key.as_bytes()),
            began,
            began_ms: exchange.worker.shared().ms_at(began.into_std()),
            span: exchange.snapshot.timeouts.run_start,
            first_byte,
            stage,
            timer: Box::pin(sleep_until(began + LATE.min(exchange.snapshot.timeouts.run_start))),
            place: call.place.take(),
        }))
    }

    /// A piece of the stream came. Of what is said of the run as a whole, `is_flow` knows more:
    /// an event named a workflow's run.
    pub(crate) fn passed(&mut self, piece: &[u8], is_flow: bool, shared: &Shared) -> RunProgress {
        let event = event_of(piece);
        let next = match (self.stage, event) {
            (Stage::Started | Stage::NoFlow, _) => self.stage,
            (Stage::Unknown, Event::Ping) if self.leads() => Stage::Waiting(Seen::Ping),
            (Stage::Unknown, Event::Event) if is_flow => Stage::Started,
            (Stage::Unknown, _) => Stage::NoFlow,
            (Stage::Waiting(Seen::Nothing), Event::Ping) => Stage::Waiting(Seen::Ping),
            (Stage::Late(Seen::Nothing), Event::Ping) => Stage::Late(Seen::Ping),
            (Stage::Silent(Seen::Nothing), Event::Ping) => Stage::Silent(Seen::Ping),
            (Stage::Waiting(_) | Stage::Late(_) | Stage::Silent(_), _) => Stage::Started,
        };
        if self.stage == Stage::Unknown && next != Stage::NoFlow {
            // It is counted as far as there is room: it is there already.
            self.place = self.place.take().or_else(|| self.instance.runs().try_take());
        }
        self.enter(next);
        match next {
            Stage::Started => {
                self.goes_on(shared);
                RunProgress::Started
            }
            Stage::NoFlow => RunProgress::NoFlow,
            Stage::Unknown | Stage::Waiting(_) | Stage::Late(_) | Stage::Silent(_) => {
                RunProgress::None
            }
        }
    }

    /// The run has started, and something more of it came.
    pub(crate) fn goes_on(&self, shared: &Shared) {
        let change = self.instance.runs().starts.progressed(shared.now_ms());
        self.tell(change);
    }

    /// Whether a ping that comes now comes too early for a plain chat.
    fn leads(&self) -> bool {
        self.first_byte + self.began.elapsed() < LEADS_WITHIN
    }

    /// Ready once, when the run has said nothing for `timeouts.run_start`. That is noted.
    pub(crate) fn poll_silent(&mut self, context: &mut Context<'_>, shared: &Shared) -> Poll<()> {
        loop {
            let seen = match self.stage {
                Stage::Waiting(seen) | Stage::Late(seen) => seen,
                _ => return Poll::Pending,
            };
            ready!(self.timer.as_mut().poll(context));
            if self.began.elapsed() < self.span {
                self.enter(Stage::Late(seen));
                self.timer.as_mut().reset(self.began + self.span);
                continue;
            }
            self.enter(Stage::Silent(seen));
            let runs = self.instance.runs();
            runs.not_started.add_one();
            let (now_ms, span_ms) = (shared.now_ms(), millis(self.span));
            let change = runs.starts.silent(self.user, self.began_ms, now_ms, span_ms);
            self.tell(change);
            return Poll::Ready(());
        }
    }

    /// The run does no more: its place is another one's.
    pub(crate) fn ended(&mut self) {
        self.place = None;
    }

    /// For how long it may say nothing.
    pub(crate) fn span(&self) -> Duration {
        self.span
    }

    fn enter(&mut self, next: Stage) {
        let late = |stage| matches!(stage, Stage::Late(_) | Stage::Silent(_));
        match (late(self.stage), late(next)) {
            (false, true) => self.instance.runs().late.rise(),
            (true, false) => self.instance.runs().late.fall(),
            _ => {}
        }
        self.stage = next;
    }

    fn tell(&self, change: RunChange) {
        let address = self.instance.address();
        match change {
            RunChange::Unchanged => {}
            RunChange::WentOut => tracing::warn!(
                "instance {address} is out for streamed flows: none has started within {} s, of \
                 several users; does its worker run?",
                self.span.as_secs_f64()
            ),
            RunChange::CameBack => {
                tracing::info!("instance {address} is back for streamed flows: one goes on");
            }
        }
    }
}

impl Drop for RunWatch {
    fn drop(&mut self) {
        self.enter(Stage::NoFlow);
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, event_of};

    #[test]
    fn a_ping_is_no_event() {
        for piece in
            ["event: ping\n\n", "event: ping", "\n\n", ": comment\n\n", "event: ping\r\n\r\n"]
        {
            assert_eq!(event_of(piece.as_bytes()), Event::Ping, "{piece:?}");
        }
        for piece in ["data: {\"event\":\"error\"}\n\n", "event: ping\n\ndata: {}\n\n", "data"] {
            assert_eq!(event_of(piece.as_bytes()), Event::Event, "{piece:?}");
        }
    }
}
