//! The instances of an app and the way they are chosen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::balance::{AttemptOrder, LoadBound, MaxLoad, Method};
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::Retry;
use crate::gateway::state::pool_stats::PoolStats;
use crate::model::AppName;

/// The instances of an app and the way they are chosen.
#[derive(Debug)]
#[repr(C)]
pub struct Pool {
    /// In the order of the configuration.
    pub members: Box<[Arc<Member>]>,
    /// How they are chosen.
    pub method: Method,
    /// How far above its fair share one may be when a free request comes.
    pub max_load: Option<MaxLoad>,
    turn: AtomicU32,
    /// Its name: hashes are keyed by it.
    pub name: AppName,
    /// Retries.
    pub retry: Retry,
    /// What the retry loop counts.
    pub stats: Arc<PoolStats>,
}

impl Pool {
    /// A pool; the method must have been built over the same members.
    pub fn new(
        name: AppName,
        members: Vec<Arc<Member>>,
        (method, max_load): (Method, Option<MaxLoad>),
        retry: Retry,
        stats: Arc<PoolStats>,
    ) -> Self {
        let (members, turn) = (members.into(), AtomicU32::new(0));
        Self { members, method, max_load, turn, name, retry, stats }
    }

    /// The order in which a request of `key` tries the members.
    pub fn order(&self, key: Option<&[u8]>) -> AttemptOrder {
        let turn = || self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        AttemptOrder::new(&self.method, key, self.members.len(), turn)
    }

    /// The next member of an order that this pool gave; with a bound, the next that it admits.
    pub fn next(
        &self,
        order: &mut AttemptOrder,
        bound: Option<&LoadBound>,
    ) -> Option<&Arc<Member>> {
        let load = |index: usize| self.members[index].load();
        let index = match bound {
            None => order.next(&self.method, load),
            Some(bound) => order.next_within(bound, &self.method, load),
        };
        self.members.get(index?)
    }

    /// Whether any member is in rotation.
    pub fn is_any_in(&self) -> bool {
        self.members.iter().any(|member| member.is_in())
    }

    /// The bound of this instant. An instance that is out has no share: the others bear it.
    pub fn bound(&self, max_load: MaxLoad) -> LoadBound {
        let is_in = |member: &&Arc<Member>| member.is_in();
        LoadBound::new(max_load, self.members.iter().filter(is_in).map(|member| member.load()))
    }
}
