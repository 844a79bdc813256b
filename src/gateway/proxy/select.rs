//! The candidates of a request: its own order over the pool, with those that are out passed over.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::balance::{AttemptOrder, CallerId, HashKey, MaxLoad, Requester, WorkKind, fraction};
use crate::gateway::proxy::resource_ids::Ties;
use crate::gateway::state::admission::{Claim, Passes, Skipped};
use crate::gateway::state::app::App;
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::Storage;
use crate::gateway::state::snapshot::LastResort;
use crate::gateway::upstream::attempt_permit::Trust;

/// A request's candidates, first the best. An instance that is out is skipped without moving
/// anybody else.
pub(crate) struct Candidates {
    app: Arc<App>,
    order: AttemptOrder,
    owner: Option<Owner>,
    tie: Tie,
    max_load: Option<MaxLoad>,
    last_resort: LastResort,
    claim: Claim,
    sender: Requester,
    run_span_ms: Option<u64>,
    skipped: SmallVec<[(Arc<Member>, Skipped); 2]>,
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

/// The member that has what the request names.
#[derive(Clone, Copy, Debug)]
struct Owner {
    place: usize,
    asked: bool,
}

/// What ties a request to its first candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tie {
    /// What it names exists there alone: nobody else is asked.
    Owner,
    /// What it is keyed by: data is on its own instance, so a full one is waited for.
    Key,
    /// Nothing: a full instance is passed over.
    Free,
}

/// Who asks, as far as it decides which instance is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// The user, if the request names one.
    pub user: Option<&'a str>,
    /// The client's address, behind trusted proxies.
    pub address: IpAddr,
    /// Where it must go because of what it names.
    pub ties: Ties,
    /// What it asks for.
    pub work: WorkKind,
    /// Of a streamed flow: `timeouts.run_start` in ms.
    pub run_span_ms: Option<u64>,
}

/// Who comes next.
pub(crate) enum Next {
    /// This one may be asked.
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
    pub trust: Trust,
}

impl Candidates {
    /// The candidates for a request to `app`.
    pub(crate) fn new(app: &Arc<App>, asker: Asker<'_>, last_resort: LastResort) -> Self {
        let pool = &app.pool;
        let key = key_of(app, asker.user, asker.address);
        let max_load = pool.max_load.filter(|_| key.is_some() && asker.ties == Ties::None);
        let tie = if key.is_some() && max_load.is_none() { Tie::Key } else { Tie::Free };
        let owner = match asker.ties {
            Ties::Owner(place) => Some(Owner { place, asked: false }),
            Ties::None | Ties::Unknown => None,
        };
        let order = pool.order(key.as_deref().map(str::as_bytes));
        let claim = match asker.ties {
            Ties::Owner(_) | Ties::Unknown => Claim::Owned,
            Ties::None => {
                Claim::Free { key_fraction: key.as_deref().map(|key| fraction(key.as_bytes())) }
            }
        };
        // One instance alone is never refused because of its own breaker.
        let last_resort = if app.pool.members.len() == 1 { LastResort::Try } else { last_resort };
        Self {
            app: Arc::clone(app),
            order,
            owner,
            tie,
            max_load,
            last_resort,
            claim,
            sender: Requester { caller: asker.caller(app), work: asker.work },
            run_span_ms: asker.run_span_ms,
            skipped: SmallVec::new(),
            found: Found::Nobody,
        }
    }

    /// Who comes next.
    pub(crate) fn next(&mut self, now_ms: u64) -> Next {
        match self.owner {
            None => self.next_in_order(now_ms).map_or(Next::Nobody, Next::Ask),
            Some(Owner { asked: true, .. }) => Next::Nobody,
            Some(Owner { place, .. }) => self.the_owner(place, now_ms),
        }
    }

    fn the_owner(&mut self, place: usize, now_ms: u64) -> Next {
        let pool = &self.app.pool;
        let Some(member) = pool.members.get(place) else { return Next::Nobody };
        member.fetch();
        let takes = |member: &Arc<Member>| member.is_in() && !self.lacks_worker(member);
        let all_out = || self.last_resort == LastResort::Try && !pool.members.iter().any(takes);
        let passes = match self.admit(member, now_ms, Claim::Owned) {
            Ok(passes) => passes,
            Err(_) if all_out() => Passes::NORMAL,
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
        let pool = &self.app.pool;
        let bound = self.max_load.map(|max_load| pool.bound(max_load));
        while let Some(member) = pool.next(&mut self.order, bound.as_ref()) {
            member.fetch();
            if self.run_span_ms.is_some()
                && self.tie == Tie::Free
                && !member.instance.runs().has_place()
            {
                self.skipped.push((Arc::clone(member), Skipped::NoPlace));
                continue;
            }
            match self.admit(member, now_ms, self.claim) {
                Ok(passes) => {
                    self.found = Found::Somebody;
                    return Some(self.candidate(member, passes));
                }
                Err(why) => self.skipped.push((Arc::clone(member), why)),
            }
        }
        // Who waits there gets the first place that comes free.
        for waits in [Skipped::SlowStart, Skipped::Held] {
            if let Some(member) = self.take_skipped(|why| why == waits) {
                self.found = Found::Somebody;
                return Some(self.candidate(&member, Passes::NORMAL));
            }
        }
        while let Some(member) = self.take_skipped(|why| why == Skipped::NoPlace) {
            match self.admit(&member, now_ms, self.claim) {
                Ok(passes) => {
                    self.found = Found::Somebody;
                    return Some(self.candidate(&member, passes));
                }
                Err(why) => self.skipped.push((member, why)),
            }
        }
        if self.found == Found::Nobody && self.last_resort == LastResort::Try {
            self.found = Found::LastResort;
        }
        if self.found != Found::LastResort {
            return None;
        }
        let member = self
            .take_skipped(|why| why == Skipped::Draining)
            .or_else(|| self.take_skipped(|_| true))?;
        Some(self.candidate(&member, Passes::NORMAL))
    }

    fn admit(&self, member: &Member, now_ms: u64, claim: Claim) -> Result<Passes, Skipped> {
        match self.run_span_ms {
            None => member.admit(now_ms, claim, self.sender),
            Some(span_ms) => member.admit_flow(now_ms, claim, self.sender, span_ms),
        }
    }

    /// Whether this request needs a worker, and there is none.
    fn lacks_worker(&self, member: &Member) -> bool {
        self.run_span_ms.is_some() && member.instance.runs().starts.is_out()
    }

    fn candidate(&self, member: &Arc<Member>, passes: Passes) -> Candidate {
        let trust = Trust::new(Arc::clone(member), passes, self.sender);
        Candidate { member: Arc::clone(member), trust }
    }

    /// Who sends the request.
    pub(crate) fn sender(&self) -> Requester {
        self.sender
    }

    fn take_skipped(&mut self, is_wanted: impl Fn(Skipped) -> bool) -> Option<Arc<Member>> {
        let place = self.skipped.iter().position(|(_, why)| is_wanted(*why))?;
        Some(self.skipped.remove(place).0)
    }

    /// What ties the request to its first candidate.
    pub(crate) fn tie(&self) -> Tie {
        if self.owner.is_some() { Tie::Owner } else { self.tie }
    }

    /// Whether what one instance made is nowhere else, and there is another to ask.
    pub(crate) fn are_independent(&self) -> bool {
        self.app.policy.storage == Storage::Independent && self.app.pool.members.len() > 1
    }

    /// Whether another candidate would come after this one, as far as can be told now.
    pub(crate) fn has_next(&self) -> bool {
        if self.owner.is_some() {
            return false;
        }
        let mut members = self.app.pool.members.iter().enumerate();
        let mut skipped = self.skipped.iter();
        skipped.any(|(_, why)| self.found == Found::LastResort || why.is_asked_later())
            || members.any(|(index, member)| !self.order.has_given(index) && member.is_in())
    }

    /// Instances that were passed over, in the request's order, and why.
    pub(crate) fn skipped(&self) -> &[(Arc<Member>, Skipped)] {
        &self.skipped
    }
}

impl Asker<'_> {
    /// Who it is, as far as instances are judged by it.
    fn caller(&self, app: &App) -> CallerId {
        let app = app.name.as_str();
        match (self.user, self.address.to_canonical()) {
            (Some(user), _) => CallerId::new(app, user.as_bytes()),
            (None, IpAddr::V4(address)) => CallerId::new(app, &address.octets()),
            (None, IpAddr::V6(address)) => CallerId::new(app, &address.octets()),
        }
    }
}

/// What a request to an app is hashed by, if by anything.
pub(crate) fn key_of(app: &App, user: Option<&str>, address: IpAddr) -> Option<String> {
    match app.pool.method.keyed() {
        HashKey::ByUser => user.map(|user| key(app.name.as_str(), user)),
        HashKey::ByAddress => Some(key(app.name.as_str(), &address.to_canonical().to_string())),
        HashKey::ByNothing => None,
    }
}

/// What is hashed: `app:user`, or `app:address` with `ip_hash`.
pub fn key(app: &str, user: &str) -> String {
    [app, ":", user].concat()
}
