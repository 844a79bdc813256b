//! The laws of the methods and the order, over random pools.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::{AttemptOrder, Load};
use crate::balance::HashAlgorithm::{self, Crc32, Md5, Sha1, Sha256, Xxh3};
use crate::balance::{LoadBound, MaxLoad, Method, Rendezvous, Ring, RoundRobin};

const IDLE: Load = Load { in_flight: 0, weight: 1 };

type Members = Vec<(String, u32)>;

/// A way to build each method, and its name.
type Build = fn(&[(&str, u32)], HashAlgorithm) -> Method;

const RING: Build = |members, hash| Method::ConsistentHash(Arc::new(Ring::new(members, 40, hash)));
const RENDEZVOUS: Build = |members, hash| Method::Rendezvous(Rendezvous::new(members, hash).into());
const ROUND_ROBIN: Build = |members, _| {
    let weights: Vec<_> = members.iter().map(|(_, weight)| *weight).collect();
    Method::WeightedRoundRobin(RoundRobin::new(&weights).into())
};
const LEAST: Build = |_, _| Method::LeastConnections;
const ADDRESS: Build = |members, hash| Method::IpHash(Arc::new(Ring::new(members, 40, hash)));

fn method(build: Build, members: &[(String, u32)], algorithm: HashAlgorithm) -> Method {
    let members: Vec<_> = members.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
    build(&members, algorithm)
}

/// The whole order of a key, as names.
fn order(
    build: Build,
    members: &[(String, u32)],
    algorithm: HashAlgorithm,
    key: &str,
) -> Vec<String> {
    let method = method(build, members, algorithm);
    let mut order = AttemptOrder::new(&method, Some(key.as_bytes()), members.len(), || 0);
    std::iter::from_fn(|| order.next(&method, |_| IDLE))
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
    prop::sample::select(vec![Sha256, Xxh3, Sha1, Md5, Crc32])
}

fn any_method() -> impl Strategy<Value = Build> {
    prop::sample::select(vec![RING, RENDEZVOUS, ROUND_ROBIN, LEAST, ADDRESS])
}

fn hashing() -> impl Strategy<Value = Build> {
    prop::sample::select(vec![RING, RENDEZVOUS, ADDRESS])
}

proptest! {
    #[test]
    fn candidates_are_a_permutation(
        build in any_method(), members in members(), algorithm in algorithm(), key in ".{0,20}",
    ) {
        let order = order(build, &members, algorithm, &key);
        prop_assert_eq!(order.len(), members.len());
        prop_assert_eq!(order.iter().collect::<HashSet<_>>().len(), members.len());
    }

    #[test]
    fn the_place_in_the_file_decides_nothing(
        build in hashing(), members in members(), algorithm in algorithm(), key in ".{0,20}",
        turn in 0_usize..8,
    ) {
        let mut turned = members.clone();
        let by = turn % turned.len();
        turned.rotate_left(by);
        prop_assert_eq!(
            order(build, &members, algorithm, &key),
            order(build, &turned, algorithm, &key)
        );
    }

    #[test]
    fn a_removed_member_leaves_everybody_elses_order_alone(
        build in hashing(), members in members(), algorithm in algorithm(), key in ".{0,20}",
        gone in any::<prop::sample::Index>(),
    ) {
        let gone = gone.index(members.len());
        let fewer: Members =
            members.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, m)| m.clone()).collect();
        let mut expected = order(build, &members, algorithm, &key);
        expected.retain(|name| *name != members[gone].0);
        prop_assert_eq!(order(build, &fewer, algorithm, &key), expected);
    }

    #[test]
    fn more_weight_takes_nobody_from_a_member(
        build in hashing(), members in members(), algorithm in algorithm(), key in ".{0,20}",
        grown in any::<prop::sample::Index>(),
    ) {
        let grown = grown.index(members.len());
        let mut heavier = members.clone();
        heavier[grown].1 += 1;
        let before = order(build, &members, algorithm, &key);
        let after = order(build, &heavier, algorithm, &key);
        prop_assert!(after[0] == before[0] || after[0] == members[grown].0);
    }

    #[test]
    fn the_least_busy_come_first(
        build in prop::sample::select(vec![RING, RENDEZVOUS, LEAST, ADDRESS]),
        loads in prop::collection::vec((0_u32..50, 1_u32..4), 1..80), turn in any::<usize>(),
    ) {
        let names: Members = (0..loads.len()).map(|at| (format!("i{at}"), 1)).collect();
        let method = method(build, &names, Xxh3);
        let mut order = AttemptOrder::new(&method, None, loads.len(), || turn);
        let load = |at: usize| Load { in_flight: loads[at].0, weight: loads[at].1 };
        let given: Vec<_> = std::iter::from_fn(|| order.next(&method, load)).collect();
        prop_assert_eq!(given.iter().collect::<HashSet<_>>().len(), loads.len());
        let ratio = |at: usize| f64::from(loads[at].0) / f64::from(loads[at].1);
        prop_assert!(given.windows(2).all(|pair| ratio(pair[0]) <= ratio(pair[1])));
        let ties: Vec<_> = (0..loads.len()).filter(|at| ratio(*at) == ratio(given[0])).collect();
        let from = turn % loads.len();
        let in_turn = ties.iter().find(|at| **at >= from).or(ties.first());
        prop_assert_eq!(Some(&given[0]), in_turn);
    }

    #[test]
    fn under_a_bound_candidates_keep_their_order_and_the_admitted_come_first(
        build in hashing(), members in members(), key in ".{0,20}",
        in_flight in prop::collection::vec(0_u32..20, 9), thousandths in 1000_u32..3000,
    ) {
        let method = method(build, &members, Sha256);
        let load = |at: usize| Load { in_flight: in_flight[at], weight: members[at].1 };
        let loads = (0..members.len()).map(load);
        let bound = LoadBound::new(MaxLoad::from_thousandths(thousandths), loads);
        let new = || AttemptOrder::new(&method, Some(key.as_bytes()), members.len(), || 0);
        let (mut plain, mut bounded) = (new(), new());
        let plain: Vec<_> = std::iter::from_fn(|| plain.next(&method, load)).collect();
        let given: Vec<_> =
            std::iter::from_fn(|| bounded.next_within(&bound, &method, load)).collect();
        let (below, above): (Vec<_>, Vec<_>) =
            plain.into_iter().partition(|member| bound.admits(load(*member)));
        prop_assert!(!below.is_empty());
        prop_assert_eq!(given, [below, above].concat());
    }
}

#[test]
fn requests_in_flight_never_exceed_the_bound() {
    let members: Members = (1..=5).map(|at| (format!("dify{at}"), at)).collect();
    for build in [RING, RENDEZVOUS, ADDRESS] {
        let method = method(build, &members, Sha256);
        let mut in_flight = [0_u32; 5];
        for request in 0..2_000_u32 {
            let load = |at: usize| Load { in_flight: in_flight[at], weight: members[at].1 };
            let bound = LoadBound::new(MaxLoad::from_thousandths(1250), (0..5).map(load));
            // A few busy users, as in the worst case.
            let key = format!("shop:user-{}", request % 3);
            let mut order = AttemptOrder::new(&method, Some(key.as_bytes()), 5, || 0);
            let chosen = order.next_within(&bound, &method, load).unwrap();
            in_flight[chosen] += 1;
            assert!(u64::from(in_flight[chosen]) <= bound.limit(members[chosen].1));
        }
    }
}

#[test]
fn one_turn_after_another_is_a_cycle_and_who_is_out_leaves_its_turns_to_all() {
    let members: Members = (0..3).map(|at| (format!("i{at}"), 1)).collect();
    let method = method(ROUND_ROBIN, &members, Sha256);
    let new = || AttemptOrder::new(&method, None, 3, || 0);
    let firsts: Vec<_> = (0..6).filter_map(|_| new().next(&method, |_| IDLE)).collect();
    assert_eq!(firsts, [0, 1, 2, 0, 1, 2]);
    // 1 is out: each request asks on until it gets another.
    let others: Vec<_> = (0..6)
        .filter_map(|_| {
            let mut order = new();
            std::iter::from_fn(|| order.next(&method, |_| IDLE)).find(|member| *member != 1)
        })
        .collect();
    assert_eq!(others, [0, 2, 0, 2, 0, 2]);
}

#[test]
fn the_shares_of_rendezvous_follow_the_weights() {
    let members: Members = (1..=4).map(|at| (format!("dify{at}"), at)).collect();
    for algorithm in [Sha256, Xxh3, Sha1, Md5, Crc32] {
        let method = method(RENDEZVOUS, &members, algorithm);
        let mut shares = [0_u32; 4];
        for user in 0..20_000 {
            let key = format!("shop:user-{user}");
            let mut order = AttemptOrder::new(&method, Some(key.as_bytes()), 4, || 0);
            shares[order.next(&method, |_| IDLE).unwrap()] += 1;
        }
        for (share, weight) in shares.into_iter().zip(1..) {
            let expected = 2_000.0 * f64::from(weight);
            assert!((f64::from(share) / expected - 1.0).abs() < 0.05, "{algorithm:?} {shares:?}");
        }
    }
}

#[test]
fn a_ring_of_crc32_has_the_order_of_its_32_bits() {
    let names = ["dify1", "dify2", "dify3"];
    let mut points: Vec<_> = names
        .iter()
        .enumerate()
        .flat_map(|(at, name)| {
            (0..40).map(move |i| (crc32fast::hash(format!("{name}#{i}").as_bytes()), at))
        })
        .collect();
    points.sort_unstable();
    let members: Members = names.map(|name| (name.to_owned(), 1)).into();
    for user in 0..1_000 {
        let key = format!("shop:user-{user}");
        let hash = crc32fast::hash(key.as_bytes());
        let owner = points.iter().find(|(point, _)| *point >= hash).unwrap_or(&points[0]).1;
        assert_eq!(order(RING, &members, Crc32, &key)[0], names[owner], "{key}");
    }
}

#[test]
fn orders_are_pinned() {
    let pinned = |build, weights: [u32; 4], algorithm| {
        let names = ["dify1", "dify2", "dify3", "dify4"].map(str::to_owned);
        let members: Members = names.into_iter().zip(weights).collect();
        ["alice", "bob", "carol", "dave", "erin", "frank"].map(|user| {
            let order = order(build, &members, algorithm, &format!("customer_service:{user}"));
            order.iter().map(|name| &name[4..]).collect::<String>()
        })
    };
    let even = [1, 1, 1, 1];
    // Computed with an independent implementation, which orders CRC-32 by its 32 bits.
    for (algorithm, expected) in [
        (Sha256, ["4213", "3241", "2413", "2314", "1432", "2413"]),
        (Xxh3, ["1324", "3124", "1243", "4231", "1234", "3412"]),
        (Sha1, ["2341", "3412", "2143", "4231", "4123", "4123"]),
        (Md5, ["1234", "3124", "2134", "4321", "2134", "2341"]),
        (Crc32, ["2143", "2413", "3142", "3421", "3421", "2314"]),
    ] {
        assert_eq!(pinned(RING, even, algorithm), expected, "{algorithm:?}");
        assert_eq!(pinned(ADDRESS, even, algorithm), expected, "{algorithm:?}");
    }
    for (algorithm, expected) in [
        (Sha256, ["1234", "1423", "3142", "1324", "3214", "2143"]),
        (Xxh3, ["1342", "3214", "2143", "1423", "4312", "3421"]),
        (Sha1, ["1423", "1432", "4312", "4213", "4231", "2314"]),
        (Md5, ["1243", "4132", "3214", "4312", "4123", "1423"]),
        (Crc32, ["4123", "2143", "2341", "4231", "1342", "3142"]),
    ] {
        assert_eq!(pinned(RENDEZVOUS, even, algorithm), expected, "{algorithm:?}");
    }
    for (algorithm, expected) in [
        (Sha256, ["2143", "4123", "3412", "1342", "3241", "2413"]),
        (Xxh3, ["4312", "3241", "2431", "4123", "4321", "3421"]),
        (Crc32, ["4213", "2431", "2431", "4231", "3412", "3412"]),
    ] {
        assert_eq!(pinned(RENDEZVOUS, [1, 2, 3, 4], algorithm), expected, "{algorithm:?}");
    }
}
