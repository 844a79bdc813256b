//! Dify's events, as far as a client of a door learns of them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The fields of any event. Those of no interest here are passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) conversation_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) message_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) workflow_run_id: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) created_at: Option<u64>,
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) answer: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) thought: Option<Cow<'a, str>>,
    /// Of a file: `user` or `assistant`.
    #[serde(borrow, default)]
    pub(super) belongs_to: Option<Cow<'a, str>>,
    /// Of a file: `image` and others.
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) url: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) files: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
    /// Of an error.
    #[serde(default)]
    pub(super) status: Option<u16>,
    #[serde(borrow, default)]
    pub(super) code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) message: Option<Cow<'a, str>>,
}

/// `message_end.metadata`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) usage: Option<Counts>,
    #[serde(default)]
    pub(super) retriever_resources: Option<Vec<Value>>,
}

/// Token counts of a message or of one model call.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Counts {
    #[serde(default)]
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
    #[serde(default)]
    pub(super) total_tokens: u64,
}

/// A file that an app made.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MadeFile {
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) filename: Option<String>,
}

/// `text_chunk.data`, `text_replace.data` and `reasoning_chunk.data`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) reasoning: Option<String>,
}

/// `workflow_started.data` and `workflow_finished.data`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Workflow {
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) outputs: Option<Value>,
    #[serde(default)]
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) total_tokens: Option<u64>,
    #[serde(default)]
    pub(super) created_at: Option<u64>,
    #[serde(default)]
    pub(super) files: Option<Vec<MadeFile>>,
}

/// `node_finished.data`, as far as it counts tokens.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Node {
    #[serde(default)]
    pub(super) node_type: Option<String>,
    #[serde(default)]
    pub(super) process_data: Option<Used>,
    #[serde(default)]
    pub(super) outputs: Option<Used>,
}

/// What a node says of its model call.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Used {
    #[serde(default)]
    pub(super) usage: Option<Counts>,
}

/// Reads a part of an event; what is not as expected is as if it were not there.
pub(super) fn part<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}
