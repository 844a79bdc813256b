//! What an answer of Dify says: the ids that it made, the tokens that it used, and whether it is
//! the answer of an instance that does not have what was asked for.
//!
//! Nothing here changes or holds an answer; it is read beside the way to the client. Answers are
//! read as far as they are there: of a long one only a prefix is kept, and the ids stand at its
//! beginning.
//!
//! Deliberately absent: ids in lists (`GET /v1/conversations`, `GET /v1/messages`). Whoever asks
//! for a list has been sent to the right instance already.

mod envelope;
mod events;
mod members;
mod refusal;
mod usage;

#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;

use uuid::Uuid;

use self::envelope::{Envelope, Wanted};
pub use self::events::{EventLearner, dull};
pub use self::refusal::{KnownRefusal, is_newer_route, is_null_run, refusal};
use super::path::{CallKind, Run};

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
    /// `task_id` as sent, for the path of a stop.
    pub task_text: Option<String>,
}

impl Learned {
    /// The ids that outlive a run: all but the task's.
    pub fn lasting(&self) -> impl Iterator<Item = Uuid> + use<> {
        let ids = [self.conversation_id, self.message_id, self.workflow_run_id, self.file_id];
        ids.into_iter().flatten()
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
/// missing. Other calls than runs and uploads give nothing.
pub fn learn_json(kind: CallKind, prefix: &[u8]) -> (Learned, Option<Usage>) {
    let wanted = match kind {
        CallKind::Run(Run::Chat | Run::Completion) => Wanted::Turn,
        CallKind::Run(Run::Workflow) => Wanted::WorkflowRun,
        CallKind::Upload => Wanted::Upload,
        _ => return Default::default(),
    };
    let mut found = Envelope::default();
    found.read(wanted, prefix);
    (found.learned, found.usage)
}
