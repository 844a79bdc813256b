//! The judgement by statuses, with the clock passed in.

use super::{
    BreakerState, CallerId, EjectionScope, Permit, Requester, StatusBreaker, StatusOutcome,
    Thresholds, WorkKind,
};

const LIMITS: Thresholds = Thresholds { max_fails: 3, fail_timeout_ms: 30_000 };

fn by(user: &str, work: WorkKind) -> Requester {
    Requester { caller: CallerId::new("shop", user.as_bytes()), work }
}

fn run(user: &str) -> Requester {
    by(user, WorkKind::Run)
}

/// A bad answer, and what follows as in the gateway: for whom the instance is taken out.
fn bad(breaker: &StatusBreaker, sender: Requester, now_ms: u64) -> Option<EjectionScope> {
    match breaker.bad(Permit::Normal, sender, &LIMITS, now_ms) {
        StatusOutcome::Due(whom) => breaker.open(whom, sender, &LIMITS, now_ms).then_some(whom),
        _ => None,
    }
}

fn good(breaker: &StatusBreaker, sender: Requester, now_ms: u64) -> StatusOutcome {
    breaker.good(Permit::Normal, sender, now_ms)
}

fn admits(breaker: &StatusBreaker, user: &str, now_ms: u64) -> bool {
    breaker.admit(now_ms, run(user)).is_some()
}

#[test]
fn bad_statuses_of_several_in_a_row_take_it_out_for_all() {
    let breaker = StatusBreaker::default();
    for at in 0..20 {
        assert_eq!(bad(&breaker, run("alice"), at), None);
        assert_eq!(bad(&breaker, run("bob"), at), None);
        assert_eq!(good(&breaker, run("carol"), at), StatusOutcome::Unchanged);
    }
    // However far apart.
    assert_eq!(bad(&breaker, run("alice"), 100), None);
    assert_eq!(bad(&breaker, run("bob"), 200_000), None);
    assert_eq!(bad(&breaker, run("alice"), 400_000), Some(EjectionScope::All));
    assert!(!admits(&breaker, "carol", 400_001) && breaker.is_open());
    assert_eq!(breaker.since_ms(), 400_000);
    let state = BreakerState::Open { until_ms: 430_000 };
    assert_eq!(breaker.state(400_001), (state, EjectionScope::All));
}

#[test]
fn one_alone_is_out_alone_until_another_succeeds() {
    let breaker = StatusBreaker::default();
    assert_eq!(good(&breaker, run("alice"), 0), StatusOutcome::Unchanged);
    assert_eq!(bad(&breaker, run("alice"), 1), None);
    assert_eq!(bad(&breaker, run("alice"), 2), None);
    assert_eq!(bad(&breaker, run("alice"), 3), Some(EjectionScope::Caller));
    assert!(!admits(&breaker, "alice", 4) && admits(&breaker, "bob", 4));
    assert!(!breaker.is_open());
    assert_eq!(breaker.since_ms(), 0, "nobody else has to come back");
    assert_eq!(breaker.until_ms(), Some(30_003));
    // What works for bob is other work.
    assert_eq!(good(&breaker, by("bob", WorkKind::Other), 5), StatusOutcome::Unchanged);
    assert!(!admits(&breaker, "alice", 6));
    assert_eq!(good(&breaker, run("bob"), 7), StatusOutcome::IsBack);
    assert!(admits(&breaker, "alice", 8));
    // And since he has succeeded, she is not out again.
    for at in 9..30 {
        assert_eq!(bad(&breaker, run("alice"), at), None);
    }
    assert_eq!(
        bad(&breaker, run("alice"), 40_000),
        Some(EjectionScope::Caller),
        "that was long ago"
    );
}

#[test]
fn nobody_makes_the_good_answers_of_others_forgotten() {
    let breaker = StatusBreaker::default();
    // All within a second, and seconds later.
    for (user, at) in [("bob", 0), ("alice", 10), ("alice", 900), ("alice", 5000), ("alice", 9000)]
    {
        assert_eq!(good(&breaker, run(user), at), StatusOutcome::Unchanged);
    }
    for at in 9001..9020 {
        assert_eq!(bad(&breaker, run("alice"), at), None);
    }
    assert_eq!(good(&breaker, run("alice"), 20_000), StatusOutcome::Unchanged);
    for at in 20_001..20_020 {
        assert_eq!(bad(&breaker, run("alice"), at), None);
    }
    assert_eq!(
        bad(&breaker, run("alice"), 32_000),
        Some(EjectionScope::Caller),
        "now it is too long ago"
    );
}

#[test]
fn it_is_out_for_all_as_soon_as_another_fails_too() {
    let breaker = StatusBreaker::default();
    let taken: Vec<_> = (0..3).map(|at| bad(&breaker, run("alice"), at)).collect();
    assert_eq!(taken, [None, None, Some(EjectionScope::Caller)]);
    assert_eq!(bad(&breaker, run("bob"), 4), Some(EjectionScope::All));
    assert!(!admits(&breaker, "carol", 5) && breaker.is_open());
    assert_eq!(bad(&breaker, run("carol"), 6), None, "it is out already");
}

#[test]
fn a_trial_decides_for_all() {
    let breaker = StatusBreaker::default();
    assert!(breaker.open(EjectionScope::All, run("alice"), &LIMITS, 0));
    assert_eq!(breaker.admit(29_999, run("bob")), None);
    // Only a run can show that runs work again.
    assert_eq!(breaker.admit(30_000, by("bob", WorkKind::Other)), None);
    assert_eq!(breaker.admit(30_000, run("bob")), Some(Permit::Trial));
    assert_eq!(breaker.admit(30_001, run("carol")), None, "one at a time");
    breaker.give_back(Permit::Trial);
    assert_eq!(breaker.admit(30_002, run("carol")), Some(Permit::Trial));
    let stays = breaker.bad(Permit::Trial, run("carol"), &LIMITS, 30_003);
    assert_eq!(stays, StatusOutcome::StaysOut);
    assert_eq!(breaker.admit(60_002, run("carol")), None);
    assert_eq!(breaker.admit(60_003, run("carol")), Some(Permit::Trial));
    // An answer that was under way all the time says nothing of now.
    assert_eq!(good(&breaker, run("dave"), 60_004), StatusOutcome::Unchanged);
    assert_eq!(breaker.good(Permit::Trial, run("carol"), 60_005), StatusOutcome::IsBack);
    assert!(admits(&breaker, "bob", 60_006) && !breaker.is_open());
    assert_eq!(breaker.since_ms(), 60_005);
}

#[test]
fn the_trial_of_one_alone_is_its_own() {
    let breaker = StatusBreaker::default();
    assert!(breaker.open(EjectionScope::Caller, run("alice"), &LIMITS, 0));
    assert_eq!(breaker.admit(30_000, run("bob")), Some(Permit::Normal));
    assert_eq!(breaker.admit(30_000, run("alice")), Some(Permit::Trial));
    breaker.bad(Permit::Trial, run("alice"), &LIMITS, 30_001);
    assert!(!admits(&breaker, "alice", 30_002) && admits(&breaker, "bob", 30_002));
}

#[test]
fn what_begins_anew_is_in() {
    for whom in [EjectionScope::All, EjectionScope::Caller] {
        let breaker = StatusBreaker::default();
        assert!(breaker.open(whom, run("alice"), &LIMITS, 5));
        breaker.begins_anew(6);
        assert!(admits(&breaker, "alice", 7) && breaker.until_ms().is_none());
    }
}

#[test]
fn no_max_fails_means_never_out() {
    let breaker = StatusBreaker::default();
    let off = Thresholds { max_fails: 0, ..LIMITS };
    for at in 0..100_000 {
        let user = if at % 2 == 0 { "alice" } else { "bob" };
        let settled = breaker.bad(Permit::Normal, run(user), &off, at);
        assert_eq!(settled, StatusOutcome::Unchanged);
    }
}
