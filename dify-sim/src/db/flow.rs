//! Rows of runs of workflows and chatflows, and of their nodes.

use crate::live::Live;
use std::sync::Arc;
use uuid::Uuid;

/// A run of a workflow or chatflow.
pub(crate) struct Run {
    pub(crate) app: Uuid,
    /// Its events while it goes on, or is paused, in the worker.
    pub(crate) live: Option<Arc<Live>>,
    /// Its nodes so far, in the order they began.
    pub(crate) nodes: Vec<Step>,
    pub(crate) workflow: Uuid,
    pub(crate) published: String,
    pub(crate) user: String,
    pub(crate) user_id: Uuid,
    /// JSON texts, as Dify stores and gives them.
    pub(crate) inputs: String,
    pub(crate) outputs: Option<String>,
    /// `running`, `paused`, `succeeded`, `partial-succeeded`, `failed` or `stopped`.
    pub(crate) status: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) steps: u32,
    pub(crate) tokens: u32,
    pub(crate) created_at: i64,
    pub(crate) finished_at: Option<i64>,
    pub(crate) elapsed: f64,
    pub(crate) exceptions: u32,
    /// Why it is paused, if it is.
    pub(crate) pause: Option<Pause>,
    /// Conversation and message, of a chatflow.
    pub(crate) conversation: Option<(Uuid, Uuid)>,
    /// The id of its line in the log; runs without an end have none.
    pub(crate) log: Option<(Uuid, i64)>,
}

/// A run that waits for a human.
pub(crate) struct Pause {
    /// The token of its form.
    pub(crate) token: String,
    /// What `reasons` of `workflow_paused` says, as JSON text.
    pub(crate) reason: String,
}

/// A node of a run, as its row says.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) node: Node,
    /// How it ended, and after how many seconds.
    pub(crate) end: Option<(&'static str, f64, i64)>,
}

/// A step of a flow, as its events name it.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) id: Uuid,
    pub(crate) node: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) index: u32,
    pub(crate) before: Option<&'static str>,
    pub(crate) created_at: i64,
    /// The kind and id of the iteration or loop it is in.
    pub(crate) within: Option<(&'static str, &'static str)>,
}
