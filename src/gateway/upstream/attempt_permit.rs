//! The right to send one request to an instance, and the duty to say how it went. This is the one place
//! where what becomes of an attempt is said to the breaker and to the member's counters.

use std::sync::Arc;

use crate::balance::{
    BreakerOutcome, EjectionCause, EjectionScope, Requester, StatusOutcome, Verdict,
};
use crate::gateway::state::admission::Permits;
use crate::gateway::state::instance::Headroom;
use crate::gateway::state::member::Member;
use crate::gateway::state::shared::Shared;
use crate::gateway::upstream::attempt::AttemptResponse;
use crate::gateway::upstream::attempt_error::AttemptError;
use crate::model::Reason;

/// The right to send one request to an instance, and the duty to say how it went. Dropped without
/// a word, it says nothing about the instance.
#[derive(Debug)]
pub(crate) struct AttemptPermit {
    member: Arc<Member>,
    passes: Permits,
    sender: Requester,
    /// What room the instance had when the request was about to be sent.
    room: Headroom,
    settled: bool,
}

impl AttemptPermit {
    /// Takes over the passes that [`Member::admit`] gave.
    pub(crate) fn new(member: Arc<Member>, passes: Permits, sender: Requester) -> Self {
        let room = member.instance.room();
        Self { member, passes, sender, room, settled: false }
    }

    /// What room the instance had when the request was about to be sent.
    pub(crate) fn room(&self) -> Headroom {
        self.room
    }

    /// The attempt was answered, at `now_ms`. A status that counts says something of the instance for this app
    /// alone.
    pub(crate) fn answered(mut self, response: &AttemptResponse, now_ms: u64) {
        self.settled = true;
        let Member { instance, stats, thresholds, fail_statuses, .. } = &*self.member;
        stats.first_byte.observe(response.first_byte);
        let good = Verdict::Good(self.sender.caller);
        let settled = instance.breaker().settle(self.passes.of_instance, good, thresholds, now_ms);
        self.follow(settled, "", now_ms);
        let status = response.head.status.as_u16();
        self.told_of_key(status, now_ms);
        if fail_statuses.contains(status) {
            self.failed_for_app(&format!("it answered {status}"), now_ms);
            return;
        }
        let settled = stats.statuses.good(self.passes.of_app, self.sender, now_ms);
        if settled == StatusOutcome::IsBack {
            let (address, app) = (instance.address(), &self.member.pool_mates.app);
            tracing::info!(
                "instance {address} is back in rotation for app {app}: its responses are good again"
            );
        }
    }

    /// What a status says of the app's key; each change is logged once.
    fn told_of_key(&self, status: u16, now_ms: u64) {
        let Member { instance, stats, authorization, pool_mates, .. } = &*self.member;
        let Some(key) = authorization else { return };
        let (address, app) = (instance.address(), &pool_mates.app);
        if status == 401 && stats.refused_key(key.expose(), now_ms) {
            tracing::warn!(
                "instance {address} refuses the key of app {app} (401): mistyped, deleted, or of another Dify? \
                 `difygate check --ask` asks all of them"
            );
        }
        if (200..300).contains(&status) && stats.accepted_key() {
            tracing::info!("instance {address} accepts the key of app {app}");
        }
    }

    /// The attempt failed. What that says of the instance is counted; what was not its fault is not.
    pub(crate) fn failed(mut self, failure: &AttemptError, shared: &Shared) {
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

    /// A response that was passed on broke off.
    pub(crate) fn cut(
        member: &Arc<Member>,
        sender: Requester,
        failure: &AttemptError,
        shared: &Shared,
    ) {
        Self::new(Arc::clone(member), Permits::NORMAL, sender).failed(failure, shared);
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

impl Drop for AttemptPermit {
    fn drop(&mut self) {
        if !self.settled {
            let Member { instance, stats, thresholds, .. } = &*self.member;
            let unknown = Verdict::Unknown;
            instance.breaker().settle(self.passes.of_instance, unknown, thresholds, 0);
            stats.statuses.give_back(self.passes.of_app);
        }
    }
}
