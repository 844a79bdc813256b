//! The right to send one request to an instance, and the duty to say how it went. This is the one place
//! where what becomes of an attempt is said to the breaker and to the member's counters.

use std::sync::Arc;

use crate::balance::{
    BreakerOutcome, EjectionCause, EjectionScope, Requester, StatusOutcome, Verdict,
};
use crate::gateway::attempt::Answer;
use crate::gateway::attempt_error::AttemptError;
use crate::gateway::instance::{Instance, Room};
use crate::gateway::member::{Member, MemberStats};
use crate::gateway::shared::Shared;
use crate::gateway::standing::Passes;
use crate::model::{AppName, Reason};

/// The right to send one request to an instance, and the duty to say how it went. Dropped without
/// a word, it says nothing about the instance.
#[derive(Debug)]
pub(super) struct Trust {
    member: Arc<Member>,
    passes: Passes,
    sender: Requester,
    /// What room the instance had when the request was about to be sent.
    room: Room,
    settled: bool,
}

impl Trust {
    /// Takes over the passes that [`Member::admit`] gave.
    pub(super) fn new(member: Arc<Member>, passes: Passes, sender: Requester) -> Self {
        let room = member.instance.room();
        Self { member, passes, sender, room, settled: false }
    }

    /// What room the instance had when the request was about to be sent.
    pub(super) fn room(&self) -> Room {
        self.room
    }

    /// The attempt was answered, at `now_ms`. A status that counts says something of the instance for this app
    /// alone.
    pub(super) fn answered(mut self, answer: &Answer, now_ms: u64) {
        self.settled = true;
        let Member { instance, stats, thresholds, fail_statuses, .. } = &*self.member;
        stats.first_byte.observe(answer.first_byte);
        let good = Verdict::Good(self.sender.caller);
        let settled = instance.breaker().settle(self.passes.of_instance, good, thresholds, now_ms);
        self.follow(settled, "", now_ms);
        let status = answer.head.status.as_u16();
        if fail_statuses.contains(status) {
            self.failed_for_app(&format!("it answered {status}"), now_ms);
            return;
        }
        let settled = stats.statuses.good(self.passes.of_app, self.sender, now_ms);
        if settled == StatusOutcome::IsBack {
            let (address, app) = (instance.address(), &self.member.pool_mates.app);
            tracing::info!("instance {address} is back in rotation for app {app}: it answers well");
        }
    }

    /// The attempt failed. What that says of the instance is counted; what was not its fault is not.
    pub(super) fn failed(mut self, failure: &AttemptError, shared: &Shared) {
        let Some(cause) = failure.cause(self.room) else { return };
        self.settled = true;
        let (what, now_ms) = (&failure.text, shared.now_ms());
        let Member { instance, stats, thresholds, .. } = &*self.member;
        tracing::debug!("instance {}: {what}", instance.address());
        stats.failures.add_one();
        // Whether there is a connection does not depend on who asks.
        let caller = (failure.reason != Reason::ConnectFailed).then_some(self.sender.caller);
        let bad = Verdict::Bad(cause, caller);
        let settled = instance.breaker().settle(self.passes.of_instance, bad, thresholds, now_ms);
        if settled == BreakerOutcome::Excused {
            self.failed_for_app(what, now_ms);
        } else {
            stats.statuses.give_back(self.passes.of_app);
            self.follow(settled, what, now_ms);
        }
    }

    /// An answer that was passed on broke off.
    pub(super) fn cut(
        member: &Arc<Member>,
        sender: Requester,
        failure: &AttemptError,
        shared: &Shared,
    ) {
        Self::new(Arc::clone(member), Passes::NORMAL, sender).failed(failure, shared);
    }

    /// What follows from the judgement of the instance itself.
    fn follow(&self, settled: BreakerOutcome, what: &str, now_ms: u64) {
        let instance = &self.member.instance;
        let address = instance.address();
        match settled {
            BreakerOutcome::Unchanged | BreakerOutcome::Excused => {}
            BreakerOutcome::Due(cause) => self.eject(cause, what, now_ms),
            BreakerOutcome::StaysOut => {
                instance.ejected(what);
                tracing::warn!("instance {address} stays out of rotation: {what}");
            }
            BreakerOutcome::IsBack => {
                tracing::info!("instance {address} is back in rotation: a request was answered");
            }
        }
    }

    fn eject(&self, cause: EjectionCause, what: &str, now_ms: u64) {
        let Member { instance, thresholds, .. } = &*self.member;
        let address = instance.address();
        if !self.may_be_lost(what, now_ms) {
            instance.failed(what);
        } else if instance.breaker().open(cause, *thresholds, now_ms) {
            instance.ejected(what);
            let seconds = thresholds.fail_timeout_ms as f64 / 1000.0;
            tracing::warn!("instance {address} is out of rotation for {seconds} s: {what}");
        }
    }

    /// It has failed, and that says something of the instance for this app alone.
    fn failed_for_app(&self, what: &str, now_ms: u64) {
        let Member { instance, stats, thresholds, pool_mates, .. } = &*self.member;
        let (address, app) = (instance.address(), &pool_mates.app);
        let seconds = thresholds.fail_timeout_ms as f64 / 1000.0;
        let settled = stats.statuses.bad(self.passes.of_app, self.sender, thresholds, now_ms);
        let open = |whom| stats.statuses.open(whom, self.sender, thresholds, now_ms);
        let what_in_a_row = || format!("{what}, {} such answers in a row", thresholds.max_fails);
        match settled {
            StatusOutcome::Unchanged | StatusOutcome::IsBack => {}
            StatusOutcome::Due(EjectionScope::All) => {
                let what = what_in_a_row();
                if self.may_be_lost(&what, now_ms) && open(EjectionScope::All) {
                    stats.ejected(&what);
                    tracing::warn!(
                        "instance {address} is out of rotation for app {app} for {seconds} s: {what}"
                    );
                }
            }
            StatusOutcome::Due(EjectionScope::Caller) => {
                if pool_mates.may_lose(instance, EjectionScope::Caller)
                    && open(EjectionScope::Caller)
                {
                    let what = what_in_a_row();
                    stats.noted(&what);
                    tracing::warn!(
                        "instance {address}: one user of app {app} goes elsewhere for {seconds} s, \
                         nobody else's requests have failed: {what}"
                    );
                }
            }
            StatusOutcome::StaysOut => {
                stats.ejected(what);
                tracing::warn!("instance {address} stays out of rotation for app {app}: {what}");
            }
        }
    }

    /// Whether the app can do without it; else it is held in, which is said once.
    fn may_be_lost(&self, what: &str, now_ms: u64) -> bool {
        let Member { instance, stats, thresholds, pool_mates, .. } = &*self.member;
        if pool_mates.may_lose(instance, EjectionScope::All) {
            return true;
        }
        stats.noted(what);
        if stats.hold_in(now_ms.saturating_add(thresholds.fail_timeout_ms), now_ms) {
            let address = instance.address();
            tracing::warn!(
                "instance {address} would be out of rotation, but `max_ejected_share` holds it in: \
                 {what}"
            );
        }
        false
    }
}

impl Drop for Trust {
    fn drop(&mut self) {
        if !self.settled {
            let Member { instance, stats, thresholds, .. } = &*self.member;
            let unknown = Verdict::Unknown;
            instance.breaker().settle(self.passes.of_instance, unknown, thresholds, 0);
            stats.statuses.give_back(self.passes.of_app);
        }
    }
}

/// The instances of an app, as far as it matters how many of them are out.
#[derive(Debug)]
pub struct PoolMates {
    app: AppName,
    mates: Vec<(Arc<Instance>, Arc<MemberStats>)>,
    most_out: usize,
}

impl PoolMates {
    /// Instances of which `max_ejected_percent` may be out at a time through passive judgement, and
    /// at least one.
    pub fn new(
        app: AppName,
        mates: Vec<(Arc<Instance>, Arc<MemberStats>)>,
        max_ejected_percent: u32,
    ) -> Self {
        let share = mates.len() * max_ejected_percent.min(100) as usize / 100;
        Self { app, mates, most_out: share.max(1) }
    }

    /// Whether `instance` may be taken out too, for all or for one caller. Two workers that ask in the same instant may both be
    /// told that it may.
    fn may_lose(&self, instance: &Arc<Instance>, whom: EjectionScope) -> bool {
        let is_out = |(other, stats): &&(Arc<Instance>, Arc<MemberStats>)| {
            let is_out_for_app = match whom {
                EjectionScope::All => stats.statuses.is_open(),
                EjectionScope::Caller => stats.statuses.until_ms().is_some(),
            };
            !Arc::ptr_eq(other, instance) && (other.breaker().is_open() || is_out_for_app)
        };
        self.mates.iter().filter(is_out).count() < self.most_out
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::PoolMates;
    use crate::balance::{CallerId, EjectionCause, EjectionScope, Requester, Thresholds, WorkKind};
    use crate::gateway::instance::Instance;
    use crate::gateway::member::MemberStats;
    use crate::model::{Address, Scheme};

    #[test]
    fn no_more_than_the_share_are_out_and_one_always_may_be() {
        for (count, percent, most) in
            [(4, 50, 2), (3, 50, 1), (3, 10, 1), (1, 1, 1), (4, 100, 4), (5, 60, 3)]
        {
            let at = |port| Address { host: "127.0.0.1".into(), port, scheme: Scheme::Http };
            let instance = |port| Arc::new(Instance::new(at(port), 10));
            let instances: Vec<_> = (1..=count).map(instance).collect();
            let with_stats = |instance: &Arc<Instance>| (Arc::clone(instance), Arc::default());
            let pairs: Vec<(_, Arc<MemberStats>)> = instances.iter().map(with_stats).collect();
            let mates = PoolMates::new("shop".into(), pairs.clone(), percent);
            let limits = Thresholds { max_fails: 1, fail_timeout_ms: 1000 };
            let sender = Requester { caller: CallerId::new("shop", b"alice"), work: WorkKind::Run };
            // Whatever takes them out.
            let out = pairs.iter().enumerate().filter(|(place, (instance, stats))| {
                mates.may_lose(instance, EjectionScope::All)
                    && match place % 2 {
                        0 => instance.breaker().open(EjectionCause::Unreachable, limits, 1),
                        _ => stats.statuses.open(EjectionScope::All, sender, &limits, 1),
                    }
            });
            assert_eq!(out.count(), most, "{percent} % of {count}");
        }
    }
}
