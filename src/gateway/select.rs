//! The candidates of a request: its own order over the pool, with those that are out passed over.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::balance::{BreakerState, Order, Pass};
use crate::gateway::instance::Trust;
use crate::gateway::snapshot::{App, LastResort, Member};

/// A request's candidates, first the best. An instance that is out is skipped without moving
/// anybody else.
pub(super) struct Candidates {
    app: Arc<App>,
    order: Order,
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

/// A candidate, and the duty to say how it went.
pub(super) struct Candidate {
    /// The instance as the app sees it.
    pub member: Arc<Member>,
    /// To be settled by the attempt.
    pub trust: Trust,
}

impl Candidates {
    /// The candidates for `user` of `app`; without a user the least busy first.
    pub(super) fn new(app: &Arc<App>, user: Option<&str>, last_resort: LastResort) -> Self {
        let order = match user {
            Some(user) => app.pool.order(Some(key(app.name.as_str(), user).as_bytes())),
            None => app.pool.order(None),
        };
        // One instance alone is never refused because of its own breaker.
        let last_resort = if app.pool.members.len() == 1 { LastResort::Try } else { last_resort };
        Self {
            app: Arc::clone(app),
            order,
            last_resort,
            skipped: SmallVec::new(),
            found: Found::Nobody,
        }
    }

    /// The next candidate, if there is one.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Candidate> {
        while let Some(member) = self.app.pool.next(&mut self.order) {
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

/// What the ring hashes: `app:user`.
pub fn key(app: &str, user: &str) -> String {
    [app, ":", user].concat()
}
