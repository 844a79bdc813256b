//! Datasets of the knowledge API.

use uuid::Uuid;

/// A dataset with its documents.
pub(crate) struct Dataset {
    pub(crate) workspace: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) permission: String,
    pub(crate) technique: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) documents: Vec<Document>,
    /// Documents there ever were, for their positions.
    pub(crate) numbered: u32,
}

/// A document of one segment.
pub(crate) struct Document {
    pub(crate) id: Uuid,
    pub(crate) segment: Uuid,
    /// What the index calls the segment.
    pub(crate) node: Uuid,
    pub(crate) upload: Uuid,
    pub(crate) rule: Uuid,
    /// What `indexing-status` is asked for.
    pub(crate) batch: String,
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) position: u32,
    pub(crate) created_at: i64,
    /// The same to the microsecond.
    pub(crate) made_at: f64,
    /// Whether somebody asked how far it is: the first answer is that it is not there yet.
    pub(crate) asked: bool,
}
