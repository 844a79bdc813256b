//! The passive judgement of an instance: `max_fails` within `fail_timeout` takes it out for
//! `fail_timeout`, then one request at a time is let through to see whether it answers again.
//!
//! All state is in two atomics, so that asking costs a load and a success costs nothing. Times are
//! milliseconds since a fixed point; the clock is the caller's.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// When an instance is taken out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures within the window that open the breaker; 0 switches it off.
    pub max_fails: u32,
    /// The window, and the time an instance then stays out.
    pub fail_timeout_ms: u64,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Connecting failed, the connection was reset, or no answer came in time. A good probe ends
    /// the ejection early.
    Unreachable,
    /// The answer was garbled or cut. The ejection runs its term, since a probe cannot see this.
    BrokenAnswer,
}

/// Leave to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The breaker is closed.
    Normal,
    /// The instance is out; this one request finds out whether it is back.
    Trial,
}

/// How the request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A response head came. The end of a stream is not waited for.
    Good,
    /// It failed through the instance's fault.
    Bad(Cause),
    /// It says nothing about the instance: the client went away, a slot did not come free.
    Unknown,
}

/// What a reader of status sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// In rotation.
    Closed,
    /// Out until the given time.
    Open {
        /// Milliseconds on the caller's clock.
        until_ms: u64,
    },
    /// The term is over; a trial decides.
    HalfOpen,
}

const CLOSED: u64 = 0;
const TRIAL_OUT: u64 = 1;

/// One instance's breaker.
#[derive(Debug, Default)]
pub struct Breaker {
    /// 0: closed. Otherwise the end of the term, shifted left, with the low bit set while a trial
    /// is out.
    state: AtomicU64,
    /// The start of the window in ms (upper 44 bits) and the failures in it (lower 20 bits).
    window: AtomicU64,
    cause: AtomicU8,
}

impl Breaker {
    /// Whether a request may be sent now, and as what.
    pub fn admit(&self, now_ms: u64) -> Option<Pass> {
        let state = self.state.load(Ordering::Acquire);
        if state == CLOSED {
            return Some(Pass::Normal);
        }
        if state & TRIAL_OUT != 0 || now_ms < state >> 1 {
            return None;
        }
        self.state
            .compare_exchange(state, state | TRIAL_OUT, Ordering::AcqRel, Ordering::Acquire)
            .ok()
            .map(|_| Pass::Trial)
    }

    /// Takes the verdict of a request that was let through. True when it opened the breaker.
    pub fn settle(&self, pass: Pass, verdict: Verdict, limits: Thresholds, now_ms: u64) -> bool {
        match (pass, verdict) {
            (Pass::Normal, Verdict::Good | Verdict::Unknown) => false,
            (Pass::Normal, Verdict::Bad(cause)) => self.count(cause, limits, now_ms),
            (Pass::Trial, Verdict::Good) => {
                self.close();
                false
            }
            (Pass::Trial, Verdict::Bad(cause)) => {
                self.open(cause, limits, now_ms);
                true
            }
            (Pass::Trial, Verdict::Unknown) => {
                self.state.fetch_and(!TRIAL_OUT, Ordering::AcqRel);
                false
            }
        }
    }

    /// An active probe answered: ends an ejection for being unreachable. True if it did.
    pub fn probed_well(&self) -> bool {
        let out = self.state.load(Ordering::Acquire) != CLOSED;
        let ends = out && self.cause() == Cause::Unreachable;
        if ends {
            self.close();
        }
        ends
    }

    /// Where it stands.
    pub fn state(&self, now_ms: u64) -> BreakerState {
        match self.state.load(Ordering::Acquire) {
            CLOSED => BreakerState::Closed,
            state if now_ms < state >> 1 => BreakerState::Open { until_ms: state >> 1 },
            _ => BreakerState::HalfOpen,
        }
    }

    /// Why it opened last.
    pub fn cause(&self) -> Cause {
        match self.cause.load(Ordering::Relaxed) {
            0 => Cause::Unreachable,
            _ => Cause::BrokenAnswer,
        }
    }

    fn count(&self, cause: Cause, limits: Thresholds, now_ms: u64) -> bool {
        const COUNT_BITS: u32 = 20;
        const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
        if limits.max_fails == 0 {
            return false;
        }
        let mut seen = self.window.load(Ordering::Relaxed);
        let fails = loop {
            let (start, fails) = (seen >> COUNT_BITS, seen & COUNT_MASK);
            let fresh = fails == 0 || now_ms.saturating_sub(start) > limits.fail_timeout_ms;
            let next =
                if fresh { now_ms << COUNT_BITS | 1 } else { (seen + 1).min(seen | COUNT_MASK) };
            match self.window.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break next & COUNT_MASK,
                Err(other) => seen = other,
            }
        };
        let opens =
            fails >= u64::from(limits.max_fails) && self.state.load(Ordering::Acquire) == CLOSED;
        if opens {
            self.open(cause, limits, now_ms);
        }
        opens
    }

    fn open(&self, cause: Cause, limits: Thresholds, now_ms: u64) {
        self.cause.store(u8::from(cause == Cause::BrokenAnswer), Ordering::Relaxed);
        // At least 1, so that the state differs from closed whatever the clock says.
        let until = (now_ms + limits.fail_timeout_ms).max(1);
        self.state.store(until << 1, Ordering::Release);
    }

    fn close(&self) {
        self.window.store(0, Ordering::Relaxed);
        self.state.store(CLOSED, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, BreakerState, Cause, Pass, Thresholds, Verdict};

    const LIMITS: Thresholds = Thresholds { max_fails: 3, fail_timeout_ms: 30_000 };
    const BAD: Verdict = Verdict::Bad(Cause::Unreachable);

    fn opened(cause: Cause) -> Breaker {
        let breaker = Breaker::default();
        for at in 0..3 {
            let opened = breaker.settle(Pass::Normal, Verdict::Bad(cause), LIMITS, at);
            assert_eq!(opened, at == 2);
        }
        breaker
    }

    #[test]
    fn opens_at_max_fails_within_the_window() {
        let breaker = opened(Cause::Unreachable);
        assert_eq!(breaker.admit(3), None);
        assert_eq!(breaker.state(3), BreakerState::Open { until_ms: 30_002 });
    }

    #[test]
    fn failures_further_apart_than_the_window_do_not_add_up() {
        let breaker = Breaker::default();
        for at in 0..20 {
            assert!(!breaker.settle(Pass::Normal, BAD, LIMITS, at * 15_001));
        }
        assert_eq!(breaker.admit(400_000), Some(Pass::Normal));
    }

    #[test]
    fn half_open_admits_one_request_at_a_time() {
        let breaker = opened(Cause::BrokenAnswer);
        assert_eq!(breaker.admit(30_001), None);
        assert_eq!(breaker.admit(30_002), Some(Pass::Trial));
        assert_eq!(breaker.admit(30_003), None);
        breaker.settle(Pass::Trial, Verdict::Good, LIMITS, 30_004);
        assert_eq!(breaker.admit(30_005), Some(Pass::Normal));
    }

    #[test]
    fn a_failed_trial_keeps_it_out_for_another_term() {
        let breaker = opened(Cause::Unreachable);
        assert_eq!(breaker.admit(40_000), Some(Pass::Trial));
        assert!(breaker.settle(Pass::Trial, BAD, LIMITS, 40_001));
        assert_eq!(breaker.admit(70_000), None);
        assert_eq!(breaker.admit(70_001), Some(Pass::Trial));
    }

    #[test]
    fn a_trial_without_a_verdict_makes_room_for_the_next() {
        let breaker = opened(Cause::Unreachable);
        assert_eq!(breaker.admit(40_000), Some(Pass::Trial));
        breaker.settle(Pass::Trial, Verdict::Unknown, LIMITS, 40_001);
        assert_eq!(breaker.admit(40_002), Some(Pass::Trial));
    }

    #[test]
    fn a_good_probe_ends_unreachable_but_not_broken_answers() {
        let unreachable = opened(Cause::Unreachable);
        assert!(unreachable.probed_well());
        assert_eq!(unreachable.admit(5), Some(Pass::Normal));
        let broken = opened(Cause::BrokenAnswer);
        assert!(!broken.probed_well());
        assert_eq!(broken.admit(5), None);
    }

    #[test]
    fn no_max_fails_means_never_out() {
        let breaker = Breaker::default();
        let off = Thresholds { max_fails: 0, ..LIMITS };
        for at in 0..100 {
            assert!(!breaker.settle(Pass::Normal, BAD, off, at));
        }
        assert_eq!(breaker.admit(100), Some(Pass::Normal));
    }

    #[test]
    fn a_full_counter_does_not_spill_into_the_window() {
        let breaker = Breaker::default();
        let high = Thresholds { max_fails: u32::MAX, fail_timeout_ms: 30_000 };
        for _ in 0..(1 << 20) + 10 {
            breaker.settle(Pass::Normal, BAD, high, 7);
        }
        assert_eq!(breaker.state(8), BreakerState::Closed);
    }
}
