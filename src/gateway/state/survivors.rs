//! What survives a reload, found by what it belongs to and never by position.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::gateway::state::app::App;
use crate::gateway::state::instance::Instance;
use crate::gateway::state::member::Member;
use crate::gateway::state::member_stats::MemberStats;
use crate::gateway::state::probe_target::{Probe, ProbeTarget};
use crate::gateway::state::removed_instance::RemovedInstance;
use crate::gateway::state::services::Service;
use crate::gateway::state::snapshot::Snapshot;
use crate::model::{Address, AppName, InstanceName};

/// What an earlier snapshot leaves to the next, by what it belongs to.
#[derive(Debug, Default)]
pub struct Survivors<'a> {
    /// By name.
    pub apps: HashMap<&'a AppName, &'a Arc<App>>,
    /// By name.
    pub services: HashMap<&'a AppName, &'a Arc<Service>>,
    /// By address.
    pub instances: HashMap<Address, Arc<Instance>>,
    /// By address and probe.
    pub probed: HashMap<(Address, Probe), Arc<ProbeTarget>>,
    removed: HashMap<&'a AppName, Vec<RemovedMember<'a>>>,
}

pub(crate) type RemovedMember<'a> = (&'a InstanceName, Arc<Instance>, Arc<MemberStats>);

/// What is counted for the members of an app, by their name and address.
pub type Counted<'a> = HashMap<(&'a InstanceName, &'a Address), Arc<MemberStats>>;

impl<'a> Survivors<'a> {
    /// What `old` leaves to the next snapshot.
    pub fn of(old: &'a Snapshot) -> Self {
        let mut survivors = Self::default();
        for removed in &old.removed {
            let Some(instance) = removed.instance() else { continue };
            if let Some(stats) = removed.stats() {
                let of_app = survivors.removed.entry(&removed.app).or_default();
                of_app.push((&removed.name, Arc::clone(&instance), stats));
            }
            survivors.instances.insert(instance.address().clone(), instance);
        }
        let services = || old.services.iter().flat_map(|services| &services.all);
        survivors.services = services().map(|service| (&service.name, service)).collect();
        for member in services().flat_map(|service| &service.pool.members) {
            let address = member.instance.address().clone();
            survivors.instances.insert(address, Arc::clone(&member.instance));
        }
        for instance in old.instances() {
            survivors.instances.insert(instance.address().clone(), Arc::clone(instance));
        }
        survivors.apps = old.apps.iter().map(|app| (&app.name, app)).collect();
        for probed in &old.probed {
            let key = (probed.instance().address().clone(), probed.probe().clone());
            survivors.probed.insert(key, Arc::clone(probed));
        }
        survivors
    }

    /// What is counted for the members that an app had, removed ones included.
    pub fn counted(&self, app: &AppName) -> Counted<'_> {
        let removed = self.removed.get(app).into_iter().flatten();
        let removed =
            removed.map(|(name, instance, stats)| ((*name, instance.address()), Arc::clone(stats)));
        let members = self.apps.get(app).into_iter().flat_map(|app| &app.pool.members);
        let members = members
            .map(|member| ((member.name(), member.instance.address()), Arc::clone(&member.stats)));
        removed.chain(members).collect()
    }
}

/// Those that `old` had or was still waiting for, and that are not among `apps`.
pub fn removed_instances(old: &Snapshot, apps: &[Arc<App>]) -> Vec<RemovedInstance> {
    // An app that is shared by both has all that it had.
    let kept: HashSet<_> = apps.iter().map(Arc::as_ptr).collect();
    let before: HashSet<_> = old.apps.iter().map(Arc::as_ptr).collect();
    let new = apps.iter().filter(|app| !before.contains(&Arc::as_ptr(app)));
    let gone = old.apps.iter().filter(|app| !kept.contains(&Arc::as_ptr(app)));
    let present: HashSet<_> = members(new).map(|(_, member)| Arc::as_ptr(&member.stats)).collect();
    let now = Timestamp::now();
    let left = members(gone).map(|(app, member)| RemovedInstance {
        app: app.name.clone(),
        name: member.name().clone(),
        since: now,
        instance: Arc::downgrade(&member.instance),
        stats: Arc::downgrade(&member.stats),
    });
    let waiting = old.removed.iter().filter(|removed| !removed.is_forgotten());
    left.chain(waiting.cloned())
        .filter(|removed| !present.contains(&removed.stats.as_ptr()))
        .collect()
}

fn members<'a>(
    apps: impl Iterator<Item = &'a Arc<App>>,
) -> impl Iterator<Item = (&'a Arc<App>, &'a Arc<Member>)> {
    apps.flat_map(|app| app.pool.members.iter().map(move |member| (app, member)))
}
