//! The consistent-hash ring.
//!
//! Each instance has `virtual_nodes × weight` points, hashed from `name#i`, so that neither its
//! address nor its place in the file moves anybody. A key belongs to the first point at or after
//! its own hash. An instance that is out is passed over in each key's own order, which leaves all
//! other keys where they are.
//!
//! A ring of 64 instances of weight 1 has 10,240 points and takes 108 KiB; apps with the same
//! names, weights and settings share one.

use crate::balance::hash::HashAlgorithm;

/// Points of one arc, about: what a look at an arc reads is then next to each other.
const POINTS_OF_AN_ARC: usize = 8;

/// An immutable ring over the members of a pool, which it knows by their index.
#[derive(Debug)]
pub struct Ring {
    algorithm: HashAlgorithm,
    /// Sorted hashes; `owners[i]` is the member that `points[i]` belongs to.
    points: Vec<u64>,
    owners: Vec<u16>,
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
        let points: Vec<_> = placed.iter().map(|(hash, _, _)| *hash).collect();
        let owners = placed.iter().map(|(_, _, owner)| *owner).collect();
        let arcs = (points.len() / POINTS_OF_AN_ARC).next_power_of_two().max(2);
        let low_bits = u64::BITS - arcs.ilog2();
        let begin = |arc| points.partition_point(|point| point >> low_bits < arc);
        let arcs = (0..=arcs as u64).map(|arc| u32::try_from(begin(arc)).unwrap_or(u32::MAX));
        let arcs = arcs.collect();
        Self { algorithm, points, owners, arcs, low_bits }
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
        begin + self.points[begin..end].partition_point(|point| *point < hash)
    }

    /// The member at a place; places go round.
    pub fn owner(&self, place: usize) -> Option<usize> {
        let owner = self.owners.get(place % self.owners.len().max(1))?;
        Some(usize::from(*owner))
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

#[cfg(test)]
mod tests {
    use super::Ring;
    use crate::balance::HashAlgorithm;

    #[test]
    fn arcs_find_what_a_look_at_all_points_finds() {
        for (members, nodes) in [(0, 160), (1, 1), (2, 3), (4, 160), (64, 160)] {
            let names: Vec<_> = (0..members).map(|number| format!("i{number}")).collect();
            let members: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
            let ring = Ring::new(&members, nodes, HashAlgorithm::Sha256);
            let arcs = (0..=255_u64).map(|arc| arc << 56);
            let hashes: Vec<_> =
                ring.points.iter().copied().chain(arcs).chain([u64::MAX]).collect();
            for hash in
                hashes.into_iter().flat_map(|at| [at.wrapping_sub(1), at, at.wrapping_add(1)])
            {
                let of_all = ring.points.partition_point(|point| *point < hash);
                assert_eq!(ring.at_or_after(hash), of_all, "{hash} of {}", ring.len());
            }
        }
    }
}
