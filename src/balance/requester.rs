//! Who sends a request, as far as one must be told from another to judge an instance.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// So many bits tell callers apart: that two are taken for one is rare, and costs little.
pub(super) const BITS: u32 = 24;
pub(super) const MASK: u64 = (1 << BITS) - 1;

/// A user of an app, or an address where a request names no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerId {
    pub(super) app: u32,
    /// Of the app and the user: other than that of the same name in another app.
    pub(super) user: u32,
}

impl CallerId {
    /// Whoever `caller` is in that app.
    pub fn new(app: &str, caller: &[u8]) -> Self {
        let app = xxh3_64(app.as_bytes());
        let user = xxh3_64_with_seed(caller, app);
        let short = |hash: u64| (hash >> (64 - BITS)) as u32;
        Self { app: short(app), user: short(user) }
    }
}

/// Work that an instance may do well while it fails at the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKind {
    /// It starts a run: a model, a queue, other services.
    Run,
    /// Anything else.
    Other,
}

/// Who sends a request, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    /// Who.
    pub caller: CallerId,
    /// What for.
    pub work: WorkKind,
}

/// A time in whole seconds, never 0.
pub(super) fn second(now_ms: u64) -> u64 {
    now_ms / 1000 + 1
}

/// Two who were seen last, to the second. Of one and the same it is only refreshed, so nobody alone can
/// make it forget the others.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// An id in the lower [`BITS`], and the second above them; 0 for nobody.
    slots: [AtomicU64; 2],
}

impl Seen {
    pub(super) fn note(&self, id: u32, now_ms: u64) {
        let now = second(now_ms);
        let word = now << BITS | u64::from(id);
        let [first, other] = self.slots.each_ref().map(|slot| slot.load(Ordering::Relaxed));
        let is_same = |word: u64| word != 0 && word & MASK == u64::from(id);
        let (slot, old) = match () {
            () if is_same(first) => (&self.slots[0], first),
            () if is_same(other) => (&self.slots[1], other),
            () if first <= other => (&self.slots[0], first),
            () => (&self.slots[1], other),
        };
        // Each request comes here, so the line is written once in a while.
        if old >> BITS < now {
            slot.store(word, Ordering::Relaxed);
        }
    }

    /// Whether anybody else was seen within so many milliseconds.
    pub(super) fn has_other(&self, id: u32, within_ms: u64, now_ms: u64) -> bool {
        let oldest = second(now_ms).saturating_sub(within_ms.div_ceil(1000));
        self.slots
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .any(|word| word != 0 && word & MASK != u64::from(id) && word >> BITS >= oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::{CallerId, Seen};

    #[test]
    fn callers_are_told_apart_by_app_and_name() {
        let alice = CallerId::new("shop", b"alice");
        assert_eq!(alice, CallerId::new("shop", b"alice"));
        let others = [CallerId::new("shop", b"bob"), CallerId::new("flow", b"alice")];
        assert!(others.iter().all(|other| other.user != alice.user));
        assert_eq!((others[0].app, others[1].app == alice.app), (alice.app, false));
    }

    #[test]
    fn nobody_alone_makes_the_others_forgotten() {
        let seen = Seen::default();
        assert!(!seen.has_other(7, 30_000, 0));
        seen.note(8, 1000);
        for at in 0..40 {
            seen.note(7, 1000 + at * 500);
        }
        assert!(seen.has_other(7, 30_000, 21_000) && seen.has_other(8, 30_000, 21_000));
        assert!(!seen.has_other(7, 10_000, 21_000), "it was 20 s ago");
        // Of many there are always two.
        for id in 0..100 {
            seen.note(id, 22_000);
        }
        assert!((0..100).all(|id| seen.has_other(id, 1000, 22_500)));
    }
}
