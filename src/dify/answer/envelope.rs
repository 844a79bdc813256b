//! The outermost object of an answer or of an event.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
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

    /// Whether a key's value is that of an id of this object, and whose.
    fn id_place(&mut self, wanted: Wanted, key: &str) -> Option<&mut Option<Uuid>> {
        let learned = &mut self.learned;
        Some(match key {
            "id" if wanted == Wanted::Upload => &mut learned.file_id,
            "conversation_id" => &mut learned.conversation_id,
            "message_id" => {
                self.of_a_message = true;
                &mut learned.message_id
            }
            "workflow_run_id" => &mut learned.workflow_run_id,
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
        let Self { wanted, found } = self;
        while let Some(Key(key)) = map.next_key::<Key<'_>>()? {
            if let Some(place) = found.id_place(wanted, &key) {
                let id = map.next_value::<Text<'_>>()?.0;
                *place = place.or_else(|| Uuid::try_parse(&id?).ok());
                continue;
            }
            let turn_ends = wanted == Wanted::Turn || found.end == Some(End::Message);
            let workflow_ends = wanted == Wanted::WorkflowRun || found.end == Some(End::Workflow);
            match key.as_ref() {
                "event" if wanted == Wanted::Event => {
                    let event = map.next_value::<Text<'_>>()?.0;
                    found.end = event.and_then(|event| End::named(event.as_bytes()));
                }
                "task_id" => {
                    let task = map.next_value::<Text<'_>>()?.0;
                    task.into_iter().for_each(|task| found.note_task(&task));
                }
                "metadata" if turn_ends => {
                    let usage = map.next_value::<Option<Metadata>>()?.and_then(|data| data.usage);
                    found.usage = usage.map(Tokens::usage).or(found.usage);
                }
                // What a message's end says is more.
                "data" if workflow_ends && found.usage.is_none() => {
                    let data = map.next_value::<Option<Tokens>>()?;
                    found.usage =
                        data.filter(|data| data.total_tokens.is_some()).map(Tokens::usage);
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// A string's text, borrowed where it has no escapes; `None` for null.
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or null")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text(None))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
