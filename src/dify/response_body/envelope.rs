//! The outermost object of an answer or of an event.

use memchr::memmem;
use uuid::Uuid;

use super::explain::{self, Outcome};
use super::json_members::{id, items, members, text, value};
use super::learned_ids::LearnedIds;
use super::usage::{self, Tokens, Usage};
use crate::dify::path::{CallKind, Run, TextId};

/// The longest task id kept as text, in bytes. Dify's are UUIDs.
const MAX_TASK: usize = 64;

/// The longest token of a form, in bytes. Dify's have 22 letters and digits.
const MAX_TOKEN: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A blocking answer of a chat or completion app.
    Turn,
    /// A blocking answer of a workflow app.
    WorkflowRun,
    Upload,
    /// Something that was made, or a list of such.
    Made,
    /// An event of a stream: which one it is stands in `event`.
    Event,
}

#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) learned: LearnedIds,
    pub(super) usage: Option<Usage>,
    /// `event`, if it is one that ends something.
    pub(super) end: Option<End>,
    /// The object has a `message_id`.
    pub(super) of_a_message: bool,
    /// It is an event that may name a form.
    pub(super) of_a_form: bool,
    /// How the flow ended, if it is an event that says so.
    pub(super) outcome: Outcome,
    /// What an error event says.
    pub(super) message: Option<String>,
}

/// Events after which a run does no more, or nearly so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Message,
    Workflow,
    /// `workflow_paused` of newer versions.
    Pause,
    Other,
}

impl End {
    pub(super) fn named(event: &[u8]) -> Option<Self> {
        Some(match event {
            b"message_end" => Self::Message,
            b"workflow_finished" => Self::Workflow,
            b"workflow_paused" => Self::Pause,
            b"error" => Self::Other,
            _ => return None,
        })
    }
}

/// Whether events of this name may name forms.
pub(super) fn names_a_form(event: &[u8]) -> bool {
    matches!(event, b"human_input_required" | b"workflow_paused")
}

impl Envelope {
    /// Reads an object up to where it ends or breaks off. Ids that are known stay.
    pub(super) fn read(&mut self, wanted: Wanted, json: &[u8]) {
        members(json, |key, rest| self.member(wanted, key, rest));
    }

    /// Takes a member's value from the beginning of `rest` and gives what follows it.
    fn member<'a>(&mut self, wanted: Wanted, key: &[u8], rest: &'a [u8]) -> Option<&'a [u8]> {
        let turn_ends = wanted == Wanted::Turn || self.end == Some(End::Message);
        let workflow_ends = wanted == Wanted::WorkflowRun || self.end == Some(End::Workflow);
        match key {
            b"metadata" if turn_ends => {
                let (usage, after) = usage::of_metadata(rest)?;
                self.usage = usage.map(Tokens::usage).or(self.usage);
                return Some(after);
            }
            b"data" if wanted == Wanted::Event && workflow_ends => {
                return self.flow_end(rest);
            }
            b"data" if workflow_ends && self.usage.is_none() => {
                let (data, after) = usage::of_data(rest)?;
                self.usage = data.filter(|data| data.total_tokens.is_some()).map(Tokens::usage);
                self.forms(&rest[..rest.len() - after.len()]);
                return Some(after);
            }
            b"data" if wanted == Wanted::Turn || self.of_a_form => {
                let (data, after) = value(rest)?;
                self.forms(data);
                return Some(after);
            }
            b"data" if wanted == Wanted::Made => {
                let (data, after) = value(rest)?;
                items(data, |item| {
                    members(item, |key, rest| {
                        let (value, after) = value(rest)?;
                        self.other(key, value);
                        Some(after)
                    });
                });
                return Some(after);
            }
            _ => {}
        }
        if key == b"task_id" {
            return self.task(rest);
        }
        if let Some(place) = self.id_place(wanted, key) {
            let (found, after) = match id(rest) {
                Some((id, after)) => (Some(id), after),
                None => {
                    let (value, after) = value(rest)?;
                    (text(value).and_then(|text| Uuid::try_parse_ascii(text).ok()), after)
                }
            };
            *place = place.or(found);
            self.of_a_message |= key == b"message_id";
            return Some(after);
        }
        let (value, after) = value(rest)?;
        match wanted {
            Wanted::Event if key == b"event" => {
                let event = text(value).unwrap_or_default();
                // No Dify writes its names with escapes, and JSON allows it.
                let undone =
                    event.contains(&b'\\').then(|| serde_json::from_slice::<String>(value));
                let undone = undone.and_then(Result::ok);
                let event = undone.as_ref().map_or(event, |name| name.as_bytes());
                self.end = End::named(event);
                self.of_a_form = names_a_form(event);
            }
            Wanted::Event if key == b"message" && self.end == Some(End::Other) => {
                self.message = explain::shown(value);
            }
            Wanted::Made => self.other(key, value),
            Wanted::Upload if matches!(key, b"created_by" | b"user_id") => self.add_uuid(value),
            _ => {}
        }
        Some(after)
    }

    /// The data of a flow that has ended. Gives what follows it.
    fn flow_end<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        self.outcome = explain::outcome(rest);
        // What a message's end says is more.
        let (data, after) = match self.usage {
            None => usage::of_data(rest)?,
            Some(_) => (None, value(rest)?.1),
        };
        let total = data.filter(|data| data.total_tokens.is_some());
        self.usage = self.usage.or(total.map(Tokens::usage));
        Some(after)
    }

    /// A member of something that was made.
    fn other(&mut self, key: &[u8], value: &[u8]) {
        if matches!(key, b"id" | b"job_id") {
            self.add_uuid(value);
        }
    }

    fn add_uuid(&mut self, value: &[u8]) {
        if let Some((id, _)) = id(value) {
            self.learned.add(id);
        }
    }

    /// The tokens of forms in the data of an event or of a run that has paused: one by itself, or one
    /// for each of its reasons.
    fn forms(&mut self, data: &[u8]) {
        // A run's outputs may be large, and hardly any has paused.
        if memmem::find(data, b"\"form_token\"").is_none() {
            return;
        }
        members(data, |key, rest| {
            let (value, after) = value(rest)?;
            if key == b"reasons" {
                items(value, |reason| self.form_of(reason));
            } else {
                self.form(key, value);
            }
            Some(after)
        });
    }

    fn form_of(&mut self, reason: &[u8]) {
        members(reason, |key, rest| {
            let (value, after) = value(rest)?;
            self.form(key, value);
            Some(after)
        });
    }

    fn form(&mut self, key: &[u8], value: &[u8]) {
        let token = text(value).filter(|token| (1..=MAX_TOKEN).contains(&token.len()));
        if key == b"form_token"
            && let Some(token) = token.and_then(|token| str::from_utf8(token).ok())
            && !token.contains('\\')
        {
            self.learned.add(TextId::Form.key(token));
        }
    }

    /// Whether a key's value is that of an id of this object, and whose.
    fn id_place(&mut self, wanted: Wanted, key: &[u8]) -> Option<&mut Option<Uuid>> {
        let learned = &mut self.learned;
        Some(match key {
            b"id" if wanted == Wanted::Upload => &mut learned.file_id,
            b"conversation_id" => &mut learned.conversation_id,
            b"message_id" => &mut learned.message_id,
            b"workflow_run_id" => &mut learned.workflow_run_id,
            _ => return None,
        })
    }

    /// The first task id counts. Gives what follows it.
    fn task<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (value, after) = value(rest)?;
        let task = text(value).filter(|task| (1..=MAX_TASK).contains(&task.len()));
        if self.learned.task_text.is_none()
            && let Some(task) = task.and_then(|task| str::from_utf8(task).ok())
            && !task.contains('\\')
        {
            self.learned.task_id = Uuid::try_parse(task).ok();
            self.learned.task_text = Some(task.to_owned());
        }
        Some(after)
    }
}

/// Reads a successful JSON answer, or its first bytes: what they name is given even if the rest is
/// missing. Calls whose answers name nothing new give nothing.
pub fn learn_json(kind: CallKind, prefix: &[u8]) -> (LearnedIds, Option<Usage>) {
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
