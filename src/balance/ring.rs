//! The consistent-hash ring.
//!
//! Each instance has `virtual_nodes × weight` points, hashed from `name#i`, so that neither its
//! address nor its place in the file moves anybody. A key belongs to the first point at or after
//! its own hash. An instance that is out is passed over in each key's own order, which leaves all
//! other keys where they are.
//!
//! A ring of 64 instances of weight 1 has 10,240 points and takes 108 KiB; apps with the same
//! names, weights and settings share one.

use crate::model::HashAlgorithm;

/// Points of one arc, about: what a look at an arc reads is then next to each other.
const POINTS_OF_AN_ARC: usize = 8;

/// An immutable ring over the members of a pool, which it knows by their index.
#[derive(Debug)]
pub struct Ring {
    algorithm: HashAlgorithm,
    points: Vec<Point>,
    /// What `points` leave out of their hashes, by the same places.
    tails: Vec<u16>,
    /// Where the points of each arc begin: of the hashes that agree in their highest bits. Then where
    /// the last one's end.
    arcs: Vec<u32>,
    /// How many bits of a hash do not tell its arc.
    low_bits: u32,
}

impl Ring {
    /// The ring of `(name, weight)` members. Order in `members` gives them their index and nothing
    /// else. More than 65,535 members are beyond its index and are left out.
    pub fn new(members: &[(&str, u32)], virtual_nodes: u32, algorithm: HashAlgorithm) -> Self {
        let mut placed: Vec<(u64, &str, u16)> = Vec::new();
        for (index, (name, weight)) in (0..=u16::MAX).zip(members) {
            for point in 0..u64::from(virtual_nodes) * u64::from(*weight) {
                placed.push((algorithm.hash(format!("{name}#{point}").as_bytes()), name, index));
            }
        }
        // Two points at one place are ordered by name: the file's order must not decide.
        placed.sort_unstable();
        let points = placed.iter().map(|(hash, _, owner)| Point::new(*hash, *owner)).collect();
        let tails = placed.iter().map(|(hash, _, _)| tail(*hash)).collect();
        let arcs = (placed.len() / POINTS_OF_AN_ARC).next_power_of_two().max(2);
        let low_bits = u64::BITS - arcs.ilog2();
        let begin = |arc| placed.partition_point(|(hash, _, _)| hash >> low_bits < arc);
        let arcs = (0..=arcs as u64).map(|arc| u32::try_from(begin(arc)).unwrap_or(u32::MAX));
        let arcs = arcs.collect();
        Self { algorithm, points, tails, arcs, low_bits }
    }

    /// The hash that the ring was built with.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Where on the ring `key` begins to look for its instance.
    pub fn start(&self, key: &[u8]) -> usize {
        self.at_or_after(self.algorithm.hash(key))
    }

    /// The first point at or after a hash: in its arc, as hashes are spread evenly, are few.
    fn at_or_after(&self, hash: u64) -> usize {
        let arc = (hash >> self.low_bits) as usize;
        let (begin, end) = (self.arcs[arc] as usize, self.arcs[arc + 1] as usize);
        let mut place =
            begin + self.points[begin..end].partition_point(|point| point.is_before(hash));
        // Nearly never: a point that agrees with the hash in all but its tail.
        while place < end && self.points[place].is_about(hash) && self.tails[place] < tail(hash) {
            place += 1;
        }
        place
    }

    /// The member at a place; places go round.
    pub fn owner(&self, place: usize) -> Option<usize> {
        let point = self.points.get(place % self.points.len().max(1))?;
        Some(point.owner())
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether it has no point at all.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

/// A point and whose it is, in one word, so that who finds it need not look elsewhere: the first 48
/// bits of its hash, then the member.
#[derive(Clone, Copy, Debug)]
struct Point(u64);

impl Point {
    fn new(hash: u64, owner: u16) -> Self {
        Self(hash >> TAIL_BITS << TAIL_BITS | u64::from(owner))
    }

    fn is_before(self, hash: u64) -> bool {
        self.0 >> TAIL_BITS < hash >> TAIL_BITS
    }

    fn is_about(self, hash: u64) -> bool {
        self.0 >> TAIL_BITS == hash >> TAIL_BITS
    }

    fn owner(self) -> usize {
        usize::from(tail(self.0))
    }
}

/// Bits of a hash that a point has no room for.
const TAIL_BITS: u32 = u16::BITS;

fn tail(word: u64) -> u16 {
    (word & u64::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::{Point, Ring, TAIL_BITS, tail};
    use crate::balance::HashAlgorithm;

    impl Ring {
        fn hashes(&self) -> impl Iterator<Item = u64> {
            let points = self.points.iter().zip(&self.tails);
            points.map(|(point, tail)| point.0 >> TAIL_BITS << TAIL_BITS | u64::from(*tail))
        }
    }

    #[test]
    fn points_that_differ_in_their_tails_alone_are_told_apart() {
        let algorithm = HashAlgorithm::Sha256;
        let hashes = [6, 0x7_0001, 0x7_0005, 0x7_0009, 0x8_0000];
        let points = (0..).zip(hashes).map(|(owner, hash)| Point::new(hash, owner)).collect();
        let tails = hashes.map(tail).to_vec();
        let ring = Ring { algorithm, points, tails, arcs: vec![0, 5, 5], low_bits: 63 };
        for (hash, place) in
            [(6, 0), (7, 1), (0x7_0000, 1), (0x7_0005, 2), (0x7_0006, 3), (0x7_ffff, 4)]
        {
            assert_eq!(ring.at_or_after(hash), place, "{hash:x}");
            assert_eq!(ring.owner(place), Some(place));
        }
    }

    #[test]
    fn arcs_find_what_a_look_at_all_points_finds() {
        for (members, nodes) in [(0, 160), (1, 1), (2, 3), (4, 160), (64, 160)] {
            let names: Vec<_> = (0..members).map(|number| format!("i{number}")).collect();
            let members: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
            let ring = Ring::new(&members, nodes, HashAlgorithm::Sha256);
            let arcs = (0..=255_u64).map(|arc| arc << 56);
            let points: Vec<_> = ring.hashes().collect();
            assert!(points.is_sorted());
            let hashes: Vec<_> = points.iter().copied().chain(arcs).chain([u64::MAX]).collect();
            for hash in
                hashes.into_iter().flat_map(|at| [at.wrapping_sub(1), at, at.wrapping_add(1)])
            {
                let of_all = points.partition_point(|point| *point < hash);
                assert_eq!(ring.at_or_after(hash), of_all, "{hash} of {}", ring.len());
            }
        }
    }
}
