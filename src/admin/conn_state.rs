//! What a connection of the admin listener is about, since when, and when it has to end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long connections may take. Not for operators to set: their clients are few and near.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For a request's head, from the connection's beginning or the head's first byte.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
    /// Between requests, and without a byte of a response taken.
    pub idle: Duration,
}

pub(super) const TIMEOUTS: Timeouts = Timeouts {
    head: Duration::from_secs(10),
    body: Duration::from_secs(60),
    idle: Duration::from_secs(75),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// Its next request has begun to come.
    Head,
    Request,
    /// The last response is made, and perhaps still goes out.
    Idle,
}

/// The phase of a connection, and since when.
#[derive(Debug)]
pub(super) struct ConnState {
    began: Instant,
    /// Milliseconds from the beginning to the last change, times four, and the phase.
    now: AtomicU64,
    timeouts: Timeouts,
    closed: CancellationToken,
}

impl ConnState {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let now = AtomicU64::new(Phase::Head as u64);
        Self { began: Instant::now(), now, timeouts, closed: CancellationToken::new() }
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    fn now(&self) -> (Phase, Instant) {
        let now = self.now.load(Ordering::Relaxed);
        let phase = match now % 4 {
            0 => Phase::Head,
            1 => Phase::Request,
            _ => Phase::Idle,
        };
        (phase, self.began + Duration::from_millis(now / 4))
    }

    pub(super) fn enter(&self, phase: Phase) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 4);
        self.now.store(millis * 4 + phase as u64, Ordering::Relaxed);
    }

    pub(super) fn bytes_read(&self) {
        if self.now().0 == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// The client took bytes of a response.
    pub(super) fn bytes_written(&self) {
        self.enter(self.now().0);
    }

    /// Since when it waits for its client; none while a request is under way.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let (phase, since) = self.now();
        (phase != Phase::Request).then_some(since)
    }

    /// For how long the client may still be waited for, or until that is to be asked again. A request under way has no end of its own: its
    /// body has, and the response is ours.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let (phase, since) = self.now();
        let timeout = match phase {
            Phase::Head => self.timeouts.head,
            Phase::Idle => self.timeouts.idle,
            Phase::Request => return self.timeouts.head,
        };
        timeout.saturating_sub(now.saturating_duration_since(since))
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }

    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ConnState, Phase, TIMEOUTS};

    #[test]
    fn heads_and_pauses_have_an_end_and_requests_under_way_do_not() {
        let state = ConnState::new(TIMEOUTS);
        let left = |after: Duration| {
            let since = state.now().1;
            state.left(since + after)
        };
        let long = Duration::from_secs(3600);
        state.bytes_read();
        assert_eq!(
            left(TIMEOUTS.head / 2),
            TIMEOUTS.head / 2,
            "the head began with the connection"
        );
        assert_eq!(left(long), Duration::ZERO);
        state.enter(Phase::Request);
        assert_eq!(left(long), TIMEOUTS.head);
        state.enter(Phase::Idle);
        assert_eq!(left(TIMEOUTS.head), TIMEOUTS.idle - TIMEOUTS.head);
        assert_eq!(left(long), Duration::ZERO);
        state.bytes_read();
        assert_eq!(left(long), Duration::ZERO);
        assert_eq!(left(Duration::ZERO), TIMEOUTS.head);
    }
}
