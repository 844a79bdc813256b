//! The consistent-hash ring.
//!
//! Each instance has `virtual_nodes × weight` points, hashed from `name#i`, so that neither its
//! address nor its place in the file moves anybody. A key belongs to the first point at or after
//! its own hash. An instance that is out is passed over in each key's own order, which leaves all
//! other keys where they are.
//!
//! A ring of 64 instances of weight 1 has 10,240 points and takes 100 KiB; apps with the same
//! names, weights and settings share one.

use crate::balance::hash::HashAlgorithm;

/// An immutable ring over the members of a pool, which it knows by their index.
#[derive(Debug)]
pub struct Ring {
    algorithm: HashAlgorithm,
    /// Sorted hashes; `owners[i]` is the member that `points[i]` belongs to.
    points: Vec<u64>,
    owners: Vec<u16>,
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
        Self {
            algorithm,
            points: placed.iter().map(|(hash, _, _)| *hash).collect(),
            owners: placed.iter().map(|(_, _, owner)| *owner).collect(),
        }
    }

    /// The hash that the ring was built with.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Where on the ring `key` begins to look for its instance.
    pub fn start(&self, key: &[u8]) -> usize {
        let hash = self.algorithm.hash(key);
        self.points.partition_point(|point| *point < hash)
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
