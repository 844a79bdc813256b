//! Whether a member may be asked, and if not, why: probes, breaker, slow start and `drain` together.

use crate::balance::{
    BreakerState, EjectionScope, HealthSnapshot, HealthState, Permit, Requester, StatusBreaker,
    is_ramped_in,
};
use crate::gateway::state::member::{Drain, Member};

/// Said of an instance where streamed flows do not start.
const NO_WORKER: &str = "no worker? streamed chatflows and workflows do not start there and go elsewhere; \
                         everything else is served";

/// What a request has to do with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// It names something that this member has.
    Owned,
    /// Any member would do.
    Free {
        /// The [fraction](crate::balance::fraction) of what it is keyed by, if it is.
        key_fraction: Option<u64>,
    },
}

/// Leave to send a request, of the instance's own judgement and of its app's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    /// Of the instance's.
    pub of_instance: Permit,
    /// Of the app's.
    pub of_app: Permit,
}

impl Permits {
    pub(crate) const NORMAL: Self = Self { of_instance: Permit::Normal, of_app: Permit::Normal };

    fn is_trial(self) -> bool {
        self != Self::NORMAL
    }
}

/// Why a member was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// Its probes fail.
    Down,
    /// Requests have failed there.
    Ejected,
    /// It has just come back, and it is not this user's turn yet.
    SlowStart,
    /// It takes nothing new.
    Draining,
    /// Streams that have ended hold all its slots.
    Held,
    /// Streamed flows do not start there.
    NoWorker,
    /// All its places for streamed flows are taken, and another one has some.
    NoPlace,
}

impl SkipReason {
    /// Whether it is asked if the others fail, and not only as a last resort.
    pub(crate) fn is_asked_later(self) -> bool {
        matches!(self, Self::SlowStart | Self::Held | Self::NoPlace)
    }

    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::SlowStart => "slow_start",
            Self::Draining => "draining",
            Self::Held => "held",
            Self::NoWorker => "no_worker",
            Self::NoPlace => "no_place",
        }
    }
}

/// How a member stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// In rotation.
    Up,
    /// In rotation, and no probe has been answered yet.
    Checking,
    /// Out: its probes fail.
    Down,
    /// Out: requests have failed there.
    Ejected,
    /// Out until a request finds that it answers again.
    HalfOpen,
    /// It keeps what it has and takes nothing new.
    Draining,
}

impl StateKind {
    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Checking => "checking",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::HalfOpen => "half_open",
            Self::Draining => "draining",
        }
    }

    /// `healthy`, `unhealthy` or `draining`.
    pub fn status(self) -> &'static str {
        match self {
            Self::Up | Self::Checking => "healthy",
            Self::Down | Self::Ejected | Self::HalfOpen => "unhealthy",
            Self::Draining => "draining",
        }
    }
}

/// How a member stands, for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// In one word.
    pub kind: StateKind,
    /// Why, unless there is nothing to say.
    pub reason: Option<String>,
    /// Since when, in ms on the gateway's clock; none where nobody knows.
    pub since_ms: Option<u64>,
}

impl Member {
    /// Leave to send a request, which may be the trial of a breaker that is half open, or why not.
    pub fn admit(
        &self,
        now_ms: u64,
        claim: Affinity,
        sender: Requester,
    ) -> Result<Permits, SkipReason> {
        let free = match claim {
            Affinity::Owned => None,
            Affinity::Free { key_fraction } => Some(key_fraction),
        };
        if self.is_down() {
            return Err(SkipReason::Down);
        }
        if free.is_some() && self.drain == Drain::Yes {
            return Err(SkipReason::Draining);
        }
        if let Some(fraction) = free.flatten()
            && !self.is_turn_of(fraction, now_ms)
        {
            return Err(SkipReason::SlowStart);
        }
        if free.is_some() && self.instance.is_all_held() {
            return Err(SkipReason::Held);
        }
        let statuses = self.statuses();
        let of_app = statuses.admit(now_ms, sender).ok_or(SkipReason::Ejected)?;
        match self.instance.breaker().admit(now_ms) {
            Some(of_instance) => Ok(Permits { of_instance, of_app }),
            None => {
                statuses.give_back(of_app);
                Err(SkipReason::Ejected)
            }
        }
    }

    /// The judgement by the statuses of its responses. What was judged before it was away does not count.
    pub(crate) fn statuses(&self) -> &StatusBreaker {
        let statuses = &self.stats.statuses;
        if let Some(until_ms) = statuses.until_ms() {
            let renewed_ms = self.instance.renewed_ms();
            if renewed_ms > until_ms.saturating_sub(self.thresholds.fail_timeout_ms) {
                statuses.begins_anew(renewed_ms);
            }
        }
        statuses
    }

    /// Whether failed requests keep it out for this app's users, or for one of them.
    pub(crate) fn is_ejected_for_somebody(&self) -> bool {
        self.instance.breaker().is_open() || self.statuses().until_ms().is_some()
    }

    /// Whether failed requests keep it out for this app.
    pub fn is_ejected(&self) -> bool {
        self.instance.breaker().is_open() || self.statuses().is_open()
    }

    /// As [`admit`](Self::admit), for a streamed flow, which needs a worker; `span_ms` is
    /// `timeouts.run_start`.
    pub fn admit_flow(
        &self,
        now_ms: u64,
        claim: Affinity,
        sender: Requester,
        span_ms: u64,
    ) -> Result<Permits, SkipReason> {
        let starts = &self.instance.runs().starts;
        // A breaker's trial is not to be used up in vain.
        if !starts.would_admit(now_ms) {
            return Err(SkipReason::NoWorker);
        }
        let passes = self.admit(now_ms, claim, sender)?;
        // The trial of a breaker is one for the worker, too.
        match starts.admit(now_ms, span_ms) || passes.is_trial() {
            true => Ok(passes),
            false => Err(SkipReason::NoWorker),
        }
    }

    /// Whether it serves whatever comes: up, not ejected and not draining.
    pub fn is_in(&self) -> bool {
        self.drain == Drain::No && !self.is_down() && !self.is_ejected()
    }

    /// Whether its probes fail.
    pub fn is_down(&self) -> bool {
        self.probed.as_ref().is_some_and(|probed| probed.health().is_down())
    }

    /// How it stands, for an operator.
    pub fn state(&self, now_ms: u64) -> MemberState {
        let probes = self.probed.as_ref().map(|probed| probed.health().standing());
        if let Some(HealthSnapshot { state: HealthState::Down, since_ms, .. }) = probes {
            let last = self.probed.as_ref().and_then(|probed| probed.last());
            let why = last.map_or_else(String::new, |last| format!(": {}", last.text));
            let reason = format!("its probe fails{why}");
            return MemberState {
                kind: StateKind::Down,
                reason: Some(reason),
                since_ms: Some(since_ms),
            };
        }
        self.ejection(now_ms).unwrap_or_else(|| self.in_rotation(probes, now_ms))
    }

    /// When it last came back from being out, in ms; 0 if it never was out.
    fn returned_ms(&self) -> u64 {
        let breaker = self.instance.breaker();
        let by_breaker = if breaker.is_open() { 0 } else { breaker.since_ms() };
        let statuses = self.statuses();
        let by_statuses = if statuses.is_open() { 0 } else { statuses.since_ms() };
        let by_probe = self.probed.as_ref().map_or(0, |probed| probed.health().returned_ms());
        by_breaker.max(by_statuses).max(by_probe)
    }

    /// Whether slow start lets a user in.
    fn is_turn_of(&self, key_fraction: u64, now_ms: u64) -> bool {
        if self.slow_start_ms == 0 {
            return true;
        }
        let returned_ms = self.returned_ms();
        let elapsed_ms = now_ms.saturating_sub(returned_ms);
        returned_ms == 0 || is_ramped_in(key_fraction, elapsed_ms, self.slow_start_ms)
    }

    fn ejection(&self, now_ms: u64) -> Option<MemberState> {
        let breaker = self.instance.breaker();
        if let Some((kind, until)) = term(breaker.state(now_ms), now_ms) {
            let reason = Some(format!("{}; {until}", self.last_failure()));
            return Some(MemberState { kind, reason, since_ms: Some(breaker.since_ms()) });
        }
        let statuses = self.statuses();
        let (state, EjectionScope::All) = statuses.state(now_ms) else { return None };
        let (kind, until) = term(state, now_ms)?;
        let reason = Some(format!("for this app alone: {}; {until}", self.stats.last_bad()));
        Some(MemberState { kind, reason, since_ms: Some(statuses.since_ms()) })
    }

    fn in_rotation(&self, probes: Option<HealthSnapshot>, now_ms: u64) -> MemberState {
        let (returned_ms, held_until_ms) = (self.returned_ms(), self.stats.held_until_ms());
        let slow_ms = now_ms.saturating_sub(returned_ms);
        let checking = probes.is_some_and(|probes| probes.state == HealthState::Checking);
        let judged = probes.filter(|_| !checking).map_or(0, |probes| probes.since_ms);
        let since_ms = Some(judged.max(returned_ms)).filter(|since_ms| *since_ms > 0);
        let (kind, reason) = match (self.drain, checking) {
            (Drain::Yes, _) => {
                let reason = "`drain: true`: it keeps what it has and takes nothing new";
                return MemberState {
                    kind: StateKind::Draining,
                    reason: Some(reason.to_owned()),
                    since_ms: None,
                };
            }
            (Drain::No, true) => (StateKind::Checking, None),
            (Drain::No, false) => (StateKind::Up, None),
        };
        let reason = reason.or_else(|| {
            if self.instance.runs().starts.is_out() {
                Some(NO_WORKER.to_owned())
            } else if now_ms < held_until_ms {
                let last = self.stats.last_bad();
                Some(format!("would be out, but `max_ejected_share` holds it in: {last}"))
            } else if let (BreakerState::Open { .. }, EjectionScope::Caller) =
                self.statuses().state(now_ms)
            {
                let last = self.stats.last_bad();
                Some(format!("one user's requests fail there and go elsewhere: {last}"))
            } else if returned_ms > 0 && slow_ms < self.slow_start_ms {
                let percent = slow_ms * 100 / self.slow_start_ms;
                Some(format!("slow start: {percent} % of its users are back"))
            } else {
                None
            }
        });
        MemberState { kind, reason, since_ms }
    }

    pub(crate) fn last_failure(&self) -> String {
        self.instance.last_failure().map_or_else(|| "failed".to_owned(), |text| text.to_string())
    }
}

/// Why a breaker keeps an instance out, and for how long; none if it does not.
fn term(state: BreakerState, now_ms: u64) -> Option<(StateKind, String)> {
    match state {
        BreakerState::Closed => None,
        BreakerState::Open { until_ms } => {
            let seconds = until_ms.saturating_sub(now_ms).div_ceil(1000);
            Some((StateKind::Ejected, format!("out for {seconds} s more")))
        }
        BreakerState::HalfOpen => {
            Some((StateKind::HalfOpen, "the next request tries it".to_owned()))
        }
    }
}
