//! The candidates of a request: its own order over the pool, with those that are out passed over.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::balance::{BreakerState, Keyed, MaxLoad, Order, Pass};
use crate::gateway::instance::Trust;
use crate::gateway::snapshot::{App, LastResort, Member};

/// A request's candidates, first the best. An instance that is out is skipped without moving
/// anybody else.
pub(super) struct Candidates {
    app: Arc<App>,
    order: Order,
    tie: Tie,
    max_load: Option<MaxLoad>,
    last_resort: LastResort,
    skipped: SmallVec<[Arc<Member>; 2]>,
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing yet.
    Nobody,
    /// An instance in rotation: those that are out stay out.
    Somebody,
    /// All are out: they are tried anyway.
    LastResort,
}

/// What ties a request to its first candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tie {
    /// What it is keyed by: data is on its own instance, so a full one is waited for.
    Key,
    /// Nothing: a full instance is passed over.
    Free,
}

/// Who asks, as far as it decides which instance is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// The user, if the request names one.
    pub user: Option<&'a str>,
    /// The client's address, behind trusted proxies.
    pub address: IpAddr,
    /// Whether the request names something that only one instance has.
    pub bound_to_id: BoundToId,
}

/// Whether a request names something that only one instance has, such as a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoundToId {
    /// It does: `max_load` moves it nowhere.
    Yes,
    /// It does not.
    No,
}

/// A candidate, and the duty to say how it went.
pub(super) struct Candidate {
    /// The instance as the app sees it.
    pub member: Arc<Member>,
    /// To be settled by the attempt.
    pub trust: Trust,
}

impl Candidates {
    /// The candidates for a request to `app`.
    pub(super) fn new(app: &Arc<App>, asker: Asker<'_>, last_resort: LastResort) -> Self {
        let pool = &app.pool;
        let key = match pool.method.keyed() {
            Keyed::ByUser => asker.user.map(|user| key(app.name.as_str(), user)),
            Keyed::ByAddress => {
                Some(key(app.name.as_str(), &asker.address.to_canonical().to_string()))
            }
            Keyed::ByNothing => None,
        };
        let max_load =
            pool.max_load.filter(|_| key.is_some() && asker.bound_to_id == BoundToId::No);
        let tie = if key.is_some() && max_load.is_none() { Tie::Key } else { Tie::Free };
        let order = pool.order(key.as_deref().map(str::as_bytes));
        // One instance alone is never refused because of its own breaker.
        let last_resort = if app.pool.members.len() == 1 { LastResort::Try } else { last_resort };
        Self {
            app: Arc::clone(app),
            order,
            tie,
            max_load,
            last_resort,
            skipped: SmallVec::new(),
            found: Found::Nobody,
        }
    }

    /// The next candidate, if there is one.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Candidate> {
        let pool = &self.app.pool;
        let bound = self.max_load.map(|max_load| pool.bound(max_load, now_ms));
        while let Some(member) = pool.next(&mut self.order, bound.as_ref()) {
            match member.instance.breaker().admit(now_ms) {
                Some(pass) => {
                    self.found = Found::Somebody;
                    return Some(candidate(member, pass));
                }
                None => self.skipped.push(Arc::clone(member)),
            }
        }
        if self.found == Found::Nobody && self.last_resort == LastResort::Try {
            self.found = Found::LastResort;
        }
        if self.found == Found::LastResort && !self.skipped.is_empty() {
            let member = self.skipped.remove(0);
            return Some(candidate(&member, Pass::Normal));
        }
        None
    }

    /// What ties the request to its first candidate.
    pub(super) fn tie(&self) -> Tie {
        self.tie
    }

    /// Whether another candidate would come after this one, as far as can be told now.
    pub(super) fn has_next(&self, now_ms: u64) -> bool {
        let mut members = self.app.pool.members.iter().enumerate();
        (self.found == Found::LastResort && !self.skipped.is_empty())
            || members.any(|(index, member)| {
                !self.order.has_given(index)
                    && member.instance.breaker().state(now_ms) == BreakerState::Closed
            })
    }

    /// Instances that were passed over because they are out, in the request's order.
    pub(super) fn skipped(&self) -> &[Arc<Member>] {
        &self.skipped
    }
}

fn candidate(member: &Arc<Member>, pass: Pass) -> Candidate {
    let trust = Trust::new(Arc::clone(&member.instance), pass, member.thresholds);
    Candidate { member: Arc::clone(member), trust }
}

/// What is hashed: `app:user`, or `app:address` with `ip_hash`.
pub fn key(app: &str, user: &str) -> String {
    [app, ":", user].concat()
}
