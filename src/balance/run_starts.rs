//! Whether streamed flows start at an instance, judged by those that did not.
//!
//! From Dify 1.13 on such a run is queued for a worker and its stream says one ping at once, then
//! nothing until a worker takes it: a full queue, a dead worker and, up to 1.14.2, a request that the
//! worker refuses look alike. So one silent run says nothing. Runs of two users that saw no event
//! within `timeouts.run_start`, while no run of the instance made any progress, do: nobody works
//! there. It is then out for streamed flows until a run makes progress; one of them is let through
//! each time the same span has passed.
//!
//! All state is in atomics. Times are milliseconds since a fixed point; the clock is the caller's.

use std::sync::atomic::{AtomicU64, Ordering};

/// So many spans later a silent run is forgotten: requests that a worker refuses silently must not
/// add up over hours without any run.
const FORGOTTEN_AFTER: u64 = 5;

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunChange {
    /// Nothing.
    Unchanged,
    /// Runs no longer start there.
    WentOut,
    /// Runs start there again.
    CameBack,
}

/// Whether runs start at one instance.
#[derive(Debug, Default)]
pub struct RunStarts {
    /// When a run made progress last; 0 if none has.
    progress_ms: AtomicU64,
    /// Whose silent run was noted, and when; 0 if none was since the last progress.
    silent_user: AtomicU64,
    silent_ms: AtomicU64,
    /// 0: in. Else when the next run is let through as a trial.
    trial_ms: AtomicU64,
    since_ms: AtomicU64,
}

impl RunStarts {
    /// A run said something: its first event, or anything after that.
    pub fn progressed(&self, now_ms: u64) -> RunChange {
        let now_ms = now_ms.max(1);
        // Many streams come here, so the line is written once in a while.
        if now_ms.saturating_sub(self.progress_ms.load(Ordering::Relaxed)) >= 250 {
            self.progress_ms.store(now_ms, Ordering::Release);
        }
        if self.silent_user.load(Ordering::Relaxed) != 0 {
            self.silent_user.store(0, Ordering::Release);
        }
        if self.trial_ms.load(Ordering::Relaxed) == 0
            || self.trial_ms.swap(0, Ordering::AcqRel) == 0
        {
            return RunChange::Unchanged;
        }
        self.since_ms.store(now_ms, Ordering::Relaxed);
        RunChange::CameBack
    }

    /// A run of `user` (a hash) that was sent at `sent_ms` has said nothing for `span_ms`.
    pub fn silent(&self, user: u64, sent_ms: u64, now_ms: u64, span_ms: u64) -> RunChange {
        if self.progress_ms.load(Ordering::Acquire) >= sent_ms.max(1) {
            return RunChange::Unchanged;
        }
        let user = user.max(1);
        let noted = self.silent_user.load(Ordering::Acquire);
        let age_ms = now_ms.saturating_sub(self.silent_ms.load(Ordering::Acquire));
        if noted == 0 || age_ms > span_ms.saturating_mul(FORGOTTEN_AFTER) {
            self.silent_ms.store(now_ms, Ordering::Release);
            self.silent_user.store(user, Ordering::Release);
            return RunChange::Unchanged;
        }
        if noted == user {
            return RunChange::Unchanged;
        }
        let next = now_ms.saturating_add(span_ms).max(1);
        let opens =
            self.trial_ms.compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !opens {
            return RunChange::Unchanged;
        }
        self.since_ms.store(now_ms.max(1), Ordering::Relaxed);
        RunChange::WentOut
    }

    /// Whether a run may be sent there now. A trial is let through once in `span_ms`.
    pub fn admit(&self, now_ms: u64, span_ms: u64) -> bool {
        let due = self.trial_ms.load(Ordering::Acquire);
        if due == 0 {
            return true;
        }
        let next = now_ms.saturating_add(span_ms).max(1);
        now_ms >= due
            && self
                .trial_ms
                .compare_exchange(due, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// Whether [`admit`](Self::admit) would say so, without using up the trial.
    pub fn would_admit(&self, now_ms: u64) -> bool {
        let due = self.trial_ms.load(Ordering::Acquire);
        due == 0 || now_ms >= due
    }

    /// Whether it is out for streamed flows, its trial included.
    pub fn is_out(&self) -> bool {
        self.trial_ms.load(Ordering::Acquire) != 0
    }

    /// When it went out or came back last, in ms; 0 if it was never out.
    pub fn since_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{RunChange, RunStarts};

    const SPAN: u64 = 60_000;
    const ALICE: u64 = 11;
    const BOB: u64 = 22;

    #[test]
    fn one_users_silent_runs_count_against_nobody() {
        let starts = RunStarts::default();
        for minute in 1..20 {
            let sent = minute * SPAN;
            assert_eq!(starts.silent(ALICE, sent, sent + SPAN, SPAN), RunChange::Unchanged);
        }
        assert!(!starts.is_out() && starts.admit(0, SPAN));
    }

    #[test]
    fn silent_runs_of_two_users_take_it_out_and_progress_brings_it_back() {
        let starts = RunStarts::default();
        assert_eq!(starts.silent(ALICE, 1000, 61_000, SPAN), RunChange::Unchanged);
        assert_eq!(starts.silent(BOB, 2000, 62_000, SPAN), RunChange::WentOut);
        assert_eq!(starts.silent(3, 2500, 62_500, SPAN), RunChange::Unchanged);
        assert!(starts.is_out());
        assert!(!starts.would_admit(100_000) && !starts.admit(100_000, SPAN));
        // One trial each span.
        assert!(starts.would_admit(122_000) && starts.admit(122_000, SPAN));
        assert!(!starts.admit(122_001, SPAN) && starts.admit(182_000, SPAN));
        assert_eq!(starts.progressed(183_000), RunChange::CameBack);
        assert_eq!(starts.progressed(183_001), RunChange::Unchanged);
        assert!(!starts.is_out() && starts.admit(183_002, SPAN));
        assert_eq!(starts.since_ms(), 183_000);
        // Nothing of before is left.
        assert_eq!(starts.silent(ALICE, 184_000, 244_000, SPAN), RunChange::Unchanged);
    }

    #[test]
    fn a_run_that_goes_on_meanwhile_says_that_a_worker_is_there() {
        let starts = RunStarts::default();
        starts.progressed(30_000);
        assert_eq!(starts.silent(ALICE, 1000, 61_000, SPAN), RunChange::Unchanged);
        assert_eq!(starts.silent(BOB, 2000, 62_000, SPAN), RunChange::Unchanged);
        // Between the two: the first one's silence is forgotten.
        assert_eq!(starts.silent(ALICE, 40_000, 100_000, SPAN), RunChange::Unchanged);
        starts.progressed(101_000);
        assert_eq!(starts.silent(BOB, 102_000, 162_000, SPAN), RunChange::Unchanged);
        assert!(!starts.is_out());
    }

    #[test]
    fn silent_runs_hours_apart_do_not_add_up() {
        let starts = RunStarts::default();
        assert_eq!(starts.silent(ALICE, 1, SPAN, SPAN), RunChange::Unchanged);
        assert_eq!(starts.silent(BOB, 100 * SPAN, 101 * SPAN, SPAN), RunChange::Unchanged);
        assert_eq!(starts.silent(ALICE, 101 * SPAN, 102 * SPAN, SPAN), RunChange::WentOut);
    }
}
