//! What the router needs of the rest of the process.

use crate::admin::access::Access;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;

use crate::control::Reloader;
use crate::gateway::Shared;
use crate::telemetry::Counter;

/// What the router needs of the rest of the process.
pub struct AdminState {
    /// The gateway; it outlives the admin that it owns.
    pub shared: Weak<Shared>,
    /// Who may ask.
    pub access: Arc<ArcSwap<Access>>,
    /// Reads the configuration again.
    pub reloader: Reloader,
    /// Batches of the access log that were dropped.
    pub log_dropped: Option<Arc<Counter>>,
}
