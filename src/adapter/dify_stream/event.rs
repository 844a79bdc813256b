//! Dify's events, as far as a client of an AI protocol learns of them.
//!
//! What an event holds besides is passed over, and what is not as expected is as if it were not
//! there (`lenient`).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{Number, Text};

/// The fields of any event, or of a blocking answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) event: Text<'a>,
    #[serde(borrow)]
    pub(super) conversation_id: Text<'a>,
    #[serde(borrow)]
    pub(super) message_id: Text<'a>,
    #[serde(borrow)]
    pub(super) workflow_run_id: Text<'a>,
    #[serde(borrow)]
    pub(super) task_id: Text<'a>,
    pub(super) created_at: Number,
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) answer: Text<'a>,
    #[serde(borrow)]
    pub(super) thought: Text<'a>,
    /// Of a file, as the three fields after it.
    #[serde(borrow)]
    pub(super) belongs_to: Text<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) url: Text<'a>,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) files: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    /// Of an error, as the two fields after it.
    pub(super) status: Number,
    #[serde(borrow)]
    pub(super) code: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
}

/// `message_end.metadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) retriever_resources: Option<&'a RawValue>,
}

/// Token counts of a message or of one model call.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) prompt_tokens: Number,
    pub(super) completion_tokens: Number,
    pub(super) total_tokens: Number,
}

/// A file in `message_end.files` or in `workflow_finished.data.files`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File<'a> {
    #[serde(borrow)]
    pub(super) url: Text<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) filename: Text<'a>,
    /// `user` or `assistant`.
    #[serde(borrow)]
    pub(super) belongs_to: Text<'a>,
    /// `local_file` of an upload, `remote_url` of an address that a user gave, `tool_file` of what
    /// the app made.
    #[serde(borrow)]
    pub(super) transfer_method: Text<'a>,
}

/// `text_chunk.data`, `text_replace.data` and `reasoning_chunk.data`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) text: Text<'a>,
    #[serde(borrow)]
    pub(super) reasoning: Text<'a>,
}

/// `workflow_started.data`, `workflow_paused.data` and `workflow_finished.data`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Workflow<'a> {
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) outputs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Text<'a>,
    pub(super) total_tokens: Number,
    pub(super) created_at: Number,
    #[serde(borrow)]
    pub(super) files: Option<&'a RawValue>,
    /// Of a start, `initial` or `resumption` since 1.13, when flows moved into the worker.
    #[serde(borrow)]
    pub(super) reason: Text<'a>,
    /// Of a pause: what it waits for.
    #[serde(borrow)]
    pub(super) reasons: Option<&'a RawValue>,
    pub(super) exceptions_count: Number,
}

/// `data` of the events of a node, an iteration, a loop or an agent's log.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) node_type: Text<'a>,
    #[serde(borrow)]
    pub(super) title: Text<'a>,
    #[serde(borrow)]
    pub(super) label: Text<'a>,
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) error: Text<'a>,
    pub(super) index: Number,
    pub(super) retry_index: Number,
    #[serde(borrow)]
    pub(super) process_data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) outputs: Option<&'a RawValue>,
}

/// What a node says of its model call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Used<'a> {
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
}
