//! Rows of conversations: their messages, and the annotations that answer some.

use super::file::Attached;
use serde_json::Value;
use uuid::Uuid;

pub(crate) struct Conversation {
    pub(crate) app: Uuid,
    pub(crate) user: String,
    /// Whether it belongs to a twin of its user, whom no request finds.
    pub(crate) lost: bool,
    pub(crate) name: String,
    pub(crate) inputs: Value,
    /// The value of the one variable that echoing chatflows have.
    pub(crate) language: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    /// The order of changes, finer than the seconds above.
    pub(crate) changed: u64,
    pub(crate) messages: Vec<Uuid>,
}

pub(crate) struct Message {
    pub(crate) app: Uuid,
    pub(crate) user: String,
    /// The nil id for a completion.
    pub(crate) conversation: Uuid,
    pub(crate) inputs: Value,
    pub(crate) query: String,
    /// Empty until the run has ended well, or was stopped.
    pub(crate) answer: String,
    /// An error the model gave, if any.
    pub(crate) error: Option<String>,
    /// What an agent thought: its id and text.
    pub(crate) thought: Option<(Uuid, String)>,
    /// The files given with it, each with the id of the row that ties it to the message.
    pub(crate) files: Vec<(Uuid, Attached)>,
    /// The same files as its answer shows them, each with such an id.
    pub(crate) answer_files: Vec<(Uuid, Attached)>,
    /// Its flow's run, while and after it was paused for a human.
    pub(crate) paused_run: Option<Uuid>,
    pub(crate) feedback: Option<Feedback>,
    pub(crate) created_at: i64,
}

pub(crate) struct Feedback {
    pub(crate) id: Uuid,
    pub(crate) rating: String,
    pub(crate) content: Option<String>,
    pub(crate) created_at: i64,
}

pub(crate) struct Annotation {
    pub(crate) app: Uuid,
    pub(crate) question: String,
    pub(crate) answer: String,
    pub(crate) hits: u32,
    pub(crate) created_at: i64,
}
