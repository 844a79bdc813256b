//! The candidates of a request: its own order over the pool, with those that are out passed over.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::balance::{AttemptOrder, CallerId, HashKey, MaxLoad, Requester, WorkKind, fraction};
use crate::gateway::proxy::resource_ids::OwnerLookup;
use crate::gateway::state::admission::{Affinity, Permits, SkipReason};
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::Storage;
use crate::gateway::state::pool::Pool;
use crate::gateway::state::snapshot::LastResort;
use crate::gateway::upstream::attempt_permit::AttemptPermit;
use crate::model::AppName;

/// A request's candidates, first the best. An instance that is out is skipped without moving
/// anybody else.
pub(crate) struct Candidates {
    pool: Arc<Pool>,
    storage: Storage,
    order: AttemptOrder,
    owner: Option<Owner>,
    binding: Binding,
    max_load: Option<MaxLoad>,
    last_resort: LastResort,
    claim: Affinity,
    sender: Requester,
    run_span_ms: Option<u64>,
    skipped: SmallVec<[(Arc<Member>, SkipReason); 2]>,
    found: InRotation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InRotation {
    Nobody,
    /// An instance in rotation: those that are out stay out.
    Somebody,
    /// All are out: they are tried anyway.
    LastResort,
}

/// The member that has what the request names.
#[derive(Clone, Copy, Debug)]
struct Owner {
    place: usize,
    asked: bool,
}

/// What binds a request to its first candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// What it names exists there alone: nobody else is asked.
    Owner,
    /// What it is keyed by: data is on its own instance, so a full one is waited for.
    Key,
    /// Nothing: a full instance is passed over.
    Free,
}

/// Who asks, as far as it decides which instance is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SelectContext<'a> {
    /// The user, if the request names one.
    pub user: Option<&'a str>,
    /// The client's address, behind trusted proxies.
    pub address: IpAddr,
    /// Where it must go because of what it names.
    pub owner: OwnerLookup,
    pub work: WorkKind,
    /// Whether what one member made is on the others as well.
    pub storage: Storage,
    /// Of a streamed flow: `timeouts.run_start` in ms.
    pub run_span_ms: Option<u64>,
}

pub(crate) enum Next {
    Ask(Candidate),
    /// The one that has what the request names is out.
    OwnerOut(Arc<Member>),
    /// All have been asked, or may not be.
    Nobody,
}

/// A candidate, and the duty to say how it went.
pub(crate) struct Candidate {
    /// The instance as the app sees it.
    pub member: Arc<Member>,
    /// To be settled by the attempt.
    pub permit: AttemptPermit,
}

impl Candidates {
    /// The candidates for a request to `pool`.
    pub(crate) fn new(
        pool: &Arc<Pool>,
        context: SelectContext<'_>,
        last_resort: LastResort,
    ) -> Self {
        let key = key_of(pool, context.user, context.address);
        let max_load =
            pool.max_load.filter(|_| key.is_some() && context.owner == OwnerLookup::None);
        let binding =
            if key.is_some() && max_load.is_none() { Binding::Key } else { Binding::Free };
        let owner = match context.owner {
            OwnerLookup::Owner(place) => Some(Owner { place, asked: false }),
            OwnerLookup::None | OwnerLookup::Unknown => None,
        };
        let order = pool.order(key.as_deref().map(str::as_bytes));
        let claim = match context.owner {
            OwnerLookup::Owner(_) | OwnerLookup::Unknown => Affinity::Owned,
            OwnerLookup::None => {
                Affinity::Free { key_fraction: key.as_deref().map(|key| fraction(key.as_bytes())) }
            }
        };
        // One instance alone is never refused because of its own breaker.
        let last_resort = if pool.members.len() == 1 { LastResort::Try } else { last_resort };
        Self {
            pool: Arc::clone(pool),
            storage: context.storage,
            order,
            owner,
            binding,
            max_load,
            last_resort,
            claim,
            sender: Requester { caller: context.caller(&pool.name), work: context.work },
            run_span_ms: context.run_span_ms,
            skipped: SmallVec::new(),
            found: InRotation::Nobody,
        }
    }

    pub(crate) fn next(&mut self, now_ms: u64) -> Next {
        match self.owner {
            None => self.next_in_order(now_ms).map_or(Next::Nobody, Next::Ask),
            Some(Owner { asked: true, .. }) => Next::Nobody,
            Some(Owner { place, .. }) => self.the_owner(place, now_ms),
        }
    }

    fn the_owner(&mut self, place: usize, now_ms: u64) -> Next {
        let pool = &self.pool;
        let Some(member) = pool.members.get(place) else { return Next::Nobody };
        member.prefetch();
        let takes = |member: &Arc<Member>| member.is_in() && !self.lacks_worker(member);
        let all_out = || self.last_resort == LastResort::Try && !pool.members.iter().any(takes);
        let passes = match self.admit(member, now_ms, Affinity::Owned) {
            Ok(passes) => passes,
            Err(_) if all_out() => Permits::NORMAL,
            Err(_) => return Next::OwnerOut(Arc::clone(member)),
        };
        self.owner = Some(Owner { place, asked: true });
        Next::Ask(self.candidate(member, passes))
    }

    /// This member has what the request names.
    pub(crate) fn tie_to(&mut self, place: usize) {
        self.owner = Some(Owner { place, asked: false });
    }

    /// The owner is to be asked once more.
    pub(crate) fn ask_owner_again(&mut self) {
        if let Some(owner) = &mut self.owner {
            owner.asked = false;
        }
    }

    /// The owner does not have it, or the request no longer needs what it has: the others come in
    /// the request's own order.
    pub(crate) fn leave_owner(&mut self) {
        if let Some(owner) = self.owner.take() {
            self.order.pass_over(owner.place);
        }
    }

    /// The next candidate, if there is one. Those that are out come last, if at all: first who only
    /// waits for slow start, then whose slots are all held, then, as a last resort, who is draining, then the others.
    fn next_in_order(&mut self, now_ms: u64) -> Option<Candidate> {
        let pool = &self.pool;
        let bound = self.max_load.map(|max_load| pool.bound(max_load));
        while let Some(member) = pool.next(&mut self.order, bound.as_ref()) {
            member.prefetch();
            if self.run_span_ms.is_some()
                && self.binding == Binding::Free
                && !member.instance.runs().has_place()
            {
                self.skipped.push((Arc::clone(member), SkipReason::NoPlace));
                continue;
            }
            match self.admit(member, now_ms, self.claim) {
                Ok(passes) => {
                    self.found = InRotation::Somebody;
                    return Some(self.candidate(member, passes));
                }
                Err(why) => self.skipped.push((Arc::clone(member), why)),
            }
        }
        // Who waits there gets the first place that comes free.
        for waits in [SkipReason::SlowStart, SkipReason::Held] {
            if let Some(member) = self.take_skipped(|why| why == waits) {
                self.found = InRotation::Somebody;
                return Some(self.candidate(&member, Permits::NORMAL));
            }
        }
        while let Some(member) = self.take_skipped(|why| why == SkipReason::NoPlace) {
            match self.admit(&member, now_ms, self.claim) {
                Ok(passes) => {
                    self.found = InRotation::Somebody;
                    return Some(self.candidate(&member, passes));
                }
                Err(why) => self.skipped.push((member, why)),
            }
        }
        if self.found == InRotation::Nobody && self.last_resort == LastResort::Try {
            self.found = InRotation::LastResort;
        }
        if self.found != InRotation::LastResort {
            return None;
        }
        let member = self
            .take_skipped(|why| why == SkipReason::Draining)
            .or_else(|| self.take_skipped(|_| true))?;
        Some(self.candidate(&member, Permits::NORMAL))
    }

    fn admit(&self, member: &Member, now_ms: u64, claim: Affinity) -> Result<Permits, SkipReason> {
        match self.run_span_ms {
            None => member.admit(now_ms, claim, self.sender),
            Some(span_ms) => member.admit_flow(now_ms, claim, self.sender, span_ms),
        }
    }

    /// Whether this request needs a worker, and there is none.
    fn lacks_worker(&self, member: &Member) -> bool {
        self.run_span_ms.is_some() && member.instance.runs().starts.is_out()
    }

    fn candidate(&self, member: &Arc<Member>, passes: Permits) -> Candidate {
        let permit = AttemptPermit::new(Arc::clone(member), passes, self.sender);
        Candidate { member: Arc::clone(member), permit }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn sender(&self) -> Requester {
        self.sender
    }

    fn take_skipped(&mut self, is_wanted: impl Fn(SkipReason) -> bool) -> Option<Arc<Member>> {
        let place = self.skipped.iter().position(|(_, why)| is_wanted(*why))?;
        Some(self.skipped.remove(place).0)
    }

    /// What binds the request to its first candidate.
    pub(crate) fn binding(&self) -> Binding {
        if self.owner.is_some() { Binding::Owner } else { self.binding }
    }

    /// Whether what one instance made is nowhere else, and there is another to ask.
    pub(crate) fn are_independent(&self) -> bool {
        self.storage == Storage::Independent && self.pool.members.len() > 1
    }

    /// Whether another candidate would come after this one, as far as can be told now.
    pub(crate) fn has_next(&self) -> bool {
        if self.owner.is_some() {
            return false;
        }
        let mut members = self.pool.members.iter().enumerate();
        let mut skipped = self.skipped.iter();
        skipped.any(|(_, why)| self.found == InRotation::LastResort || why.is_asked_later())
            || members.any(|(index, member)| !self.order.has_given(index) && member.is_in())
    }

    /// Instances that were passed over, in the request's order, and why.
    pub(crate) fn skipped(&self) -> &[(Arc<Member>, SkipReason)] {
        &self.skipped
    }
}

impl SelectContext<'_> {
    /// Who it is, as far as instances are judged by it.
    fn caller(&self, pool: &AppName) -> CallerId {
        let pool = pool.as_str();
        match (self.user, self.address.to_canonical()) {
            (Some(user), _) => CallerId::new(pool, user.as_bytes()),
            (None, IpAddr::V4(address)) => CallerId::new(pool, &address.octets()),
            (None, IpAddr::V6(address)) => CallerId::new(pool, &address.octets()),
        }
    }
}

/// What a request to a pool is hashed by, if by anything.
pub(crate) fn key_of(pool: &Pool, user: Option<&str>, address: IpAddr) -> Option<String> {
    match pool.method.keyed() {
        HashKey::ByUser => user.map(|user| key(pool.name.as_str(), user)),
        HashKey::ByAddress => Some(key(pool.name.as_str(), &address.to_canonical().to_string())),
        HashKey::ByNothing => None,
    }
}

/// What is hashed: `app:user`, or `app:address` with `ip_hash`.
pub fn key(app: &str, user: &str) -> String {
    [app, ":", user].concat()
}
