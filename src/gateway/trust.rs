//! The right to send one request to an instance, and the duty to say how it went. This is the one place
//! where what becomes of an attempt is said to the breaker and to the member's counters.

use std::sync::Arc;

use crate::balance::{Cause, Pass, Settled, Verdict, Work};
use crate::gateway::attempt::Answer;
use crate::gateway::attempt_error::AttemptError;
use crate::gateway::instance::{Instance, Room};
use crate::gateway::member::Member;
use crate::gateway::shared::Shared;

/// The right to send one request to an instance, and the duty to say how it went. Dropped without
/// a word, it says nothing about the instance.
#[derive(Debug)]
pub(super) struct Trust {
    member: Arc<Member>,
    pass: Pass,
    /// What room the instance had when the request was about to be sent.
    room: Room,
    settled: bool,
}

impl Trust {
    /// Takes over a pass that [`Member::admit`] gave.
    pub(super) fn new(member: Arc<Member>, pass: Pass) -> Self {
        let room = member.instance.room();
        Self { member, pass, room, settled: false }
    }

    /// The attempt for this work was answered.
    pub(super) fn answered(mut self, answer: &Answer, work: Work, shared: &Shared) {
        self.member.stats.first_byte.observe(answer.first_byte);
        let now_ms = shared.ms_at(answer.arrived.into_std());
        let status = answer.head.status.as_u16();
        if self.member.fail_statuses.contains(status) {
            let fails = self.member.thresholds.max_fails;
            let what = match self.pass {
                Pass::Normal => format!("it answered {status}, {fails} such answers in a row"),
                Pass::Trial => format!("it answered {status}"),
            };
            self.settle(Verdict::BadStatus(work), &what, now_ms);
        } else {
            self.settle(Verdict::Good(work), "", now_ms);
        }
    }

    /// The attempt failed. What that says of the instance is counted; what was not its fault is not.
    pub(super) fn failed(mut self, failure: &AttemptError, shared: &Shared) {
        let Some(cause) = failure.cause(self.room) else { return };
        let what = &failure.text;
        tracing::debug!("instance {}: {what}", self.member.instance.address());
        self.member.stats.failures.add_one();
        self.settle(Verdict::Bad(cause), what, shared.now_ms());
    }

    /// An answer that was passed on broke off.
    pub(super) fn cut(member: &Arc<Member>, failure: &AttemptError, shared: &Shared) {
        Self::new(Arc::clone(member), Pass::Normal).failed(failure, shared);
    }

    fn settle(&mut self, verdict: Verdict, what: &str, now_ms: u64) {
        self.settled = true;
        let instance = &self.member.instance;
        let address = instance.address();
        match instance.breaker().settle(self.pass, verdict, &self.member.thresholds, now_ms) {
            Settled::Unchanged => {}
            Settled::Due(cause) => self.eject(cause, what, now_ms),
            Settled::StaysOut => {
                instance.ejected(what);
                tracing::warn!("instance {address} stays out of rotation: {what}");
            }
            Settled::IsBack => {
                tracing::info!("instance {address} is back in rotation: a request was answered");
            }
        }
    }

    fn eject(&self, cause: Cause, what: &str, now_ms: u64) {
        let Member { instance, thresholds, .. } = &*self.member;
        let address = instance.address();
        if !self.member.pool_mates.may_lose(instance) {
            instance.failed(what);
            let until_ms = now_ms.saturating_add(thresholds.fail_timeout_ms);
            if self.member.stats.hold_in(until_ms, now_ms) {
                tracing::warn!(
                    "instance {address} would be out of rotation, but `max_ejected_share` holds it \
                     in: {what}"
                );
            }
        } else if instance.breaker().open(cause, *thresholds, now_ms) {
            instance.ejected(what);
            let seconds = thresholds.fail_timeout_ms as f64 / 1000.0;
            tracing::warn!("instance {address} is out of rotation for {seconds} s: {what}");
        }
    }
}

impl Drop for Trust {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(Verdict::Unknown, "", 0);
        }
    }
}

/// The instances of a pool, as far as it matters how many of them are out.
#[derive(Debug)]
pub struct PoolMates {
    instances: Vec<Arc<Instance>>,
    most_out: usize,
}

impl PoolMates {
    /// Instances of which `max_ejected_percent` may be out at a time through passive judgement, and
    /// at least one.
    pub fn new(instances: Vec<Arc<Instance>>, max_ejected_percent: u32) -> Self {
        let share = instances.len() * max_ejected_percent.min(100) as usize / 100;
        Self { instances, most_out: share.max(1) }
    }

    /// Whether `instance` may be taken out too. Two workers that ask in the same instant may both be
    /// told that it may.
    fn may_lose(&self, instance: &Arc<Instance>) -> bool {
        let is_out =
            |other: &&Arc<Instance>| !Arc::ptr_eq(other, instance) && other.breaker().is_open();
        self.instances.iter().filter(is_out).count() < self.most_out
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::PoolMates;
    use crate::balance::{Cause, Thresholds};
    use crate::gateway::instance::Instance;
    use crate::model::{Address, Scheme};

    #[test]
    fn no_more_than_the_share_are_out_and_one_always_may_be() {
        for (count, percent, most) in
            [(4, 50, 2), (3, 50, 1), (3, 10, 1), (1, 1, 1), (4, 100, 4), (5, 60, 3)]
        {
            let at = |port| Address { host: "127.0.0.1".into(), port, scheme: Scheme::Http };
            let instance = |port| Arc::new(Instance::new(at(port), 10));
            let instances: Vec<_> = (1..=count).map(instance).collect();
            let mates = PoolMates::new(instances.clone(), percent);
            let limits = Thresholds { max_fails: 1, fail_timeout_ms: 1000 };
            let out = instances.iter().filter(|instance| {
                mates.may_lose(instance) && instance.breaker().open(Cause::Unreachable, limits, 1)
            });
            assert_eq!(out.count(), most, "{percent} % of {count}");
        }
    }
}
