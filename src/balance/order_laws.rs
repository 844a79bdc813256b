//! The laws of the ring and the order, over random pools.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::{Load, Method, Order};
use crate::balance::HashAlgorithm::{Sha256, Xxh3};
use crate::balance::{HashAlgorithm, Ring};

type Members = Vec<(String, u32)>;

fn ring(members: &[(String, u32)], algorithm: HashAlgorithm) -> Ring {
    let members: Vec<_> = members.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
    Ring::new(&members, 40, algorithm)
}

/// The whole order of a key, as names.
fn order(members: &[(String, u32)], algorithm: HashAlgorithm, key: &str) -> Vec<String> {
    let ring = ring(members, algorithm);
    let mut order = Order::of_key(&ring, key.as_bytes());
    let method = Method::ConsistentHash(Arc::new(ring));
    std::iter::from_fn(|| order.next(&method, |_| Load { in_flight: 0, weight: 1 }))
        .map(|member| members[member].0.clone())
        .collect()
}

fn members() -> impl Strategy<Value = Members> {
    let names = prop::collection::hash_set("[a-z][a-z0-9-]{0,8}", 1..9);
    names.prop_flat_map(|names| {
        let names: Vec<_> = names.into_iter().collect();
        let weights = prop::collection::vec(1_u32..4, names.len());
        (Just(names), weights).prop_map(|(names, weights)| names.into_iter().zip(weights).collect())
    })
}

fn algorithm() -> impl Strategy<Value = HashAlgorithm> {
    any::<bool>().prop_map(|xxh3| if xxh3 { Xxh3 } else { Sha256 })
}

proptest! {
    #[test]
    fn candidates_are_a_permutation(members in members(), algorithm in algorithm(), key in ".{0,20}") {
        let order = order(&members, algorithm, &key);
        prop_assert_eq!(order.len(), members.len());
        prop_assert_eq!(order.iter().collect::<HashSet<_>>().len(), members.len());
    }

    #[test]
    fn the_place_in_the_file_decides_nothing(
        members in members(), algorithm in algorithm(), key in ".{0,20}", turn in 0_usize..8,
    ) {
        let mut turned = members.clone();
        let by = turn % turned.len();
        turned.rotate_left(by);
        prop_assert_eq!(order(&members, algorithm, &key), order(&turned, algorithm, &key));
    }

    #[test]
    fn a_removed_member_leaves_everybody_elses_order_alone(
        members in members(), algorithm in algorithm(), key in ".{0,20}", gone in any::<prop::sample::Index>(),
    ) {
        let gone = gone.index(members.len());
        let fewer: Members =
            members.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, m)| m.clone()).collect();
        let mut expected = order(&members, algorithm, &key);
        expected.retain(|name| *name != members[gone].0);
        prop_assert_eq!(order(&fewer, algorithm, &key), expected);
    }

    #[test]
    fn the_least_busy_come_first(
        loads in prop::collection::vec((0_u32..50, 1_u32..4), 1..80), turn in any::<usize>(),
    ) {
        let names: Members = (0..loads.len()).map(|at| (format!("i{at}"), 1)).collect();
        let method = Method::ConsistentHash(Arc::new(ring(&names, Xxh3)));
        let mut order = Order::by_load(loads.len(), turn);
        let load = |at: usize| Load { in_flight: loads[at].0, weight: loads[at].1 };
        let given: Vec<_> = std::iter::from_fn(|| order.next(&method, load)).collect();
        prop_assert_eq!(given.iter().collect::<HashSet<_>>().len(), loads.len());
        let ratio = |at: usize| f64::from(loads[at].0) / f64::from(loads[at].1);
        prop_assert!(given.windows(2).all(|pair| ratio(pair[0]) <= ratio(pair[1])));
    }
}

#[test]
fn an_order_is_pinned() {
    let members: Members =
        ["dify1", "dify2", "dify3", "dify4"].map(|name| (name.to_owned(), 1)).into();
    let firsts = |algorithm| {
        ["alice", "bob", "carol", "dave", "erin", "frank"]
            .map(|user| order(&members, algorithm, &format!("customer_service:{user}")).join(" "))
    };
    // Computed with an independent implementation of this ring.
    assert_eq!(
        firsts(Sha256),
        [
            "dify4 dify2 dify1 dify3",
            "dify3 dify2 dify4 dify1",
            "dify2 dify4 dify1 dify3",
            "dify2 dify3 dify1 dify4",
            "dify1 dify4 dify3 dify2",
            "dify2 dify4 dify1 dify3",
        ]
    );
    assert_eq!(
        firsts(Xxh3),
        [
            "dify1 dify3 dify2 dify4",
            "dify3 dify1 dify2 dify4",
            "dify1 dify2 dify4 dify3",
            "dify4 dify2 dify3 dify1",
            "dify1 dify2 dify3 dify4",
            "dify3 dify4 dify1 dify2",
        ]
    );
}
