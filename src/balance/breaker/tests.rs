//! The breaker's states, with the clock passed in.

use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_oneof, proptest};

use super::{
    Breaker, BreakerOutcome, BreakerState, CallerId, EjectionCause, Permit, Thresholds, Verdict,
};

const LIMITS: Thresholds = Thresholds { max_fails: 3, fail_timeout_ms: 30_000 };
const BAD: Verdict = Verdict::Bad(EjectionCause::Unreachable, None);

const ALICE: (&str, &str) = ("shop", "alice");
const BOB: (&str, &str) = ("shop", "bob");
const CAROL: (&str, &str) = ("flow", "carol");

fn caller((app, user): (&str, &str)) -> CallerId {
    CallerId::new(app, user.as_bytes())
}

fn good(who: (&str, &str)) -> Verdict {
    Verdict::Good(caller(who))
}

fn bad(who: (&str, &str)) -> Verdict {
    Verdict::Bad(EjectionCause::BrokenAnswer, Some(caller(who)))
}

/// Settles as the gateway does where nothing holds an instance in. True when that opened it.
fn settle(breaker: &Breaker, verdict: Verdict, limits: Thresholds, now_ms: u64) -> bool {
    match breaker.settle(Permit::Normal, verdict, &limits, now_ms) {
        BreakerOutcome::Due(cause) => breaker.open(cause, limits, now_ms),
        _ => false,
    }
}

fn opened(cause: EjectionCause) -> Breaker {
    let breaker = Breaker::default();
    for at in 0..3 {
        assert_eq!(settle(&breaker, Verdict::Bad(cause, None), LIMITS, at), at == 2);
    }
    breaker
}

#[test]
fn opens_at_max_fails_within_the_window() {
    let breaker = opened(EjectionCause::Unreachable);
    assert_eq!(breaker.admit(3), None);
    assert_eq!(breaker.state(3), BreakerState::Open { until_ms: 30_002 });
    assert_eq!(breaker.since_ms(), 2);
}

#[test]
fn failures_further_apart_than_the_window_do_not_add_up() {
    let breaker = Breaker::default();
    for at in 0..20 {
        assert!(!settle(&breaker, BAD, LIMITS, at * 15_001));
    }
    assert_eq!(breaker.admit(400_000), Some(Permit::Normal));
}

#[test]
fn an_answer_does_not_forgive_failures_of_other_kinds() {
    let breaker = Breaker::default();
    assert!(!settle(&breaker, BAD, LIMITS, 1));
    assert!(!settle(&breaker, BAD, LIMITS, 2));
    assert!(!settle(&breaker, good(ALICE), LIMITS, 3));
    assert!(settle(&breaker, BAD, LIMITS, 4));
}

#[test]
fn what_is_due_but_held_in_stays_due() {
    let breaker = Breaker::default();
    for at in 0..10 {
        let settled = breaker.settle(Permit::Normal, BAD, &LIMITS, at);
        let expected = if at < 2 {
            BreakerOutcome::Unchanged
        } else {
            BreakerOutcome::Due(EjectionCause::Unreachable)
        };
        assert_eq!(settled, expected);
        assert_eq!(breaker.admit(at), Some(Permit::Normal));
    }
    assert!(breaker.open(EjectionCause::Unreachable, LIMITS, 10));
    assert!(!breaker.open(EjectionCause::Unreachable, LIMITS, 11), "it is open already");
}

#[test]
fn half_open_admits_one_request_at_a_time() {
    let breaker = opened(EjectionCause::BrokenAnswer);
    assert_eq!(breaker.admit(30_001), None);
    assert_eq!(breaker.admit(30_002), Some(Permit::Trial));
    assert_eq!(breaker.admit(30_003), None);
    assert_eq!(breaker.settle(Permit::Trial, good(ALICE), &LIMITS, 30_004), BreakerOutcome::IsBack);
    assert_eq!(breaker.admit(30_005), Some(Permit::Normal));
    assert_eq!(breaker.since_ms(), 30_004);
}

#[test]
fn a_failed_trial_keeps_it_out_for_another_term() {
    for cause in [EjectionCause::Unreachable, EjectionCause::BrokenAnswer] {
        let verdict = Verdict::Bad(cause, Some(caller(ALICE)));
        let breaker = opened(EjectionCause::Unreachable);
        assert_eq!(breaker.admit(40_000), Some(Permit::Trial));
        assert_eq!(
            breaker.settle(Permit::Trial, verdict, &LIMITS, 40_001),
            BreakerOutcome::StaysOut
        );
        assert_eq!(breaker.admit(70_000), None);
        assert_eq!(breaker.admit(70_001), Some(Permit::Trial));
        assert_eq!(breaker.since_ms(), 2, "it has been out all the time");
    }
}

#[test]
fn a_trial_without_a_verdict_makes_room_for_the_next() {
    let breaker = opened(EjectionCause::Unreachable);
    assert_eq!(breaker.admit(40_000), Some(Permit::Trial));
    breaker.settle(Permit::Trial, Verdict::Unknown, &LIMITS, 40_001);
    assert_eq!(breaker.admit(40_002), Some(Permit::Trial));
}

#[test]
fn a_good_probe_ends_unreachable_but_not_broken_answers() {
    let unreachable = opened(EjectionCause::Unreachable);
    assert!(unreachable.probed_well(4));
    assert_eq!(unreachable.admit(5), Some(Permit::Normal));
    let broken = opened(EjectionCause::BrokenAnswer);
    assert!(!broken.probed_well(4));
    assert_eq!(broken.admit(5), None);
    // Unless the probe before it failed: the instance was restarted, say.
    assert!(broken.probed_anew(6));
    assert_eq!(broken.admit(7), Some(Permit::Normal));
    assert!(!broken.probed_anew(8), "it is in");
}

#[test]
fn no_max_fails_means_never_out() {
    let breaker = Breaker::default();
    let off = Thresholds { max_fails: 0, ..LIMITS };
    for at in 0..100 {
        assert!(!settle(&breaker, BAD, off, at));
    }
    assert_eq!(breaker.admit(100), Some(Permit::Normal));
}

#[test]
fn a_full_counter_does_not_spill_into_the_window() {
    let breaker = Breaker::default();
    let high = Thresholds { max_fails: u32::MAX, fail_timeout_ms: 30_000 };
    for _ in 0..(1 << 20) + 10 {
        settle(&breaker, BAD, high, 7);
    }
    assert_eq!(breaker.state(8), BreakerState::Closed);
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(good(ALICE)),
        Just(good(CAROL)),
        Just(bad(ALICE)),
        Just(bad(CAROL)),
        Just(Verdict::Unknown),
        Just(BAD),
        Just(Verdict::Bad(EjectionCause::BrokenAnswer, None)),
    ]
}

proptest! {
    #[test]
    fn it_never_opens_before_max_fails_and_half_open_admits_one(
        steps in prop::collection::vec((verdict(), 0_u64..20_000), 0..80),
        max_fails in 1_u32..5,
    ) {
        let limits = Thresholds { max_fails, ..LIMITS };
        let breaker = Breaker::default();
        let (mut now_ms, mut failures) = (0, 0);
        for (verdict, later) in steps {
            now_ms += later;
            let Some(pass) = breaker.admit(now_ms) else {
                let open = matches!(breaker.state(now_ms), BreakerState::Open { .. });
                prop_assert!(open, "nobody was let through although the term was over");
                continue;
            };
            if pass == Permit::Trial {
                prop_assert!(breaker.admit(now_ms).is_none(), "two trials at once");
            }
            let failed = matches!(verdict, Verdict::Bad(..));
            failures += u32::from(failed);
            match breaker.settle(pass, verdict, &limits, now_ms) {
                BreakerOutcome::Due(cause) => {
                    prop_assert!(failures >= max_fails);
                    prop_assert!(breaker.open(cause, limits, now_ms));
                }
                BreakerOutcome::IsBack => failures = 0,
                BreakerOutcome::StaysOut => prop_assert!(failed),
                BreakerOutcome::Excused => prop_assert!(failures >= max_fails),
                BreakerOutcome::Unchanged => {}
            }
        }
    }
}

/// What the last of these verdicts comes to, one each second.
fn last(verdicts: &[Verdict]) -> BreakerOutcome {
    let breaker = Breaker::default();
    let settle = |(at, verdict): (u64, &Verdict)| {
        breaker.settle(Permit::Normal, *verdict, &LIMITS, at * 1000)
    };
    (0..).zip(verdicts).map(settle).last().unwrap()
}

#[test]
fn who_fails_alone_while_others_succeed_is_excused() {
    let due = BreakerOutcome::Due(EjectionCause::BrokenAnswer);
    let (alice, bob, carol) = (bad(ALICE), bad(BOB), bad(CAROL));
    assert_eq!(last(&[alice, alice, alice]), due, "nobody else was there");
    assert_eq!(last(&[good(ALICE), alice, alice, alice]), due);
    assert_eq!(last(&[good(BOB), alice, alice, alice]), BreakerOutcome::Excused);
    assert_eq!(last(&[good(CAROL), alice, alice, alice]), BreakerOutcome::Excused);
    assert_eq!(last(&[good(BOB), alice, alice, bob]), due, "two users of one app");
    assert_eq!(last(&[good(CAROL), alice, bob, bob]), BreakerOutcome::Excused, "one app of two");
    assert_eq!(last(&[good(CAROL), good(BOB), alice, bob, carol]), due);
    // There is no connection, whoever asks.
    assert_eq!(last(&[good(BOB), BAD, BAD, BAD]), BreakerOutcome::Due(EjectionCause::Unreachable));
    assert_eq!(last(&[good(BOB), alice, BAD, alice]), due);
}

#[test]
fn what_others_got_long_ago_excuses_nobody() {
    let breaker = Breaker::default();
    breaker.settle(Permit::Normal, good(BOB), &LIMITS, 0);
    for at in [40_000, 41_000] {
        assert!(!settle(&breaker, bad(ALICE), LIMITS, at));
    }
    assert!(settle(&breaker, bad(ALICE), LIMITS, 42_000));
}
