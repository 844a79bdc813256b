//! The passive judgement of an instance: `max_fails` within `fail_timeout` take it out for
//! `fail_timeout`; then one request at a time is let through to see whether it answers again. Statuses
//! of answers are judged by app, in [`StatusBreaker`](super::StatusBreaker).
//!
//! A request may break an answer or wait in vain for one through its own fault: a run that takes too
//! long, an input that ends Dify's worker. So who fails alone while others succeed within the same time
//! takes nothing out, be it one caller among several or one app among several.
//!
//! All state is in atomics, so that asking costs a load and a success nearly nothing. Times are
//! milliseconds since a fixed point; the clock is the caller's. Whether an instance that has failed
//! often enough may be taken out is the caller's decision too: it knows the others.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::requester::{BITS, CallerId, MASK, Seen};

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
pub enum EjectionCause {
    /// Connecting failed, the connection was reset, or no answer came in time. A good probe ends
    /// the ejection early.
    Unreachable,
    /// The answer was garbled or cut. The ejection runs its term, since a probe cannot see this.
    BrokenAnswer,
}

/// Leave to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// The breaker is closed.
    Normal,
    /// The instance is out; this one request finds out whether it is back.
    Trial,
}

/// How the request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A response head came to this caller. The end of a stream is not waited for.
    Good(CallerId),
    /// It failed through the instance's fault; for this caller, where that may matter.
    Bad(EjectionCause, Option<CallerId>),
    /// It says nothing about the instance: the client went away, a slot did not come free.
    Unknown,
}

/// What a verdict came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerOutcome {
    /// Nothing.
    Unchanged,
    /// It has failed often enough: the caller may [open](Breaker::open) the breaker.
    Due(EjectionCause),
    /// It would be due, but who fails here fails alone: others have succeeded.
    Excused,
    /// The trial failed: it is out for another term.
    StaysOut,
    /// The trial succeeded: it is in again.
    IsBack,
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

const USERS_DIFFER: u64 = 1 << (2 * BITS);
const APPS_DIFFER: u64 = 1 << (2 * BITS + 1);

/// One instance's breaker.
#[derive(Debug, Default)]
pub struct Breaker {
    /// 0: closed. Otherwise the end of the term, shifted left, with the low bit set while a trial
    /// is out.
    state: AtomicU64,
    /// The start of the window in ms (upper 44 bits) and the failures in it (lower 20 bits).
    window: AtomicU64,
    /// Whose failures the window has: app, user, [`USERS_DIFFER`] and [`APPS_DIFFER`].
    failed: AtomicU64,
    /// Users that were answered.
    users: Seen,
    /// Apps that were answered.
    apps: Seen,
    cause: AtomicU8,
    /// When it was taken out or came back last; 0 if it was never out.
    since_ms: AtomicU64,
}

impl Breaker {
    /// Whether a request may be sent now, and as what.
    pub fn admit(&self, now_ms: u64) -> Option<Permit> {
        let state = self.state.load(Ordering::Acquire);
        if state == CLOSED {
            return Some(Permit::Normal);
        }
        if state & TRIAL_OUT != 0 || now_ms < state >> 1 {
            return None;
        }
        self.state
            .compare_exchange(state, state | TRIAL_OUT, Ordering::AcqRel, Ordering::Acquire)
            .ok()
            .map(|_| Permit::Trial)
    }

    /// Takes the verdict of a request that was let through.
    pub fn settle(
        &self,
        pass: Permit,
        verdict: Verdict,
        limits: &Thresholds,
        now_ms: u64,
    ) -> BreakerOutcome {
        if let Verdict::Good(caller) = verdict {
            self.users.note(caller.user, now_ms);
            self.apps.note(caller.app, now_ms);
        }
        match (pass, verdict) {
            (Permit::Normal, Verdict::Unknown | Verdict::Good(_)) => BreakerOutcome::Unchanged,
            (Permit::Normal, Verdict::Bad(cause, caller)) => {
                let fails = self.count(*limits, caller, now_ms);
                match self.due(fails, cause, *limits) {
                    BreakerOutcome::Due(_) if self.fails_alone(*limits, now_ms) => {
                        BreakerOutcome::Excused
                    }
                    settled => settled,
                }
            }
            (Permit::Trial, Verdict::Good(_)) => {
                self.close(now_ms);
                BreakerOutcome::IsBack
            }
            (Permit::Trial, Verdict::Bad(cause, _)) => self.stay_out(cause, *limits, now_ms),
            (Permit::Trial, Verdict::Unknown) => {
                self.state.fetch_and(!TRIAL_OUT, Ordering::AcqRel);
                BreakerOutcome::Unchanged
            }
        }
    }

    /// Takes the instance out for its term. False if it was out already.
    pub fn open(&self, cause: EjectionCause, limits: Thresholds, now_ms: u64) -> bool {
        let until = until(limits, now_ms);
        let opens = self
            .state
            .compare_exchange(CLOSED, until << 1, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if opens {
            self.note(cause);
            self.since_ms.store(now_ms.max(1), Ordering::Relaxed);
        }
        opens
    }

    /// A probe answered after one that failed: what is there now is not what was judged, so that
    /// ends any ejection. True if it did.
    pub fn probed_anew(&self, now_ms: u64) -> bool {
        let ends = self.is_open();
        if ends {
            self.close(now_ms);
        }
        ends
    }

    /// An active probe answered: ends an ejection for being unreachable. True if it did.
    pub fn probed_well(&self, now_ms: u64) -> bool {
        let ends = self.is_open() && self.cause() == EjectionCause::Unreachable;
        if ends {
            self.close(now_ms);
        }
        ends
    }

    /// Whether the instance is out, its trial included.
    pub fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) != CLOSED
    }

    /// When the instance was taken out or came back last, in ms; 0 if it was never out.
    pub fn since_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
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
    pub fn cause(&self) -> EjectionCause {
        match self.cause.load(Ordering::Relaxed) {
            0 => EjectionCause::Unreachable,
            _ => EjectionCause::BrokenAnswer,
        }
    }

    /// Failures within the window, with this one.
    fn count(&self, limits: Thresholds, caller: Option<CallerId>, now_ms: u64) -> u64 {
        const COUNT_BITS: u32 = 20;
        const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
        let mut seen = self.window.load(Ordering::Relaxed);
        loop {
            let (start, fails) = (seen >> COUNT_BITS, seen & COUNT_MASK);
            let fresh = fails == 0 || now_ms.saturating_sub(start) > limits.fail_timeout_ms;
            let next =
                if fresh { now_ms << COUNT_BITS | 1 } else { (seen + 1).min(seen | COUNT_MASK) };
            match self.window.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    self.blame(caller, fresh);
                    return next & COUNT_MASK;
                }
                Err(other) => seen = other,
            }
        }
    }

    /// Notes whose failure it was: the first of a window, or a further one. What does not depend on the
    /// caller is everybody's.
    fn blame(&self, caller: Option<CallerId>, is_first: bool) {
        let word = caller.map_or(USERS_DIFFER | APPS_DIFFER, |caller| {
            u64::from(caller.app) << BITS | u64::from(caller.user)
        });
        let blamed = |seen: u64| {
            let differs = |mask: u64, flag: u64| if (seen ^ word) & mask != 0 { flag } else { 0 };
            let flags = word & (USERS_DIFFER | APPS_DIFFER);
            let users = differs(MASK, USERS_DIFFER);
            Some(seen | flags | users | differs(MASK << BITS, APPS_DIFFER))
        };
        match is_first {
            true => self.failed.store(word, Ordering::Release),
            false => {
                self.failed.fetch_update(Ordering::AcqRel, Ordering::Acquire, blamed).ok();
            }
        }
    }

    /// Whether all failures of the window are of one caller, and others have been answered in the time of
    /// a window; or all of one app, and other apps have.
    fn fails_alone(&self, limits: Thresholds, now_ms: u64) -> bool {
        let failed = self.failed.load(Ordering::Acquire);
        let within_ms = limits.fail_timeout_ms;
        let user = (failed & MASK) as u32;
        let app = (failed >> BITS & MASK) as u32;
        (failed & USERS_DIFFER == 0 && self.users.has_other(user, within_ms, now_ms))
            || (failed & APPS_DIFFER == 0 && self.apps.has_other(app, within_ms, now_ms))
    }

    fn due(&self, fails: u64, cause: EjectionCause, limits: Thresholds) -> BreakerOutcome {
        let enough = limits.max_fails != 0 && fails >= u64::from(limits.max_fails);
        if enough && !self.is_open() {
            BreakerOutcome::Due(cause)
        } else {
            BreakerOutcome::Unchanged
        }
    }

    fn stay_out(&self, cause: EjectionCause, limits: Thresholds, now_ms: u64) -> BreakerOutcome {
        self.note(cause);
        self.state.store(until(limits, now_ms) << 1, Ordering::Release);
        BreakerOutcome::StaysOut
    }

    fn note(&self, cause: EjectionCause) {
        let number = match cause {
            EjectionCause::Unreachable => 0,
            EjectionCause::BrokenAnswer => 1,
        };
        self.cause.store(number, Ordering::Relaxed);
    }

    fn close(&self, now_ms: u64) {
        self.window.store(0, Ordering::Relaxed);
        self.since_ms.store(now_ms.max(1), Ordering::Relaxed);
        self.state.store(CLOSED, Ordering::Release);
    }
}

/// The end of a term that begins now; at least 1, so that the state differs from closed whatever the
/// clock says.
fn until(limits: Thresholds, now_ms: u64) -> u64 {
    now_ms.saturating_add(limits.fail_timeout_ms).clamp(1, u64::MAX >> 1)
}

#[cfg(test)]
mod tests;
