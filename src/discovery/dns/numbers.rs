//! Which address is which endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Numbers of addresses. An address keeps its number for as long as it is in each answer; a new one gets
/// the lowest that is free, so that a container that comes back under another address takes the place,
/// and with it the users, of the one that went.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<SocketAddr, u32>);

impl Numbers {
    /// The number of each address, from 1. New ones are numbered in the order of the addresses: the order
    /// of an answer says nothing, and gateways that begin with the same answer agree.
    pub(super) fn assign(
        &mut self,
        addresses: &BTreeSet<SocketAddr>,
    ) -> &BTreeMap<SocketAddr, u32> {
        self.0.retain(|address, _| addresses.contains(address));
        let taken: BTreeSet<u32> = self.0.values().copied().collect();
        let mut free = (1..).filter(|number| !taken.contains(number));
        for address in addresses {
            if !self.0.contains_key(address)
                && let Some(number) = free.next()
            {
                self.0.insert(*address, number);
            }
        }
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::SocketAddr;

    use proptest::collection::{btree_set, vec};
    use proptest::proptest;

    use super::Numbers;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 5001))
    }

    fn numbers(numbers: &mut Numbers, lasts: &[u8]) -> Vec<(u8, u32)> {
        let assigned = numbers.assign(&lasts.iter().map(|last| address(*last)).collect());
        let last =
            |address: &SocketAddr| address.to_string()[7..].split(':').next().unwrap().parse();
        assigned.iter().map(|(address, number)| (last(address).unwrap(), *number)).collect()
    }

    #[test]
    fn an_address_that_comes_takes_the_number_of_one_that_went() {
        let mut all = Numbers::default();
        assert_eq!(numbers(&mut all, &[7, 5, 6]), [(5, 1), (6, 2), (7, 3)]);
        assert_eq!(numbers(&mut all, &[7, 5]), [(5, 1), (7, 3)]);
        assert_eq!(numbers(&mut all, &[9, 7, 5]), [(5, 1), (7, 3), (9, 2)]);
    }

    proptest! {
        #[test]
        fn numbers_are_unique_small_and_stay(
            steps in vec(btree_set(0_u8..40, 0..20), 1..12)
        ) {
            let mut all = Numbers::default();
            let mut before: BTreeMap<SocketAddr, u32> = BTreeMap::new();
            for step in steps {
                let step: BTreeSet<_> = step.into_iter().map(address).collect();
                let now = all.assign(&step).clone();
                assert_eq!(now.keys().copied().collect::<BTreeSet<_>>(), step);
                let values: BTreeSet<u32> = now.values().copied().collect();
                assert_eq!(values.len(), now.len(), "each has its own");
                // None is beyond what was needed at a time: the set before, or this one.
                let most = before.len().max(now.len());
                let highest_before = before.values().max().copied().unwrap_or(0) as usize;
                assert!(values.iter().all(|n| (*n as usize) <= most.max(highest_before)));
                for (address, number) in &now {
                    assert!(before.get(address).is_none_or(|was| was == number), "it stays");
                }
                before = now;
            }
        }
    }
}
