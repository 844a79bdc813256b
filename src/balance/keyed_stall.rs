//! Whether an instance still answers requests that carry a key.
//!
//! With its Redis away, Dify from 1.12 on lets every such request hang for 24 to 49 s and answers all
//! others at once, so a probe without a key sees nothing. But a long run without a first byte says
//! nothing either: a blocking run may take minutes. So silence is only suspected here: some request
//! with a key waits, and none has got a first byte for a while. What decides is a cheap GET with a
//! key that the prober then sends; or, where our own requests leave it no connection, GETs of
//! clients that got no answer in time.
//!
//! All state is in atomics. Times are milliseconds since a fixed point; the clock is the caller's.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// For so long no request with a key has got a first byte before that is suspicious.
const SUSPICIOUS_AFTER_MS: u64 = 3000;

/// So many GETs in a row without an answer in time say it without a probe.
const LATE_GETS: u32 = 3;

/// Requests with a key that wait for a first byte, and when one got it last.
#[derive(Debug, Default)]
pub struct KeyedStall {
    waiting: AtomicU32,
    /// When one got a first byte last, or the first of those that wait began.
    heard_ms: AtomicU64,
    /// GETs that were given up since then.
    late_gets: AtomicU32,
}

impl KeyedStall {
    /// A request with a key is sent; [`ended`](Self::ended) follows.
    pub fn began(&self, now_ms: u64) {
        if self.waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            self.heard_ms.fetch_max(now_ms, Ordering::AcqRel);
        }
    }

    /// It has got an answer, or nobody waits for one any more.
    pub fn ended(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// A request with a key has got a first byte.
    pub fn answered(&self, now_ms: u64) {
        // Each request comes here, so the line is written once in a while.
        if now_ms.saturating_sub(self.heard_ms.load(Ordering::Relaxed)) >= 100 {
            self.heard_ms.fetch_max(now_ms, Ordering::AcqRel);
        }
        if self.late_gets.load(Ordering::Relaxed) != 0 {
            self.late_gets.store(0, Ordering::Release);
        }
    }

    /// A GET with a key was given up without a first byte. It began at `began_ms`.
    pub fn late_get(&self, began_ms: u64) {
        if self.heard_ms.load(Ordering::Acquire) <= began_ms {
            self.late_gets.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether it is worth asking with a key whether it answers such requests.
    pub fn is_suspicious(&self, now_ms: u64) -> bool {
        let waits = self.waiting.load(Ordering::Acquire) > 0 || self.is_certain();
        waits && now_ms.saturating_sub(self.heard_ms.load(Ordering::Acquire)) >= SUSPICIOUS_AFTER_MS
    }

    /// Whether enough GETs were given up to say so without asking.
    pub fn is_certain(&self) -> bool {
        self.late_gets.load(Ordering::Acquire) >= LATE_GETS
    }
}

#[cfg(test)]
mod tests {
    use super::KeyedStall;

    #[test]
    fn a_request_that_waits_is_suspicious_only_while_nobody_is_answered() {
        let silence = KeyedStall::default();
        assert!(!silence.is_suspicious(60_000));
        silence.began(60_000);
        assert!(!silence.is_suspicious(62_999) && silence.is_suspicious(63_000));
        // Another one is answered meanwhile: the first is a slow run.
        silence.began(63_000);
        silence.answered(63_010);
        silence.ended();
        assert!(!silence.is_suspicious(66_000) && silence.is_suspicious(66_010));
        silence.ended();
        assert!(!silence.is_suspicious(99_000));
    }

    #[test]
    fn a_slow_run_alone_is_never_certain() {
        let silence = KeyedStall::default();
        silence.began(1);
        assert!(silence.is_suspicious(600_000) && !silence.is_certain());
        // The probe that it causes is answered.
        silence.answered(600_000);
        assert!(!silence.is_suspicious(602_000));
    }

    #[test]
    fn gets_without_an_answer_are_certain_until_one_is_answered() {
        let silence = KeyedStall::default();
        silence.answered(1000);
        // It began before somebody was answered.
        silence.late_get(900);
        for began in [1000, 1100] {
            silence.late_get(began);
            assert!(!silence.is_certain());
        }
        silence.late_get(1200);
        assert!(silence.is_certain() && silence.is_suspicious(4000));
        silence.answered(4000);
        assert!(!silence.is_certain() && !silence.is_suspicious(9000));
    }
}
