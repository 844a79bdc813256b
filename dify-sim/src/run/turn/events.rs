//! The events of a run.

use super::Turn;
use crate::app::Mode;
use crate::pyjson;
use crate::run::{files, model, usage};
use uuid::Uuid;

impl Turn {
    /// The ids of the app's family of events, without `task_id`.
    pub(super) fn family_ids(&self) -> String {
        match self.app.app.mode {
            Mode::Workflow => format!("\"workflow_run_id\": \"{}\"", self.run),
            Mode::Completion => {
                format!("\"message_id\": \"{}\", \"created_at\": {}", self.message, self.created_at)
            }
            _ => format!(
                "\"conversation_id\": \"{}\", \"message_id\": \"{}\", \"created_at\": {}",
                self.conversation, self.message, self.created_at
            ),
        }
    }

    /// An event with further fields after the ids; `fields` is JSON text without its braces.
    pub(crate) fn event(&self, name: &str, fields: &str) -> String {
        self.written(&format!("{{\"event\": \"{name}\", {}, {fields}}}", self.envelope))
    }

    /// JSON text of Python's style as an event of this release.
    fn written(&self, text: &str) -> String {
        format!("data: {}\n\n", pyjson::rewritten(text, self.release().writes_events()))
    }

    /// An event of a flow, with its `data`.
    pub(crate) fn flow_event(&self, name: &str, data: &str) -> String {
        if self.app.app.mode == Mode::Workflow {
            self.event(name, &format!("\"data\": {data}"))
        } else {
            self.event(name, &format!("\"workflow_run_id\": \"{}\", \"data\": {data}", self.run))
        }
    }

    /// A piece of the answer; `selector` is JSON text.
    pub(crate) fn message_event(&self, answer: &str, selector: &str) -> String {
        let answer = pyjson::quote(answer);
        let fields = format!(
            "\"id\": \"{}\", \"answer\": {answer}, \"from_variable_selector\": {selector}",
            self.message
        );
        self.event("message", &fields)
    }

    /// `message_end`; both are JSON text.
    pub(crate) fn end_event(&self, usage: &str, files: &str) -> String {
        let metadata = usage::metadata(usage, model::sources(&self.query), "null");
        self.end_event_of(&metadata, files)
    }

    /// `message_end` with all its metadata.
    pub(crate) fn end_event_of(&self, metadata: &str, files: &str) -> String {
        self.event(
            "message_end",
            &format!("\"id\": \"{}\", \"metadata\": {metadata}, \"files\": {files}", self.message),
        )
    }

    /// `message_file`: a picture the assistant made.
    pub(crate) fn picture_event(&self) -> String {
        let id = Uuid::new_v4();
        let url = files::signed_url(&self.shared, id);
        self.event(
            "message_file",
            &format!(
                "\"id\": \"{id}\", \"type\": \"image\", \"belongs_to\": \"assistant\", \
                 \"url\": \"{url}\""
            ),
        )
    }

    /// `message_replace`, as moderation of the answer gives it.
    pub(crate) fn replace_event(&self, answer: &str) -> String {
        self.replace_event_for(answer, "output_moderation")
    }

    /// `message_replace` with this reason.
    pub(crate) fn replace_event_for(&self, answer: &str, reason: &str) -> String {
        let answer = pyjson::quote(answer);
        self.event("message_replace", &format!("\"answer\": {answer}, \"reason\": \"{reason}\""))
    }

    /// The `reasoning_chunk` events of a model node, in order.
    pub(crate) fn reasoning_events(&self) -> Vec<String> {
        let pieces = model::REASONING.into_iter().map(|piece| (piece, false));
        let pieces = pieces.chain([("", true)]);
        let message = match self.app.app.mode {
            Mode::Workflow => String::new(),
            _ => format!("\"message_id\": \"{}\", ", self.message),
        };
        let event = |(piece, last): (&str, bool)| {
            let piece = pyjson::quote(piece);
            let data = format!(
                "{{{message}\"reasoning\": {piece}, \"node_id\": \"llm\", \"is_final\": {last}}}"
            );
            self.event("reasoning_chunk", &format!("\"data\": {data}"))
        };
        pieces.map(event).collect()
    }

    /// `error`, which has no `task_id`.
    pub(crate) fn error_event(&self, code: &str, message: &str) -> String {
        self.written(&format!(
            "{{\"event\": \"error\", {}, \"code\": \"{code}\", \"status\": 400, \"message\": {}}}",
            self.family_ids(),
            pyjson::quote(message)
        ))
    }
}
