//! What an app does when something goes wrong, as its configuration says.

use std::sync::Arc;

use crate::balance::StatusSet;
use crate::gateway::state::conversation_lock::ConversationLocks;
pub use crate::model::{OnDisconnect, OnOwnerDown, Storage};

/// An app's rules for failures.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether a run is taken up again whose stream broke off.
    pub resume: Resuming,
    /// What becomes of a run whose client went away; none: as fits the run.
    pub on_disconnect: Option<OnDisconnect>,
    /// What becomes of a request whose data is on an instance that is out.
    pub on_owner_down: OnOwnerDown,
    /// Whether its instances share their database.
    pub storage: Storage,
    /// Where a conversation's second turn waits for the first, if it does.
    pub turns: Option<Arc<ConversationLocks>>,
}

/// What is tried again.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// Further attempts after the first.
    pub attempts: u32,
    /// Retries as a share of requests, in thousandths.
    pub budget: u32,
    /// Statuses after which the next candidate is asked.
    pub statuses: StatusSet,
    /// What an instance may have executed.
    pub executed: Executed,
}

/// Whether a streamed flow of Dify 1.14 or later is taken up again when its API process dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resuming {
    /// It is.
    #[default]
    On,
    /// Its stream ends with an error.
    Off,
}

/// What becomes of a request that an instance may have executed without a response, unless it
/// changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executed {
    /// It is never sent to another.
    #[default]
    Once,
    /// It is sent to another; it may run twice.
    Again,
}
