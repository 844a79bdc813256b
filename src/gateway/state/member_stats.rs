//! What is counted for an instance within an app.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::balance::StatusBreaker;
use crate::gateway::state::app_info_cache::AppInfoCell;
use crate::gateway::state::resume_outcome::ResumeOutcome;
use crate::telemetry::{Counter, Gauge, Histogram};

/// What is counted for an instance within an app.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct MemberStats {
    /// Requests under way for this app.
    pub in_flight: Gauge,
    /// Responses passed on from it.
    pub requests: Counter,
    /// The judgement by the statuses of its responses.
    pub(crate) statuses: StatusBreaker,
    /// From sending a request to the head of its response.
    pub first_byte: Histogram,
    /// Attempts that failed through its fault.
    pub failures: Counter,
    /// Runs whose stream broke off and that were to be taken up again, by what came of it.
    pub resumed: [Counter; ResumeOutcome::ALL.len()],
    /// What it says of the app.
    pub(crate) facts: AppInfoCell,
    held_until_ms: AtomicU64,
    /// How often the statuses of its answers took it out for this app.
    pub ejections: Counter,
    /// The response that did so last, for an operator.
    last_bad: ArcSwapOption<String>,
    /// Requests with the app's key that it answered with 401.
    pub key_refused: Counter,
    key_refused_at_ms: AtomicU64,
    /// The hash of the key that it refused last; a reload may have brought another.
    refused_key: AtomicU64,
}

impl MemberStats {
    /// Until when it would be out if `max_ejected_share` did not hold it in, in ms.
    pub fn held_until_ms(&self) -> u64 {
        self.held_until_ms.load(Ordering::Relaxed)
    }

    /// It does not know this key of the app. True if that is new: the key is another one, or was accepted
    /// before.
    pub(crate) fn refused_key(&self, key: &[u8], now_ms: u64) -> bool {
        self.key_refused.add_one();
        let is_known = self.refused_key.swap(hash(key), Ordering::Relaxed) == hash(key);
        let before = self.key_refused_at_ms.swap(now_ms.max(1), Ordering::Relaxed);
        !is_known || before == 0
    }

    /// It took the app's key. True if it had refused it before.
    pub(crate) fn accepted_key(&self) -> bool {
        // A store for each response would be one too many.
        self.key_refused_at_ms.load(Ordering::Relaxed) > 0
            && self.key_refused_at_ms.swap(0, Ordering::Relaxed) > 0
    }

    /// When it last refused this key of the app, in ms, if it has not accepted it since.
    pub fn key_refused_at_ms(&self, key: &[u8]) -> Option<u64> {
        let at_ms = self.key_refused_at_ms.load(Ordering::Relaxed);
        (at_ms > 0 && self.refused_key.load(Ordering::Relaxed) == hash(key)).then_some(at_ms)
    }

    /// Counts that the statuses of its answers took it out, or that it stays out for another term.
    pub(crate) fn ejected(&self, what: &str) {
        self.noted(what);
        self.ejections.add_one();
    }

    /// Notes a response that counts, for an operator.
    pub(crate) fn noted(&self, what: &str) {
        self.last_bad.store(Some(Arc::new(what.to_owned())));
    }

    /// The response that took it out last, for an operator.
    pub(crate) fn last_bad(&self) -> String {
        self.last_bad.load().as_ref().map_or_else(|| "failed".to_owned(), |text| text.to_string())
    }

    /// Notes that it is held in until then. True if it was not before.
    pub(crate) fn hold_in(&self, until_ms: u64, now_ms: u64) -> bool {
        self.held_until_ms.swap(until_ms, Ordering::Relaxed) <= now_ms
    }
}

/// Tells keys apart within this process.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {

    use super::MemberStats;

    #[test]
    fn a_refused_key_is_news_once_until_it_is_accepted_or_another() {
        let (stats, one, two) = (MemberStats::default(), b"one", b"two");
        assert!(!stats.accepted_key() && stats.key_refused_at_ms(one).is_none());
        assert!(stats.refused_key(one, 5) && !stats.refused_key(one, 7));
        assert_eq!((stats.key_refused_at_ms(one), stats.key_refused_at_ms(two)), (Some(7), None));
        assert!(stats.accepted_key() && !stats.accepted_key());
        assert_eq!(stats.key_refused_at_ms(one), None);
        assert!(stats.refused_key(one, 8) && stats.refused_key(two, 9));
        assert_eq!((stats.key_refused_at_ms(one), stats.key_refused.get()), (None, 4));
    }
}
