//! The ids that an answer names.

use uuid::Uuid;

/// The most ids kept of an answer beside those of its run. Dify's lists have 100 entries at most.
pub const MAX_OTHERS: usize = 128;

/// The ids that an answer named. All are known to the answering instance only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LearnedIds {
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
    /// What else outlives the answer, as [`Id::key`](crate::dify::path::Id::key) gives it, each once, at
    /// most [`MAX_OTHERS`]: the tokens of forms that a run waits for, the user of an upload,
    /// annotations and the jobs for them, datasets.
    pub others: Vec<Uuid>,
    /// `task_id` as sent, for the path of a stop.
    pub task_text: Option<String>,
}

impl LearnedIds {
    /// The ids that outlive a run: all but the task's.
    pub fn lasting(&self) -> impl Iterator<Item = Uuid> {
        let ids = [self.conversation_id, self.message_id, self.workflow_run_id, self.file_id];
        ids.into_iter().flatten().chain(self.others.iter().copied())
    }

    pub(super) fn add(&mut self, id: Uuid) {
        if self.others.len() < MAX_OTHERS && !self.others.contains(&id) {
            self.others.push(id);
        }
    }
}
