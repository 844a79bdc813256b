//! A gateway kept busy and broken for minutes: does it hang, does it leak, is it whole at the end?
//!
//! `work` is what clients do, `trouble` what happens to instances and configuration, `hostile` what one
//! does who means harm, `watch` looks at the process from outside. Everything random comes from one seed.

mod hostile;
mod trouble;
mod watch;
mod work;

pub use hostile::{Done, HARMS, hostile};
pub use trouble::{Trouble, reloading};
pub use watch::{Sample, grown, sample};
pub use work::{Tally, all_served, working};

/// Random numbers that a seed gives again: SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `limit`; 0 below 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(limit).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let [mut one, mut same, mut other] = [7, 7, 8].map(Random::new);
        let numbers: Vec<_> = (0..100).map(|_| one.below(1000)).collect();
        assert!(numbers.iter().all(|number| *number == same.below(1000)));
        assert!(numbers.iter().any(|number| *number != other.below(1000)));
        assert_eq!(one.below(0), 0);
    }
}
