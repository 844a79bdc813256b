//! An instance as one app sees it.
//!
//! A large gateway has tens of thousands of members and each request comes to another, so the memory
//! that it touches there is mostly far from the processor. What every request needs of a member stands
//! in two lines of its cache, and what it counts in the first of the counters; `repr(C)` keeps the
//! fields in that order.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use http::HeaderValue;
use smallvec::SmallVec;

use crate::balance::{Load, StatusSet, Thresholds};
use crate::gateway::state::ejection_guard::EjectionGuard;
use crate::gateway::state::instance::Instance;
use crate::gateway::state::member_stats::MemberStats;
use crate::gateway::state::probe_target::ProbeTarget;
use crate::model::{InstanceName, Queue, Token};

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
    pub probed: Option<Arc<ProbeTarget>>,
    /// For how long after it came back its users come home little by little, in ms.
    pub slow_start_ms: u64,
    /// Whether it takes nothing new.
    pub drain: Drain,
    /// Its share of users, relative to the others'.
    pub weight: u32,
    /// The app's key there; none in [`Snapshot::everyone`](super::snapshot::Snapshot::everyone).
    pub authorization: Option<Bearer>,
    /// Statuses of responses that take it out when they come in a row.
    pub fail_statuses: StatusSet,
    /// When it is taken out.
    pub thresholds: Thresholds,
    /// The app's instances, of which not too many may be out.
    pub pool_mates: Arc<EjectionGuard>,
    /// Requests that may wait for a slot, and for how long.
    pub queue: Queue,
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

    /// Begins to read what a request will need of it, all at once, as [`App::prefetch`] does.
    ///
    /// [`App::prefetch`]: super::app::App::prefetch
    pub(crate) fn prefetch(&self) {
        black_box((self.authorization.is_some(), self.stats.in_flight.get()));
    }

    pub(crate) fn load(&self) -> Load {
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
    pub(crate) fn expose(&self) -> &[u8] {
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
