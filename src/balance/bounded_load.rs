//! Bounded load: how much more than its fair share an instance may have to do.
//!
//! All in whole numbers, so that the bound is exact. It is soft by the number of workers: two that
//! choose in the same instant see the same counts.

use std::num::NonZeroU32;

use super::load::Load;

/// A factor over the fair share, in thousandths; at least 1000, which is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLoad(NonZeroU32);

impl MaxLoad {
    /// From thousandths; less than 1000 is taken for 1000.
    pub fn from_thousandths(thousandths: u32) -> Self {
        const LEAST: NonZeroU32 = NonZeroU32::new(1000).unwrap();
        Self(NonZeroU32::new(thousandths).map_or(LEAST, |thousandths| thousandths.max(LEAST)))
    }

    /// In thousandths.
    pub fn thousandths(self) -> u32 {
        self.0.get()
    }
}

/// The bound at one instant.
#[derive(Clone, Copy, Debug)]
pub struct LoadBound {
    max_load: MaxLoad,
    in_flight: u64,
    weight: u64,
}

impl LoadBound {
    /// The bound over members with these loads.
    pub fn new(max_load: MaxLoad, loads: impl Iterator<Item = Load>) -> Self {
        let none = Self { max_load, in_flight: 0, weight: 0 };
        loads.fold(none, |sum, load| Self {
            in_flight: sum.in_flight + u64::from(load.in_flight),
            weight: sum.weight + u64::from(load.weight),
            ..sum
        })
    }

    /// Requests that a member of this weight may have in flight, this one included: its share of
    /// all of them, times the factor, rounded up.
    pub fn limit(&self, weight: u32) -> u64 {
        let share = u128::from(self.in_flight + 1) * u128::from(weight);
        let limit = (share * u128::from(self.max_load.thousandths()))
            .div_ceil(u128::from(self.weight.max(1)) * 1000);
        u64::try_from(limit).unwrap_or(u64::MAX)
    }

    /// Whether a member with this load may have one more.
    pub fn admits(&self, load: Load) -> bool {
        u64::from(load.in_flight) < self.limit(load.weight)
    }
}

#[cfg(test)]
mod laws {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::{LoadBound, MaxLoad};
    use crate::balance::Load;

    #[test]
    fn the_limit_is_the_fair_share_times_the_factor_rounded_up() {
        let loads = [(3, 1), (4, 1), (2, 2)].map(|(in_flight, weight)| Load { in_flight, weight });
        let limits = |thousandths| {
            let bound = LoadBound::new(MaxLoad::from_thousandths(thousandths), loads.into_iter());
            [1, 2].map(|weight| bound.limit(weight))
        };
        // Ten with this one, over four parts of weight: 2.5 and 5.
        assert_eq!(limits(1000), [3, 5]);
        assert_eq!(limits(1250), [4, 7]);
        assert_eq!(limits(2000), [5, 10]);
        assert_eq!(limits(1), limits(1000));
    }

    proptest! {
        #[test]
        fn somebody_is_always_below(
            loads in prop::collection::vec((0_u32..1000, 1_u32..100), 1..20),
            thousandths in 1000_u32..3000,
        ) {
            let mut loads = loads.into_iter().map(|(in_flight, weight)| Load { in_flight, weight });
            let bound = LoadBound::new(MaxLoad::from_thousandths(thousandths), loads.clone());
            prop_assert!(loads.any(|load| bound.admits(load)));
        }
    }
}
