//! The log of runs an instance began, for tests that ask what reached the model and how it ended.
//!
//! A bounded ring: the last 10,000 runs.

use serde_json::Value;
use std::collections::VecDeque;
use tokio::sync::watch;

/// Runs kept.
const LIMIT: usize = 10_000;

/// One run: a turn of a conversation, a completion, a run of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The key of the app.
    pub key: String,
    /// The user as sent.
    pub user: String,
    /// The query as sent, of a completion that of its inputs; empty for workflows.
    pub query: String,
    /// The inputs as sent, those included that the form does not know.
    pub inputs: Value,
    /// The files given, each as an answer names it: `image a.png image/png 69 bytes local_file`.
    pub files: Vec<String>,
    /// Whether it was asked for as a stream.
    pub streamed: bool,
    /// Whether it went on with a conversation; else it began one, where its app has them.
    pub continued: bool,
    /// Whether Dify was to name the conversation.
    pub auto_generate_name: bool,
    /// The conversation it belongs to.
    pub conversation: Option<String>,
    /// Its message; none for workflows.
    pub message: Option<String>,
    /// What a stop request names.
    pub task: String,
    /// The run of the workflow or chatflow.
    pub workflow_run: Option<String>,
    /// How it ended.
    pub end: RunEnd,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// It goes on.
    Running,
    /// With its whole answer.
    Succeeded,
    /// With an error of the model or of a node.
    Failed,
    /// Its user asked for it.
    Stopped,
    /// Its client was gone, or the instance broke.
    Left,
}

impl RunEnd {
    /// One word: `running`, `succeeded`, `failed`, `stopped` or `left`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Left => "left",
        }
    }
}

/// The ring itself; who waits for a run watches it.
pub(crate) struct Runs(watch::Sender<Ring>);

struct Ring {
    /// The number of the first run there is.
    first: usize,
    runs: VecDeque<Ran>,
}

impl Default for Runs {
    fn default() -> Self {
        Self(watch::Sender::new(Ring { first: 0, runs: VecDeque::new() }))
    }
}

impl Runs {
    /// Takes a run in and gives its number.
    pub(crate) fn push(&self, ran: Ran) -> usize {
        let mut number = 0;
        self.0.send_modify(|ring| {
            if ring.runs.len() == LIMIT {
                ring.runs.pop_front();
                ring.first += 1;
            }
            number = ring.first + ring.runs.len();
            ring.runs.push_back(ran);
        });
        number
    }

    /// Notes how a run ended; the first word counts.
    pub(crate) fn end(&self, number: usize, end: RunEnd) {
        self.0.send_if_modified(|ring| {
            let at = number.checked_sub(ring.first);
            match at.and_then(|at| ring.runs.get_mut(at)) {
                Some(ran) if ran.end == RunEnd::Running => {
                    ran.end = end;
                    true
                }
                _ => false,
            }
        });
    }

    pub(crate) fn all(&self) -> Vec<Ran> {
        self.0.borrow().runs.iter().cloned().collect()
    }

    /// Waits for a run that is like this.
    pub(crate) async fn found(&self, like: impl Fn(&Ran) -> bool) -> Option<Ran> {
        let mut watching = self.0.subscribe();
        let ring = watching.wait_for(|ring| ring.runs.iter().any(&like)).await.ok()?;
        ring.runs.iter().find(|ran| like(ran)).cloned()
    }
}
