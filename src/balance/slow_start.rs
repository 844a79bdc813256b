//! Slow start: an instance that has come back gets its users back little by little.
//!
//! Each user has a fraction of their own, and goes home once that share of the time has passed. So
//! each moves once and then stays, and no random number is needed.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Not the seed of a ring: who lies next to each other there must not come home together.
const SEED: u64 = 0x736c_6f77;

/// A key's own fraction, over 2^64.
pub fn fraction(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, SEED)
}

/// Whether a key with this fraction is let in, so long after an instance came back.
pub fn is_ramped_in(fraction: u64, elapsed_ms: u64, slow_start_ms: u64) -> bool {
    // The fraction of the whole time, in ms, below 2^64.
    let turn = (u128::from(fraction) * u128::from(slow_start_ms)) >> 64;
    u128::from(elapsed_ms) > turn || elapsed_ms >= slow_start_ms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::{fraction, is_ramped_in};

    #[test]
    fn the_share_let_in_grows_with_the_time() {
        let users: Vec<_> =
            (0..1000).map(|number| fraction(format!("shop:user-{number}").as_bytes())).collect();
        let share =
            |elapsed| users.iter().filter(|user| is_ramped_in(**user, elapsed, 10_000)).count();
        assert_eq!((share(0), share(10_000)), (0, 1000));
        for (elapsed, expected) in [(1000, 100), (2500, 250), (5000, 500), (9000, 900)] {
            let share = share(elapsed);
            assert!(share.abs_diff(expected) < 60, "{share} after {elapsed} ms");
        }
    }

    #[test]
    fn without_slow_start_everybody_is_let_in_at_once() {
        assert!(is_ramped_in(u64::MAX, 0, 0));
    }

    proptest! {
        #[test]
        fn who_has_been_let_in_stays_in(
            user in any::<u64>(),
            elapsed in 0_u64..100_000,
            later in 0_u64..100_000,
            slow_start in 0_u64..100_000,
        ) {
            let before = is_ramped_in(user, elapsed, slow_start);
            prop_assert!(!before || is_ramped_in(user, elapsed + later, slow_start));
            prop_assert!(is_ramped_in(user, slow_start, slow_start));
        }
    }
}
