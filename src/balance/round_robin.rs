//! Weighted round robin as a precomputed cycle and an atomic turn.
//!
//! Over one cycle each member stands exactly as often as its weight says, and evenly: after any
//! number of steps it has had its exact share, rounded down or up. Steps are given by earliest
//! deadline: the k-th turn of a member of weight w in a cycle of W steps belongs into the steps
//! from ⌊k·W/w⌋ to ⌈(k+1)·W/w⌉ (Baruah and others 1996). That is smoother than nginx's rule, whose
//! `a a b a c a` for weights 4, 1, 1 has three turns of `a` where its end meets its beginning.
//!
//! **Bound.** The cycle is the sum of the weights divided by their greatest common divisor, and at
//! most 65,536 plus one for each member: beyond that weights are scaled down, to at least 1, and are
//! off by less than one step each. Two bytes per step.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The longest cycle, but for members whose share of it is less than one step.
const MOST_STEPS: u64 = 1 << 16;

/// Turns over the members of a pool, known by their index.
#[derive(Debug)]
pub struct RoundRobin {
    steps: Vec<u16>,
    turn: AtomicUsize,
}

impl RoundRobin {
    /// A cycle over members with these weights, each at least 1. More than 65,535 members are
    /// beyond its index and are left out.
    pub fn new(weights: &[u32]) -> Self {
        let weights: Vec<_> = weights.iter().take(usize::from(u16::MAX)).copied().collect();
        Self { steps: steps(&shortened(&weights)), turn: AtomicUsize::new(0) }
    }

    /// The next turn, which is this caller's alone.
    pub fn draw(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Whose turn it is; turns go round.
    pub fn owner(&self, turn: usize) -> Option<usize> {
        self.steps.get(turn % self.steps.len().max(1)).map(|member| usize::from(*member))
    }

    /// How many turns there are in a cycle.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// The smallest weights in the same proportion, within the bound.
fn shortened(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
    let weights: Vec<_> = weights.iter().map(|weight| u64::from(weight / divisor)).collect();
    let sum: u64 = weights.iter().sum();
    if sum <= MOST_STEPS {
        return weights;
    }
    weights.iter().map(|weight| (weight * MOST_STEPS / sum).max(1)).collect()
}

fn gcd(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { gcd(other, one % other) }
}

fn steps(weights: &[u64]) -> Vec<u16> {
    let sum: u64 = weights.iter().sum();
    let mut turns = vec![0; weights.len()];
    let next = |step| {
        let released = (0_u16..)
            .zip(weights)
            .zip(&turns)
            .filter(|((_, weight), turn)| *turn < *weight && *turn * sum / *weight <= step);
        let chosen = released
            .min_by_key(|((_, weight), turn)| {
                (((*turn + 1) * sum).div_ceil(**weight), u64::MAX - **weight)
            })
            .map(|((member, _), _)| member);
        if let Some(member) = chosen {
            turns[usize::from(member)] += 1;
        }
        chosen
    };
    (0..sum).filter_map(next).collect()
}

#[cfg(test)]
mod laws {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::{MOST_STEPS, RoundRobin};

    fn owners(weights: &[u32]) -> Vec<usize> {
        let cycle = RoundRobin::new(weights);
        (0..cycle.len()).filter_map(|_| cycle.owner(cycle.draw())).collect()
    }

    /// The longest run of a member, with the cycle's end joined to its beginning.
    fn longest_run(owners: &[usize], member: usize) -> usize {
        let twice = owners.iter().chain(owners);
        let mut run = 0;
        let runs = twice.map(|owner| {
            run = if *owner == member { run + 1 } else { 0 };
            run
        });
        runs.max().unwrap_or(0).min(owners.len())
    }

    proptest! {
        #[test]
        fn over_one_cycle_each_member_has_its_weight(
            weights in prop::collection::vec(1_u32..40, 1..9), factor in 1_u32..9,
        ) {
            let owners = owners(&weights);
            let divisor = weights.iter().fold(0, |d, w| super::gcd(d, *w));
            for (member, weight) in weights.iter().enumerate() {
                let turns = owners.iter().filter(|owner| **owner == member).count();
                prop_assert_eq!(turns, (weight / divisor) as usize);
            }
            let multiples: Vec<_> = weights.iter().map(|weight| weight * factor).collect();
            prop_assert_eq!(self::owners(&multiples), owners);
        }

        #[test]
        fn at_every_step_each_member_has_had_its_share(
            weights in prop::collection::vec(1_u32..40, 1..9),
        ) {
            let owners = owners(&weights);
            let sum: u32 = weights.iter().sum();
            for (member, weight) in weights.iter().enumerate() {
                let mut had = 0;
                for (step, owner) in owners.iter().enumerate() {
                    had += usize::from(*owner == member);
                    let share = (step + 1) as f64 * f64::from(*weight) / f64::from(sum);
                    prop_assert!((had as f64 - share).abs() < 1.0, "{weights:?} {owners:?}");
                }
                // Fewer others than it has turns must leave it runs; one longer than that at most.
                let others = owners.len() - had;
                let needed = if others == 0 { had } else { had.div_ceil(others) };
                prop_assert!(longest_run(&owners, member) <= needed + 1, "{weights:?} {owners:?}");
            }
        }
    }

    #[test]
    fn cycles_are_pinned() {
        // Computed with an independent implementation of the deadlines.
        assert_eq!(owners(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(owners(&[5, 1, 1]), [0, 0, 0, 1, 0, 0, 2]);
        assert_eq!(owners(&[40, 10, 10]), [0, 0, 1, 0, 0, 2]);
        assert_eq!(owners(&[3, 2, 1]), [0, 1, 0, 1, 0, 2]);
        assert_eq!(owners(&[1, 2, 3, 4]), [3, 2, 3, 1, 2, 3, 2, 3, 1, 0]);
    }

    #[test]
    fn a_cycle_is_bounded_and_leaves_nobody_out() {
        let weights: Vec<_> = (9_937..10_000).chain([1]).collect();
        let owners = owners(&weights);
        assert!(owners.len() as u64 <= MOST_STEPS + 64, "{}", owners.len());
        assert_eq!(owners.iter().filter(|owner| **owner == 63).count(), 1);
        let heaviest = owners.iter().filter(|owner| **owner == 62).count() as f64;
        assert!((heaviest / owners.len() as f64 * 64.0 - 1.0).abs() < 0.03);
    }
}
