//! An instance as one app sees it.
//!
//! A large gateway has tens of thousands of members and each request comes to another, so the memory
//! that it touches there is mostly far from the processor. What every request needs of a member stands
//! in two lines of its cache, and what it counts in the first of the counters; `repr(C)` keeps the
//! fields in that order.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use smallvec::SmallVec;

use crate::balance::{Load, StatusBreaker, StatusSet, Thresholds};
use crate::gateway::doors::known::FactsCell;
use crate::gateway::instance::Instance;
use crate::gateway::probed::Probed;
use crate::gateway::resume::Resumed;
use crate::gateway::trust::PoolMates;
use crate::model::{InstanceName, Token};
use crate::telemetry::{Counter, Gauge, Histogram};

/// An instance as one app sees it.
#[derive(Debug)]
#[repr(C)]
pub struct Member {
    /// What it is called.
    pub label: Arc<Label>,
    /// The Dify behind it.
    pub instance: Arc<Instance>,
    /// Its counters; they survive a reload by app, name and address.
    pub stats: Arc<MemberStats>,
    /// Its probes; none if they are switched off.
    pub probed: Option<Arc<Probed>>,
    /// For how long after it came back its users come home little by little, in ms.
    pub slow_start_ms: u64,
    /// Whether it takes nothing new.
    pub drain: Drain,
    /// Its share of users, relative to the others'.
    pub weight: u32,
    /// The app's key there; none in [`Snapshot::everyone`](super::snapshot::Snapshot::everyone).
    pub authorization: Option<Bearer>,
    /// Statuses of answers that take it out when they come in a row.
    pub fail_statuses: StatusSet,
    /// When it is taken out.
    pub thresholds: Thresholds,
    /// The app's instances, of which not too many may be out.
    pub pool_mates: Arc<PoolMates>,
    /// Requests that may wait for a slot, and for how long.
    pub queue: QueueLimits,
    /// A key of its knowledge API, if the app's clients may use that.
    pub datasets: Option<Box<Bearer>>,
    /// Where people reach its web app, without a slash at the end.
    pub web_url: Option<Arc<str>>,
    /// What addresses of its files begin with, without a slash at the end; none: the gateway's own.
    pub files_url: Option<Arc<str>>,
}

impl Member {
    /// Its name in the app; hashes are keyed by it.
    pub fn name(&self) -> &InstanceName {
        &self.label.name
    }

    /// Begins to read what a request will need of it, all at once, as [`App::fetch`] does.
    ///
    /// [`App::fetch`]: super::snapshot::App::fetch
    pub(super) fn fetch(&self) {
        black_box((self.authorization.is_some(), self.stats.in_flight.get()));
    }

    pub(super) fn load(&self) -> Load {
        let in_flight = u32::try_from(self.instance.in_flight().get()).unwrap_or(u32::MAX);
        Load { in_flight, weight: self.weight.max(1) }
    }
}

/// What members are called. Members of one name, in whichever apps, share it.
#[derive(Debug)]
pub struct Label {
    /// Their name.
    pub name: InstanceName,
    /// What answers say of it in `X-Difygate-Instance`; none where they say nothing.
    pub header: Option<HeaderValue>,
}

/// `Bearer <app key>`, as `Authorization` has it. It cannot be printed.
pub struct Bearer(SmallVec<[u8; Bearer::USUAL_BYTES]>);

impl Bearer {
    /// With one of Dify's keys, which are `app-` and 24 characters more, and some room.
    const USUAL_BYTES: usize = 40;

    /// That of a key; none if it cannot stand in a header.
    pub fn new(key: &Token) -> Option<Self> {
        let text = ["Bearer ", key.expose()].concat();
        HeaderValue::from_str(&text).is_ok().then(|| Self(text.into_bytes().into()))
    }

    /// For a request to the instance.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

/// Whether an instance takes nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It keeps what it has.
    Yes,
    /// It takes what comes.
    No,
}

/// Bounds on waiting for a connection slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Requests that may wait.
    pub size: u32,
    /// How long each may wait.
    pub timeout: Duration,
    /// How long a streamed flow may wait for a place among those of `max_runs`.
    pub run_timeout: Duration,
}

/// What is counted for an instance within an app.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct MemberStats {
    /// Requests under way for this app.
    pub in_flight: Gauge,
    /// Answers passed on from it.
    pub requests: Counter,
    /// The judgement by the statuses of its answers.
    pub(super) statuses: StatusBreaker,
    /// From sending a request to the head of its answer.
    pub first_byte: Histogram,
    /// Attempts that failed through its fault.
    pub failures: Counter,
    /// Runs whose stream broke off and that were to be taken up again, by what came of it.
    pub resumed: [Counter; Resumed::ALL.len()],
    /// What it says of the app.
    pub(super) facts: FactsCell,
    held_until_ms: AtomicU64,
    /// How often the statuses of its answers took it out for this app.
    pub ejections: Counter,
    /// The answer that did so last, for an operator.
    last_bad: ArcSwapOption<String>,
}

impl MemberStats {
    /// Until when it would be out if `max_ejected_share` did not hold it in, in ms.
    pub fn held_until_ms(&self) -> u64 {
        self.held_until_ms.load(Ordering::Relaxed)
    }

    /// Counts that the statuses of its answers took it out, or that it stays out for another term.
    pub(super) fn ejected(&self, what: &str) {
        self.noted(what);
        self.ejections.add_one();
    }

    /// Notes an answer that counts, for an operator.
    pub(super) fn noted(&self, what: &str) {
        self.last_bad.store(Some(Arc::new(what.to_owned())));
    }

    /// The answer that took it out last, for an operator.
    pub(super) fn last_bad(&self) -> String {
        self.last_bad.load().as_ref().map_or_else(|| "failed".to_owned(), |text| text.to_string())
    }

    /// Notes that it is held in until then. True if it was not before.
    pub(super) fn hold_in(&self, until_ms: u64, now_ms: u64) -> bool {
        self.held_until_ms.swap(until_ms, Ordering::Relaxed) <= now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::Bearer;
    use crate::model::Token;

    #[test]
    fn a_key_stands_in_its_member_and_is_not_shown() {
        let key = format!("app-{}", "x".repeat(24));
        let bearer = Bearer::new(&Token::new(key.as_str())).unwrap();
        assert_eq!(bearer.expose(), format!("Bearer {key}").as_bytes());
        assert!(!bearer.0.spilled());
        assert_eq!(format!("{bearer:?}"), "Bearer");
        assert!(Bearer::new(&Token::new("a\nb")).is_none());
    }
}
