//! The order in which a request tries the members of a pool.

use smallvec::SmallVec;

use super::bounded_load::LoadBound;
use super::load::Load;
use super::method::Method;

/// A request's own order over the members of its pool: each member once, then none.
///
/// It is computed step by step, because nearly every request needs only its first step, which
/// allocates nothing.
#[derive(Debug)]
pub struct AttemptOrder {
    walk: Walk,
    given: Members,
    members: usize,
    left: usize,
}

#[derive(Debug)]
enum Walk {
    /// Round the ring from this point on.
    Ring(usize),
    /// By draws for the key at this place.
    Draws(u64),
    /// A turn of the cycle for each step.
    Turns,
    /// Equal loads are taken in turn from this member on.
    LeastBusy(usize),
}

impl AttemptOrder {
    /// The order of a request with `key` over `members` members, from which `method` was built.
    ///
    /// Where the method knows neither key nor turns, or the request has no key, the least busy come
    /// first; among equals the one at `turn()` (any number; it wraps), so that a counter there
    /// spreads the requests of a quiet gateway.
    pub fn new(
        method: &Method,
        key: Option<&[u8]>,
        members: usize,
        turn: impl FnOnce() -> usize,
    ) -> Self {
        let walk = match (method, key) {
            // One member alone needs neither a hash nor a turn.
            _ if members < 2 => Walk::LeastBusy(0),
            (Method::ConsistentHash(ring) | Method::IpHash(ring), Some(key)) => {
                Walk::Ring(ring.start(key))
            }
            (Method::Rendezvous(rendezvous), Some(key)) => Walk::Draws(rendezvous.place(key)),
            (Method::WeightedRoundRobin(_), _) => Walk::Turns,
            (Method::LeastConnections, _)
            | (Method::ConsistentHash(_) | Method::IpHash(_) | Method::Rendezvous(_), None) => {
                Walk::LeastBusy(turn())
            }
        };
        Self { walk, given: Members::default(), members, left: members }
    }

    /// The next member. `load` is asked for members not yet given, by index; `method` must be the
    /// one that the order was made from.
    pub fn next(&mut self, method: &Method, load: impl Fn(usize) -> Load) -> Option<usize> {
        let first = self.first(method, &self.given, &load)?;
        Some(self.give(first))
    }

    /// The next member that `bound` admits, and if it admits none of those that are left, the next.
    pub fn next_within(
        &mut self,
        bound: &LoadBound,
        method: &Method,
        load: impl Fn(usize) -> Load,
    ) -> Option<usize> {
        let first = self.first(method, &self.given, &load)?;
        let mut passed = self.given.clone();
        let mut candidate = Some(first);
        while let Some(member) = candidate.filter(|member| !bound.admits(load(*member))) {
            passed.insert(member);
            candidate = self.first(method, &passed, &load);
        }
        Some(self.give(candidate.unwrap_or(first)))
    }

    /// The first member of the walk that is not in `passed`.
    fn first(
        &self,
        method: &Method,
        passed: &Members,
        load: impl Fn(usize) -> Load,
    ) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        let may = |member: &usize| !passed.contains(*member);
        match (&self.walk, method) {
            (Walk::Ring(start), Method::ConsistentHash(ring) | Method::IpHash(ring)) => {
                (0..ring.len()).filter_map(|step| ring.owner(start + step)).find(may)
            }
            (Walk::Draws(place), Method::Rendezvous(rendezvous)) => {
                rendezvous.best(*place, |member| may(&member))
            }
            // Who follows a member that is out is a new turn, not its neighbour in the cycle, which
            // would get all of its requests.
            (Walk::Turns, Method::WeightedRoundRobin(cycle)) => (0..cycle.len())
                .filter_map(|_| cycle.owner(cycle.draw()))
                .find(may)
                .or_else(|| (0..self.members).find(may)),
            (Walk::LeastBusy(turn), _) => (0..self.members)
                .map(|step| (turn % self.members + step) % self.members)
                .filter(may)
                .map(|member| (member, load(member)))
                .reduce(|best, other| if other.1.is_less_than(best.1) { other } else { best })
                .map(|(member, _)| member),
            (Walk::Ring(_) | Walk::Draws(_) | Walk::Turns, _) => None,
        }
    }

    /// Whether a member has been given already.
    pub fn has_given(&self, member: usize) -> bool {
        self.given.contains(member)
    }

    /// Leaves out a member that was asked for another reason than its turn.
    pub fn pass_over(&mut self, member: usize) {
        if !self.has_given(member) {
            self.give(member);
        }
    }

    fn give(&mut self, member: usize) -> usize {
        self.given.insert(member);
        self.left = self.left.saturating_sub(1);
        member
    }
}

/// A set of members, as bits.
#[derive(Clone, Debug, Default)]
struct Members(SmallVec<[u64; 1]>);

impl Members {
    fn contains(&self, member: usize) -> bool {
        self.0.get(member / 64).is_some_and(|bits| bits & (1 << (member % 64)) != 0)
    }

    fn insert(&mut self, member: usize) {
        if self.0.len() <= member / 64 {
            self.0.resize(member / 64 + 1, 0);
        }
        self.0[member / 64] |= 1 << (member % 64);
    }
}

#[cfg(test)]
mod laws;
