//! Instances that a reload took away while requests were still under way there.
//!
//! They are known by weak pointers only: requests and connections keep an instance, and with their
//! end it is forgotten. One that comes back before then is the same instance as before, so that its slots and
//! counters stay right. There are never more of them than requests under way and members of the
//! configuration before.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use jiff::Timestamp;

use crate::gateway::state::instance::Instance;
use crate::gateway::state::member::{Member, MemberStats};
use crate::gateway::state::snapshot::{App, Snapshot};
use crate::model::{AppName, InstanceName};

/// An instance that an app no longer has at this address.
#[derive(Clone, Debug)]
pub struct Departed {
    /// The app that had it.
    pub app: AppName,
    /// Its name there.
    pub name: InstanceName,
    /// Since when no new request goes there.
    pub since: Timestamp,
    instance: Weak<Instance>,
    stats: Weak<MemberStats>,
}

impl Departed {
    /// The instance, while a request, a connection or the snapshot that had it keeps it.
    pub fn instance(&self) -> Option<Arc<Instance>> {
        self.instance.upgrade()
    }

    /// What is counted for it, while a request or the snapshot that had it keeps that.
    pub fn stats(&self) -> Option<Arc<MemberStats>> {
        self.stats.upgrade()
    }

    fn is_forgotten(&self) -> bool {
        self.instance.strong_count() == 0 && self.stats.strong_count() == 0
    }

    /// Those that `old` had or was still waiting for, and that are not among `apps`.
    pub fn after(old: &Snapshot, apps: &[Arc<App>]) -> Vec<Self> {
        // An app that is shared by both has all that it had.
        let kept: HashSet<_> = apps.iter().map(Arc::as_ptr).collect();
        let before: HashSet<_> = old.apps.iter().map(Arc::as_ptr).collect();
        let new = apps.iter().filter(|app| !before.contains(&Arc::as_ptr(app)));
        let gone = old.apps.iter().filter(|app| !kept.contains(&Arc::as_ptr(app)));
        let present: HashSet<_> =
            members(new).map(|(_, member)| Arc::as_ptr(&member.stats)).collect();
        let now = Timestamp::now();
        let left = members(gone).map(|(app, member)| Self {
            app: app.name.clone(),
            name: member.name().clone(),
            since: now,
            instance: Arc::downgrade(&member.instance),
            stats: Arc::downgrade(&member.stats),
        });
        let waiting = old.departed.iter().filter(|departed| !departed.is_forgotten());
        left.chain(waiting.cloned())
            .filter(|departed| !present.contains(&departed.stats.as_ptr()))
            .collect()
    }
}

fn members<'a>(
    apps: impl Iterator<Item = &'a Arc<App>>,
) -> impl Iterator<Item = (&'a Arc<App>, &'a Arc<Member>)> {
    apps.flat_map(|app| app.pool.members.iter().map(move |member| (app, member)))
}
