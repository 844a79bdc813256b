//! How many instances of an app may be ejected at a time (`max_ejected_share`).

use std::sync::Arc;

use crate::balance::EjectionScope;
use crate::gateway::state::instance::Instance;
use crate::gateway::state::member_stats::MemberStats;
use crate::model::AppName;

/// The instances of an app, as far as it matters how many of them are out.
#[derive(Debug)]
pub struct EjectionGuard {
    pub(crate) app: AppName,
    mates: Vec<(Arc<Instance>, Arc<MemberStats>)>,
    most_out: usize,
}

impl EjectionGuard {
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
    pub(crate) fn may_lose(&self, instance: &Arc<Instance>, whom: EjectionScope) -> bool {
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

    use super::EjectionGuard;
    use crate::balance::{CallerId, EjectionCause, EjectionScope, Requester, Thresholds, WorkKind};
    use crate::gateway::state::instance::Instance;
    use crate::gateway::state::member_stats::MemberStats;
    use crate::model::{Address, Scheme};

    #[test]
    fn no_more_than_the_share_are_out_and_one_always_may_be() {
        for (count, percent, most) in
            [(4, 50, 2), (3, 50, 1), (3, 10, 1), (1, 1, 1), (4, 100, 4), (5, 60, 3)]
        {
            let at = |port| Address {
                host: "127.0.0.1".into(),
                port,
                scheme: Scheme::Http,
                base_path: String::new(),
            };
            let instance = |port| Arc::new(Instance::new(at(port), 10));
            let instances: Vec<_> = (1..=count).map(instance).collect();
            let with_stats = |instance: &Arc<Instance>| (Arc::clone(instance), Arc::default());
            let pairs: Vec<(_, Arc<MemberStats>)> = instances.iter().map(with_stats).collect();
            let mates = EjectionGuard::new("shop".into(), pairs.clone(), percent);
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
