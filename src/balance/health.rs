//! The active judgement of an instance: what its probes say of it.
//!
//! `fall` failed probes in a row take it out, `rise` answered ones bring it back. Until one of them
//! has decided it counts as in, so that a gateway serves from its first moment. All state is in one
//! atomic that one prober writes and everybody reads. Times are milliseconds since a fixed point;
//! the clock is the caller's.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How one probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// It was answered as expected.
    Good,
    /// It was not.
    Bad,
    /// It says nothing: our own requests fill the instance.
    Busy,
}

impl ProbeVerdict {
    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Busy => "busy",
        }
    }
}

/// Probes in a row that change the judgement, each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HealthThresholds {
    /// Good ones that bring an instance back.
    pub rise: u32,
    /// Bad ones that take it out.
    pub fall: u32,
}

/// How often to probe, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeTiming {
    /// While nothing changes.
    pub interval_ms: u64,
    /// While the instance is out, or on its way out.
    pub fast_interval_ms: u64,
}

/// What the probes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Nothing yet: it counts as in.
    Checking,
    /// In.
    Up,
    /// Out.
    Down,
}

/// A judgement that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// It was in and is out.
    WentDown,
    /// It was out and is in again.
    CameBack,
}

/// All that is known at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSnapshot {
    /// The judgement.
    pub state: HealthState,
    /// Whether the last probe that said something was bad.
    pub last_was_bad: bool,
    /// Probes in a row that said the same; it stops counting at 8191.
    pub streak: u32,
    /// Since when the judgement stands, in ms.
    pub since_ms: u64,
}

impl HealthSnapshot {
    /// Whether the judgement may change with the next probes, or is to be left behind soon.
    fn in_transition(self) -> bool {
        self.state == HealthState::Down || self.last_was_bad
    }
}

/// The active judgement of one instance by one kind of probe.
#[derive(Debug)]
pub struct Health {
    /// From the top: since (48 bits), streak (13), whether the last was bad (1), state (2).
    word: AtomicU64,
    /// When it last came back, in ms; 0 if it never has.
    returned_ms: AtomicU64,
}

const STREAK_BITS: u32 = 13;
const STREAK_MAX: u32 = (1 << STREAK_BITS) - 1;
const BAD: u64 = 1 << 2;
const STREAK_SHIFT: u32 = 3;
const SINCE_SHIFT: u32 = STREAK_SHIFT + STREAK_BITS;

fn pack(standing: HealthSnapshot) -> u64 {
    let state = match standing.state {
        HealthState::Checking => 0,
        HealthState::Up => 1,
        HealthState::Down => 2,
    };
    let bad = if standing.last_was_bad { BAD } else { 0 };
    let streak = u64::from(standing.streak.min(STREAK_MAX)) << STREAK_SHIFT;
    state | bad | streak | standing.since_ms << SINCE_SHIFT
}

fn unpack(word: u64) -> HealthSnapshot {
    let streak = (word >> STREAK_SHIFT) & u64::from(STREAK_MAX);
    HealthSnapshot {
        state: match word & 3 {
            0 => HealthState::Checking,
            1 => HealthState::Up,
            _ => HealthState::Down,
        },
        last_was_bad: word & BAD != 0,
        streak: u32::try_from(streak).unwrap_or(STREAK_MAX),
        since_ms: word >> SINCE_SHIFT,
    }
}

impl Health {
    /// Nothing is known yet.
    pub fn new(now_ms: u64) -> Self {
        let state = HealthState::Checking;
        let unknown = HealthSnapshot { state, last_was_bad: false, streak: 0, since_ms: now_ms };
        Self { word: AtomicU64::new(pack(unknown)), returned_ms: AtomicU64::new(0) }
    }

    /// All that is known.
    pub fn standing(&self) -> HealthSnapshot {
        unpack(self.word.load(Ordering::Acquire))
    }

    /// Whether the instance is out.
    pub fn is_down(&self) -> bool {
        self.standing().state == HealthState::Down
    }

    /// When it last came back, in ms; 0 if it never has.
    pub fn returned_ms(&self) -> u64 {
        self.returned_ms.load(Ordering::Relaxed)
    }

    /// Takes a probe's verdict. Only one caller at a time: the prober.
    pub fn settle(
        &self,
        verdict: ProbeVerdict,
        rules: HealthThresholds,
        now_ms: u64,
    ) -> Option<HealthChange> {
        let old = self.standing();
        let bad = match verdict {
            ProbeVerdict::Busy => return None,
            ProbeVerdict::Good => false,
            ProbeVerdict::Bad => true,
        };
        let same = old.streak > 0 && old.last_was_bad == bad;
        let streak = if same { (old.streak + 1).min(STREAK_MAX) } else { 1 };
        let state = match (old.state, bad) {
            (HealthState::Checking, false) => HealthState::Up,
            (HealthState::Checking | HealthState::Up, true) if streak >= rules.fall => {
                HealthState::Down
            }
            (HealthState::Down, false) if streak >= rules.rise => HealthState::Up,
            (unchanged, _) => unchanged,
        };
        let since_ms = if state == old.state { old.since_ms } else { now_ms };
        let new = HealthSnapshot { state, last_was_bad: bad, streak, since_ms };
        self.word.store(pack(new), Ordering::Release);
        match (old.state, state) {
            (HealthState::Checking | HealthState::Up, HealthState::Down) => {
                Some(HealthChange::WentDown)
            }
            (HealthState::Down, HealthState::Up) => {
                self.returned_ms.store(now_ms, Ordering::Relaxed);
                Some(HealthChange::CameBack)
            }
            _ => None,
        }
    }

    /// From the beginning of one probe to that of the next, in ms. `seed` is any number that differs
    /// between instances and rounds.
    ///
    /// The result is 85 to 95 % of the interval, so that gateways that were started together do not
    /// probe together for ever, and that a second until the probe and two time limits of half a
    /// second stay below two seconds.
    pub fn next_in_ms(&self, rhythm: ProbeTiming, seed: u64) -> u64 {
        let fast = self.standing().in_transition();
        let interval = if fast { rhythm.fast_interval_ms } else { rhythm.interval_ms };
        let share = 850 + xxh3_64_with_seed(&seed.to_le_bytes(), 0) % 101;
        (interval.saturating_mul(share) / 1000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{
        Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
    };

    use super::{
        Health, HealthChange, HealthState, HealthThresholds, ProbeTiming, ProbeVerdict, pack,
        unpack,
    };

    const RULES: HealthThresholds = HealthThresholds { rise: 2, fall: 3 };
    const RHYTHM: ProbeTiming = ProbeTiming { interval_ms: 1000, fast_interval_ms: 250 };

    fn after(verdicts: &[ProbeVerdict]) -> Health {
        let health = Health::new(0);
        for (at, verdict) in (1..).zip(verdicts) {
            health.settle(*verdict, RULES, at);
        }
        health
    }

    #[test]
    fn the_first_answer_decides_and_the_fall_takes_it_out() {
        use ProbeVerdict::{Bad, Good};
        let health = Health::new(5);
        assert_eq!(health.standing().state, HealthState::Checking);
        assert_eq!(health.settle(Good, RULES, 6), None);
        assert_eq!((health.standing().state, health.standing().since_ms), (HealthState::Up, 6));
        assert_eq!(health.settle(Bad, RULES, 7), None);
        assert_eq!(health.settle(Bad, RULES, 8), None);
        assert_eq!(health.settle(Bad, RULES, 9), Some(HealthChange::WentDown));
        assert_eq!((health.standing().streak, health.standing().since_ms), (3, 9));
        assert_eq!(health.settle(Good, RULES, 10), None);
        assert!(health.is_down());
        assert_eq!(health.settle(Good, RULES, 11), Some(HealthChange::CameBack));
        assert_eq!((health.standing().state, health.standing().since_ms), (HealthState::Up, 11));
        assert_eq!(health.returned_ms(), 11);
    }

    #[test]
    fn one_that_never_answered_goes_down_too() {
        assert!(after(&[ProbeVerdict::Bad; 3]).is_down());
        assert!(!after(&[ProbeVerdict::Bad; 2]).is_down());
    }

    #[test]
    fn probes_are_fast_while_something_is_wrong() {
        use ProbeVerdict::{Bad, Busy, Good};
        let is_fast = |verdicts: &[_]| after(verdicts).next_in_ms(RHYTHM, 1) <= 250;
        assert!(!is_fast(&[]));
        assert!(!is_fast(&[Good]));
        assert!(is_fast(&[Good, Bad]));
        assert!(is_fast(&[Good, Bad, Busy]));
        assert!(!is_fast(&[Good, Bad, Good]));
        assert!(is_fast(&[Bad, Bad, Bad]));
        assert!(is_fast(&[Bad, Bad, Bad, Good]));
        assert!(!is_fast(&[Bad, Bad, Bad, Good, Good]));
    }

    fn verdict() -> impl Strategy<Value = ProbeVerdict> {
        prop_oneof![Just(ProbeVerdict::Good), Just(ProbeVerdict::Bad), Just(ProbeVerdict::Busy)]
    }

    proptest! {
        #[test]
        fn a_change_needs_as_many_in_a_row_as_the_rules_say(
            verdicts in prop::collection::vec(verdict(), 0..60),
            rise in 1_u32..5,
            fall in 1_u32..5,
        ) {
            let health = Health::new(0);
            let (mut good, mut bad) = (0, 0);
            for (at, verdict) in (1..).zip(verdicts) {
                match verdict {
                    ProbeVerdict::Good => (good, bad) = (good + 1, 0),
                    ProbeVerdict::Bad => (good, bad) = (0, bad + 1),
                    ProbeVerdict::Busy => {}
                }
                let was_down = health.is_down();
                let change = health.settle(verdict, HealthThresholds { rise, fall }, at);
                let expected = match was_down {
                    false if bad >= fall => Some(HealthChange::WentDown),
                    true if good >= rise => Some(HealthChange::CameBack),
                    _ => None,
                };
                prop_assert_eq!(change, expected);
                prop_assert_eq!(health.is_down(), was_down ^ change.is_some());
            }
        }

        #[test]
        fn busy_changes_nothing(
            verdicts in prop::collection::vec(verdict(), 0..20),
            later in 100_u64..200,
        ) {
            let health = after(&verdicts);
            let before = health.standing();
            prop_assert_eq!(health.settle(ProbeVerdict::Busy, RULES, later), None);
            prop_assert_eq!(health.standing(), before);
        }

        #[test]
        fn the_next_probe_comes_a_little_early_and_never_late(
            verdicts in prop::collection::vec(verdict(), 0..10),
            interval_ms in 1_u64..100_000,
            fast_interval_ms in 1_u64..100_000,
            seed: u64,
        ) {
            let health = after(&verdicts);
            let next = health.next_in_ms(ProbeTiming { interval_ms, fast_interval_ms }, seed);
            let standing = health.standing();
            let fast = standing.state == HealthState::Down || standing.last_was_bad;
            let interval = if fast { fast_interval_ms } else { interval_ms };
            prop_assert!(next >= (interval * 850 / 1000).max(1), "{next} of {interval}");
            prop_assert!(next <= (interval * 950 / 1000).max(1), "{next} of {interval}");
        }

        #[test]
        fn a_standing_survives_its_word(word in 0_u64..u64::MAX) {
            let standing = unpack(word);
            prop_assert_eq!(unpack(pack(standing)), standing);
        }
    }
}
