//! Instances that a reload took away while requests were still under way there.
//!
//! They are known by weak pointers only: requests and connections keep an instance, and with their
//! end it is forgotten. One that comes back before then is the same instance as before, so that its slots and
//! counters stay right. There are never more of them than requests under way and members of the
//! configuration before.

use std::sync::{Arc, Weak};

use jiff::Timestamp;

use crate::gateway::state::instance::Instance;
use crate::gateway::state::member_stats::MemberStats;
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
    pub(super) instance: Weak<Instance>,
    pub(super) stats: Weak<MemberStats>,
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

    pub(super) fn is_forgotten(&self) -> bool {
        self.instance.strong_count() == 0 && self.stats.strong_count() == 0
    }
}
