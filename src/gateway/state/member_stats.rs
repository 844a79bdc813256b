//! What is counted for an instance within an app.

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
}

impl MemberStats {
    /// Until when it would be out if `max_ejected_share` did not hold it in, in ms.
    pub fn held_until_ms(&self) -> u64 {
        self.held_until_ms.load(Ordering::Relaxed)
    }

    /// It does not know the app's key.
    pub(crate) fn refused_key(&self, now_ms: u64) {
        self.key_refused.add_one();
        self.key_refused_at_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When it last refused the app's key, in ms; 0: never.
    pub fn key_refused_at_ms(&self) -> u64 {
        self.key_refused_at_ms.load(Ordering::Relaxed)
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
