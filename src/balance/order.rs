//! The order in which a request tries the members of a pool.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::balance::ring::Ring;

/// How a pool spreads the requests that carry a user.
#[derive(Clone, Debug)]
pub enum Method {
    /// Each user has an instance of their own, the same on every gateway.
    ConsistentHash(Arc<Ring>),
}

/// What an instance has to do: requests in flight over its weight.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests under way.
    pub in_flight: u32,
    /// The configured weight, at least 1.
    pub weight: u32,
}

impl Load {
    /// Less loaded first; the comparison is exact, by cross multiplication.
    fn is_less_than(self, other: Self) -> bool {
        u64::from(self.in_flight) * u64::from(other.weight)
            < u64::from(other.in_flight) * u64::from(self.weight)
    }
}

/// A request's own order over the members of its pool: each member once, then none.
///
/// It is computed step by step, because nearly every request needs only its first step.
#[derive(Debug)]
pub struct Order {
    walk: Walk,
    /// Members already given, as bits.
    given: SmallVec<[u64; 1]>,
    left: usize,
}

#[derive(Debug)]
enum Walk {
    Ring(usize),
    /// Equal loads are taken in turn from this member on.
    LeastBusy(usize),
}

impl Order {
    /// The ring's order for `key`.
    pub fn of_key(ring: &Ring, key: &[u8]) -> Self {
        Self::new(Walk::Ring(ring.start(key)), ring.members())
    }

    /// The least busy member first; among equals the one at `turn` (any number; it wraps), so that
    /// a counter there spreads the requests of a quiet gateway.
    pub fn by_load(members: usize, turn: usize) -> Self {
        Self::new(Walk::LeastBusy(turn), members)
    }

    fn new(walk: Walk, members: usize) -> Self {
        Self { walk, given: SmallVec::new(), left: members }
    }

    /// The next member. `load` is asked for members not yet given, by index; `method` must be the
    /// one that the order was made from.
    pub fn next(&mut self, method: &Method, load: impl Fn(usize) -> Load) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        let Method::ConsistentHash(ring) = method;
        let chosen = match self.walk {
            Walk::Ring(start) => (0..ring.len())
                .map(|step| (start + step, ring.owner(start + step)))
                .find_map(|(place, owner)| Some((place, owner.filter(|m| !self.has_given(*m))?)))
                .map(|(place, owner)| {
                    self.walk = Walk::Ring(place + 1);
                    owner
                }),
            Walk::LeastBusy(turn) => (0..ring.members())
                .map(|step| (turn % ring.members() + step) % ring.members())
                .filter(|member| !self.has_given(*member))
                .map(|member| (member, load(member)))
                .reduce(|best, other| if other.1.is_less_than(best.1) { other } else { best })
                .map(|(member, _)| member),
        }?;
        self.give(chosen);
        Some(chosen)
    }

    /// Whether a member has been given already.
    pub fn has_given(&self, member: usize) -> bool {
        self.given.get(member / 64).is_some_and(|bits| bits & (1 << (member % 64)) != 0)
    }

    fn give(&mut self, member: usize) {
        if self.given.len() <= member / 64 {
            self.given.resize(member / 64 + 1, 0);
        }
        self.given[member / 64] |= 1 << (member % 64);
        self.left -= 1;
    }
}

#[cfg(test)]
#[path = "order_laws.rs"]
mod laws;
