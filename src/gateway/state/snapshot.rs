//! What the request path knows: built whole by `control`, then never changed.
//!
//! A request loads one snapshot, once, and keeps it to its end, so it never sees two configurations.
//! What must survive a reload (instances, counters) is shared between snapshots by pointer.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::gateway::http::body_memory::BodyMemory;
use crate::gateway::http::limits::{Limits, Timeouts};
use crate::gateway::state::app::App;
use crate::gateway::state::instance::Instance;
use crate::gateway::state::models::Models;
use crate::gateway::state::probe_target::ProbeTarget;
use crate::gateway::state::removed_instance::RemovedInstance;
use crate::gateway::state::services::Services;
use crate::gateway::state::tls::listener::ListenerTls;
use crate::gateway::state::tokens::{Key, TokenTable};
pub use crate::model::LastResort;

/// One configuration, ready for requests.
#[derive(Debug)]
pub struct Snapshot {
    /// Apps in the order of the configuration.
    pub apps: Vec<Arc<App>>,
    /// The keys of clients, and the places in `apps` that they open.
    pub tokens: TokenTable,
    /// The key of requests that bring none, or one that nobody knows; none: they are refused.
    pub anonymous: Option<Arc<Key>>,
    /// The apps whose model ids are what Dify calls them.
    pub named_by_dify: Vec<Arc<App>>,
    /// Model ids to places in `apps`.
    pub models: Models,
    /// Every instance of apps and of services with the API once, without tokens, for `GET /v1/`, which Dify answers without a key.
    pub everyone: Arc<App>,
    /// What is passed on without an app; none: nothing is.
    pub services: Option<Services>,
    /// Everything that is probed, once.
    pub probed: Vec<Arc<ProbeTarget>>,
    /// Instances that earlier configurations had and that may still have requests.
    pub removed: Vec<RemovedInstance>,
    /// How TLS is spoken with clients; none: it is not.
    pub tls: Option<ListenerTls>,
    /// Limits on requests.
    pub limits: Limits,
    /// The memory of all request bodies; what they hold survives a reload.
    pub body_memory: BodyMemory,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Whether instances that are out are tried when all are.
    pub last_resort: LastResort,
    /// Proxies whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How many configurations came before this one.
    pub generation: u64,
    /// When it was built.
    pub loaded_at: Timestamp,
}

impl Snapshot {
    /// Every instance of every app, and of services with the API, once.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.everyone.pool.members.iter().map(|member| &member.instance)
    }

    /// Whether `address` is a proxy whose headers are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}
