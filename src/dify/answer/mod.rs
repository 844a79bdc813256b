//! What an answer of Dify says: the ids that it made, the tokens that it used, and whether it is
//! the answer of an instance that does not have what was asked for.
//!
//! Nothing here changes or holds an answer; it is read beside the way to the client. Answers are
//! read as far as they are there: of a long one only a prefix is kept, and the ids stand at its
//! beginning.
//!
//! Deliberately absent: ids in lists of what belongs to a user (`GET /v1/conversations`,
//! `GET /v1/messages`). Whoever asks for such a list has been sent to the right instance already. And
//! whatever a dataset holds: no route names it without the dataset.

mod catch_up;
mod envelope;
mod events;
mod explain;
mod first;
mod keyless;
mod members;
mod named;
mod refusal;
mod sent;
mod usage;
mod whole;

#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_end;
#[cfg(test)]
mod tests_ids;

use uuid::Uuid;

pub use self::catch_up::{CatchUp, CaughtUp, OnDifference, RunIds};
use self::envelope::{Envelope, Wanted};
pub use self::events::{EventLearner, Pauses, dull};
pub use self::explain::{explanation, failed_flow};
pub use self::first::{FirstEvent, first_event};
pub use self::keyless::{is_strange_code, is_strange_link, may_be_strange_code};
pub use self::named::event_name;
pub use self::refusal::{KnownRefusal, is_newer_route, is_null_run, refusal};
pub use self::sent::SentEvents;
pub use self::whole::{Whole, WholeEvents};
use super::path::{CallKind, Run};

/// The most ids kept of an answer beside those of its run. Dify's lists have 100 entries at most.
pub const MAX_OTHERS: usize = 128;

/// The ids that an answer named. All are known to the answering instance only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Of chat apps.
    pub conversation_id: Option<Uuid>,
    /// Of chat and completion apps.
    pub message_id: Option<Uuid>,
    /// Of every run, until it has ended.
    pub task_id: Option<Uuid>,
    /// Of workflows, and of chats that are one.
    pub workflow_run_id: Option<Uuid>,
    /// Of an upload.
    pub file_id: Option<Uuid>,
    /// What else outlives the answer, as [`Id::key`](super::path::Id::key) gives it, each once, at
    /// most [`MAX_OTHERS`]: the tokens of forms that a run waits for, the user of an upload,
    /// annotations and the jobs for them, datasets.
    pub others: Vec<Uuid>,
    /// `task_id` as sent, for the path of a stop.
    pub task_text: Option<String>,
}

impl Learned {
    /// The ids that outlive a run: all but the task's.
    pub fn lasting(&self) -> impl Iterator<Item = Uuid> {
        let ids = [self.conversation_id, self.message_id, self.workflow_run_id, self.file_id];
        ids.into_iter().flatten().chain(self.others.iter().copied())
    }

    fn add(&mut self, id: Uuid) {
        if self.others.len() < MAX_OTHERS && !self.others.contains(&id) {
            self.others.push(id);
        }
    }
}

/// What a run used, as Dify counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// 0 where Dify says only the total (workflows).
    pub prompt_tokens: u64,
    /// 0 where Dify says only the total (workflows).
    pub completion_tokens: u64,
    /// The sum.
    pub total_tokens: u64,
}

/// Reads a successful JSON answer, or its first bytes: what they name is given even if the rest is
/// missing. Calls whose answers name nothing new give nothing.
pub fn learn_json(kind: CallKind, prefix: &[u8]) -> (Learned, Option<Usage>) {
    let wanted = match kind {
        CallKind::Run(Run::Chat | Run::Completion) => Wanted::Turn,
        CallKind::Run(Run::Workflow) => Wanted::WorkflowRun,
        CallKind::Upload => Wanted::Upload,
        CallKind::Annotations | CallKind::AnnotationReply => Wanted::Made,
        CallKind::DatasetList => Wanted::Made,
        _ => return Default::default(),
    };
    let mut found = Envelope::default();
    found.read(wanted, prefix);
    (found.learned, found.usage)
}
