//! Rendezvous hashing: highest random weight, with exact weights.
//!
//! Each member draws a number for each key, and the best draw wins. A draw depends on the member's
//! own name and weight only, so a member that goes takes nobody's user along but its own. With
//! `u` the draw, evenly spread between 0 and 1, the best is the largest `-weight / ln(u)`, which
//! gives each member exactly its share of weight (Schindelhauer and Schomaker 2005).
//!
//! The key is hashed once, however many members there are; `u` comes from mixing that with the hash
//! of the member's name. There are no points to build: a pool of any weights takes a few bytes per
//! member. Each step of an order looks at every member.

use std::cmp::Ordering;

use crate::balance::HashAlgorithm;

/// The members of a pool, known by their index.
#[derive(Debug)]
pub struct Rendezvous {
    algorithm: HashAlgorithm,
    seats: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    name_hash: u64,
    weight: f64,
    /// The member's place by name, which decides between equal draws.
    rank: usize,
}

impl Rendezvous {
    /// Over `(name, weight)` members. Order in `members` gives them their index and nothing else.
    pub fn new(members: &[(&str, u32)], algorithm: HashAlgorithm) -> Self {
        let rank = |name| members.iter().filter(|(other, _)| *other < name).count();
        let seats = members.iter().map(|(name, weight)| Seat {
            name_hash: algorithm.hash(name.as_bytes()),
            weight: f64::from(*weight),
            rank: rank(*name),
        });
        Self { algorithm, seats: seats.collect() }
    }

    /// The hash it was built with.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// What of a key the draws depend on.
    pub fn place(&self, key: &[u8]) -> u64 {
        self.algorithm.hash(key)
    }

    /// The winner among the members that `may` win, for the key at `place`.
    pub fn best(&self, place: u64, may: impl Fn(usize) -> bool) -> Option<usize> {
        let draws = self.seats.iter().enumerate().filter(|(member, _)| may(*member));
        draws
            .map(|(member, seat)| (seat.cost(place), seat.rank, member))
            .min_by(|one, other| match one.0.total_cmp(&other.0) {
                Ordering::Equal => one.1.cmp(&other.1),
                decided => decided,
            })
            .map(|(_, _, member)| member)
    }
}

impl Seat {
    /// `-ln(u) / weight`: the smallest wins, which is the largest `-weight / ln(u)`.
    fn cost(&self, place: u64) -> f64 {
        // 53 bits are what an f64 holds; the half keeps `u` away from 0 and 1.
        let u = ((mix(self.name_hash ^ place) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -u.ln() / self.weight
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): one to one, and every bit of the
/// input moves every bit of the output. Without it a linear hash such as CRC-32 would give members
/// draws that depend on each other.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
