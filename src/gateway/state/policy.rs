//! What an app does when something goes wrong, as its configuration says.

use std::sync::Arc;
use std::time::Duration;

use crate::balance::StatusSet;
use crate::gateway::state::conversation_lock::Turns;

/// An app's rules for failures.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What is tried again.
    pub retry: Retry,
    /// What becomes of a run whose client went away.
    pub on_disconnect: OnDisconnect,
    /// What becomes of a request whose data is on an instance that is out.
    pub on_owner_down: OnOwnerDown,
    /// Whether its instances share their database.
    pub storage: Storage,
    /// Where a conversation's second turn waits for the first, if it does.
    pub turns: Option<Arc<Turns>>,
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
    /// Whether a run is taken up again whose stream broke off.
    pub resume: Resuming,
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

/// What becomes of a request that an instance may have executed without an answer, unless it
/// changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executed {
    /// It is never sent to another.
    #[default]
    Once,
    /// It is sent to another; it may run twice.
    Again,
}

/// What becomes of a run whose client went away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// A streamed run is stopped, a blocking one drained.
    #[default]
    Fitting,
    /// Dify is told to stop it, then its answer is read to the end, for a bounded time. A blocking
    /// run cannot be stopped; it is drained.
    Stop,
    /// Its answer is read to the end.
    Drain,
    /// The connection is closed.
    Close,
}

/// What becomes of a request whose data is on an instance that is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOwnerDown {
    /// 503 with `Retry-After`.
    #[default]
    Fail,
    /// It waits for the instance as long as for a slot.
    Queue,
    /// A chat goes on in a new conversation elsewhere; anything else fails.
    Restart,
}

impl OnOwnerDown {
    /// As it is written.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Queue => "queue",
            Self::Restart => "restart",
        }
    }
}

/// Whether the instances of an app share their database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// What one made exists only there.
    #[default]
    Independent,
    /// Any of them can answer anything.
    Shared,
}

/// Bounds on waiting for a connection slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Requests that may wait.
    pub size: u32,
    /// How long each may wait.
    pub timeout: Duration,
    /// How long a streamed flow may wait for a place among those of `max_runs`.
    pub run_timeout: Duration,
}
