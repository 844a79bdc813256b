//! The outermost object of an answer or of an event.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

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
        let mut reader = serde_json::Deserializer::from_slice(json);
        // Where it breaks off is no error here: what came before has been noted.
        let _ = Seed { wanted, found: self }.deserialize(&mut reader);
    }

    fn note(&mut self, wanted: Wanted, key: &str, value: &RawValue) {
        let learned = &mut self.learned;
        let place = match (key, wanted) {
            ("id", Wanted::Upload) => &mut learned.file_id,
            ("event", Wanted::Event) => {
                self.end = text(value).and_then(|name| End::named(name.as_bytes()));
                return;
            }
            ("conversation_id", _) => &mut learned.conversation_id,
            ("message_id", _) => {
                self.of_a_message = true;
                &mut learned.message_id
            }
            ("workflow_run_id", _) => &mut learned.workflow_run_id,
            ("task_id", _) => {
                if learned.task_text.is_none() {
                    let task = text(value).filter(|task| task.len() <= MAX_TASK);
                    learned.task_text = task.map(Cow::into_owned).filter(|task| !task.is_empty());
                }
                &mut learned.task_id
            }
            ("metadata", _) => {
                if matches!(wanted, Wanted::Turn) || self.end == Some(End::Message) {
                    self.usage = metadata_usage(value).or(self.usage);
                }
                return;
            }
            ("data", _) => {
                let ends = matches!(wanted, Wanted::WorkflowRun) || self.end == Some(End::Workflow);
                // What a message's end says is more.
                if ends && self.usage.is_none() {
                    self.usage = data_usage(value);
                }
                return;
            }
            _ => return,
        };
        if place.is_none() {
            *place = text(value).and_then(|id| Uuid::try_parse(&id).ok());
        }
    }
}

fn is_wanted(key: &str) -> bool {
    let ids = ["id", "event", "conversation_id", "message_id", "workflow_run_id", "task_id"];
    ids.contains(&key) || matches!(key, "metadata" | "data")
}

/// A string's text; `None` for any other value.
fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let raw = value.get();
    let plain = raw.strip_prefix('"')?.strip_suffix('"')?;
    if plain.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(plain))
}

fn metadata_usage(value: &RawValue) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Metadata {
        usage: Option<Tokens>,
    }
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Tokens {
        prompt_tokens: u64,
        completion_tokens: u64,
        total_tokens: u64,
    }
    let tokens = serde_json::from_str::<Metadata>(value.get()).ok()?.usage?;
    Some(Usage {
        prompt_tokens: tokens.prompt_tokens,
        completion_tokens: tokens.completion_tokens,
        total_tokens: tokens.total_tokens,
    })
}

fn data_usage(value: &RawValue) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Data {
        total_tokens: Option<u64>,
    }
    let total_tokens = serde_json::from_str::<Data>(value.get()).ok()?.total_tokens?;
    Some(Usage { total_tokens, ..Usage::default() })
}

struct Seed<'f> {
    wanted: Wanted,
    found: &'f mut Envelope,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key<'_>>()? {
            if is_wanted(&key.0) {
                let value = map.next_value::<&RawValue>()?;
                self.found.note(self.wanted, &key.0, value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
