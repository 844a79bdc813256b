//! The outermost object of an answer or of an event.

use serde::Deserialize;
use uuid::Uuid;

use super::members::{members, text};
use super::{Learned, Usage};

/// The longest task id kept as text, in bytes. Dify's are UUIDs.
const MAX_TASK: usize = 64;

/// What the object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A blocking answer of a chat or completion app.
    Turn,
    /// A blocking answer of a workflow app.
    WorkflowRun,
    /// The answer to an upload.
    Upload,
    /// An event of a stream: which one it is stands in `event`.
    Event,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) learned: Learned,
    pub(super) usage: Option<Usage>,
    /// `event`, if it is one that ends something.
    pub(super) end: Option<End>,
    /// The object has a `message_id`.
    pub(super) of_a_message: bool,
}

/// Events after which a run does no more, or nearly so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// `message_end`.
    Message,
    /// `workflow_finished`.
    Workflow,
    /// `error`, or `workflow_paused` of newer versions.
    Other,
}

impl End {
    pub(super) fn named(event: &[u8]) -> Option<Self> {
        Some(match event {
            b"message_end" => Self::Message,
            b"workflow_finished" => Self::Workflow,
            b"error" | b"workflow_paused" => Self::Other,
            _ => return None,
        })
    }
}

impl Envelope {
    /// Reads an object up to where it ends or breaks off. Ids that are known stay.
    pub(super) fn read(&mut self, wanted: Wanted, json: &[u8]) {
        members(json, |key, value| self.member(wanted, key, value));
    }

    fn member(&mut self, wanted: Wanted, key: &[u8], value: &[u8]) {
        if let Some(place) = self.id_place(wanted, key) {
            *place = place.or_else(|| Uuid::try_parse(text(value)?).ok());
            return;
        }
        let turn_ends = wanted == Wanted::Turn || self.end == Some(End::Message);
        let workflow_ends = wanted == Wanted::WorkflowRun || self.end == Some(End::Workflow);
        match key {
            b"event" if wanted == Wanted::Event => {
                self.end = text(value).and_then(|event| End::named(event.as_bytes()));
            }
            b"task_id" => text(value).into_iter().for_each(|task| self.note_task(task)),
            b"metadata" if turn_ends => {
                let metadata: Option<Metadata> = serde_json::from_slice(value).ok().flatten();
                let usage = metadata.and_then(|metadata| metadata.usage);
                self.usage = usage.map(Tokens::usage).or(self.usage);
            }
            // What a message's end says is more.
            b"data" if workflow_ends && self.usage.is_none() => {
                let data: Option<Tokens> = serde_json::from_slice(value).ok().flatten();
                self.usage = data.filter(|data| data.total_tokens.is_some()).map(Tokens::usage);
            }
            _ => {}
        }
    }

    /// Whether a key's value is that of an id of this object, and whose.
    fn id_place(&mut self, wanted: Wanted, key: &[u8]) -> Option<&mut Option<Uuid>> {
        let learned = &mut self.learned;
        Some(match key {
            b"id" if wanted == Wanted::Upload => &mut learned.file_id,
            b"conversation_id" => &mut learned.conversation_id,
            b"message_id" => {
                self.of_a_message = true;
                &mut learned.message_id
            }
            b"workflow_run_id" => &mut learned.workflow_run_id,
            _ => return None,
        })
    }

    fn note_task(&mut self, task: &str) {
        if self.learned.task_text.is_none() && (1..=MAX_TASK).contains(&task.len()) {
            self.learned.task_id = Uuid::try_parse(task).ok();
            self.learned.task_text = Some(task.to_owned());
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    usage: Option<Tokens>,
}

/// Of `metadata.usage`, and of a workflow's `data`, which has the total alone.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: Option<u64>,
}

impl Tokens {
    fn usage(self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.total_tokens.unwrap_or(0),
        }
    }
}
