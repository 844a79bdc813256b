//! Streamed flows at one instance: the places they take, and whether they start there.
//!
//! From Dify 1.13 on a streamed chatflow or workflow is done by a worker with few places
//! (`CELERY_WORKER_AMOUNT`, 1 where it is empty). Where `max_runs` is set, no more of them are under
//! way there, and the others wait here, first come, first served. A place is held from before the
//! request is sent until the run says that it has ended, not until its stream does.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::balance::RunStarts;
use crate::gateway::state::policy::QueueLimits;
use crate::gateway::state::slots::{Slot, Slots};
use crate::telemetry::{Counter, Gauge};

/// More runs than any instance does, where `max_runs` is not set.
const NO_LIMIT: u32 = 1 << 30;

/// Streamed flows at one instance, of whichever app.
#[derive(Debug)]
pub struct Runs {
    places: Slots,
    waiting: AtomicU32,
    /// Whether runs start there.
    pub starts: RunStarts,
    /// Runs that had to wait for a place.
    pub queued: Counter,
    /// Runs that have waited for their first event for more than 5 s.
    pub late: Gauge,
    /// Runs without an event within `timeouts.run_start`.
    pub not_started: Counter,
}

/// A place of a run at its instance, given back when dropped.
pub(crate) type RunPlace = Slot;

/// Why there is no place for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// As many wait as may.
    QueueFull,
    /// None came free in time.
    TooLate,
}

impl Runs {
    /// No run is under way.
    pub(crate) fn new() -> Self {
        Self {
            places: Slots::new(NO_LIMIT),
            waiting: AtomicU32::new(0),
            starts: RunStarts::default(),
            queued: Counter::default(),
            late: Gauge::default(),
            not_started: Counter::default(),
        }
    }

    /// Streamed flows that are under way there, as far as they are known to be some.
    pub fn under_way(&self) -> u32 {
        self.places.used()
    }

    /// How many may be; none: there is no limit here.
    pub fn limit(&self) -> Option<u32> {
        Some(self.places.limit()).filter(|limit| *limit != NO_LIMIT)
    }

    /// Changes the limit. Only one caller at a time: a reload.
    pub fn set_limit(&self, limit: Option<u32>) {
        let limit = limit.unwrap_or(NO_LIMIT);
        if self.places.limit() != limit {
            self.places.resize(limit);
        }
    }

    /// Runs that wait for a place here.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether a run would get a place at once.
    pub(crate) fn has_place(&self) -> bool {
        self.places.used() < self.places.limit() && self.waiting() == 0
    }

    /// A place, if one is free and nobody waits for it.
    pub(crate) fn try_take(&self) -> Option<RunPlace> {
        self.places.try_take()
    }

    /// A place, at once or when it is this run's turn.
    ///
    /// # Errors
    /// Too many wait, or for too long.
    pub(crate) async fn take(&self, queue: QueueLimits) -> Result<RunPlace, NoPlace> {
        if let Some(place) = self.try_take() {
            return Ok(place);
        }
        self.queued.add_one();
        let Some(_queued) = Queued::join(&self.waiting, queue.size) else {
            return Err(NoPlace::QueueFull);
        };
        let taken = timeout(queue.run_timeout, self.places.take()).await;
        taken.ok().flatten().ok_or(NoPlace::TooLate)
    }
}

/// One that waits, counted until dropped.
struct Queued<'a>(&'a AtomicU32);

impl<'a> Queued<'a> {
    fn join(waiting: &'a AtomicU32, limit: u32) -> Option<Self> {
        let room = |waiting| (waiting < limit).then_some(waiting + 1);
        waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether an app's runs are flows, as far as its instances have shown it. An app is the same at all
/// of them.
#[derive(Debug, Default)]
pub(crate) struct AppKind(AtomicU8);

impl AppKind {
    const FLOW: u8 = 1;
    const PLAIN: u8 = 2;

    /// Its runs are chatflows or workflows.
    pub(crate) fn learn_flow(&self) {
        self.learn(Self::FLOW);
    }

    /// They are not: chat, agent or completion.
    pub(crate) fn learn_plain(&self) {
        self.learn(Self::PLAIN);
    }

    fn learn(&self, kind: u8) {
        if self.0.load(Ordering::Relaxed) != kind {
            self.0.store(kind, Ordering::Relaxed);
        }
    }

    /// They are known to be flows.
    pub(crate) fn is_flow(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::FLOW
    }

    /// They are known not to be.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::PLAIN
    }
}

/// How long a run may wait for its first event before an operator is told of it.
pub(crate) const LATE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{NoPlace, Runs};
    use crate::gateway::state::policy::QueueLimits;

    fn queue(size: u32, run_timeout: Duration) -> QueueLimits {
        QueueLimits { size, timeout: Duration::from_secs(1), run_timeout }
    }

    #[tokio::test]
    async fn without_a_limit_runs_are_only_counted() {
        let runs = Runs::new();
        let limits = queue(0, Duration::ZERO);
        let mut places = Vec::new();
        for _ in 0..50 {
            places.push(runs.take(limits).await.unwrap());
        }
        assert_eq!((runs.under_way(), runs.limit(), runs.queued.get()), (50, None, 0));
        drop(places);
        assert_eq!(runs.under_way(), 0);
    }

    #[tokio::test]
    async fn runs_above_the_limit_wait_in_turn_and_not_for_ever() {
        let runs = Arc::new(Runs::new());
        runs.set_limit(Some(1));
        let first = runs.take(queue(9, Duration::from_secs(9))).await.unwrap();
        assert!(!runs.has_place());
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..3 {
            let (mine, told) = (Arc::clone(&runs), told.clone());
            tokio::spawn(async move {
                let place = mine.take(queue(9, Duration::from_secs(60))).await;
                told.send(number).unwrap();
                drop(place);
            });
            while runs.waiting() <= number {
                tokio::task::yield_now().await;
            }
        }
        let full = runs.take(queue(3, Duration::from_secs(60))).await;
        assert_eq!(full.unwrap_err(), NoPlace::QueueFull);
        let late = runs.take(queue(9, Duration::from_millis(1))).await;
        assert_eq!(late.unwrap_err(), NoPlace::TooLate);
        drop(first);
        for number in 0..3 {
            assert_eq!(heard.recv().await, Some(number));
        }
        assert_eq!((runs.waiting(), runs.queued.get()), (0, 5));
    }

    #[tokio::test]
    async fn a_limit_that_is_taken_away_is_gone() {
        let runs = Runs::new();
        runs.set_limit(Some(1));
        let _first = runs.take(queue(0, Duration::ZERO)).await.unwrap();
        runs.set_limit(None);
        assert!(runs.has_place() && runs.take(queue(0, Duration::ZERO)).await.is_ok());
    }
}
