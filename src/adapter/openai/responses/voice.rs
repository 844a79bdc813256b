//! A response, or the events of its stream.
//!
//! Items follow each other as the app thinks and speaks: one of reasoning, one of text, and again
//! where it thinks in between. Pieces are written straight into the buffer that goes out; the text
//! of the open item is kept, because the events at its end repeat it.

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::object::{self, Echo, Status};
use crate::adapter::frames;
use crate::adapter::openai::error;
use crate::adapter::voice::Heard;
use crate::adapter::voice::{Begun, Finish, Source, Told, Voice};
use crate::model::GatewayError;

/// Tells one answer to a client of the Responses API.
#[derive(Debug)]
pub struct ResponsesVoice {
    echo: Echo,
    /// Since the answer began.
    begun: Option<Begun>,
    /// The number of the next event.
    sequence: u64,
    /// The items that have ended.
    done: Vec<Value>,
    open: Option<Item>,
    /// Sources that came while no text was open.
    sources: Vec<Source>,
}

/// An item under way.
#[derive(Debug)]
struct Item {
    kind: Kind,
    id: String,
    text: String,
    annotations: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Message,
}

impl Item {
    fn value(&self, status: Status) -> Value {
        match self.kind {
            Kind::Reasoning => object::reasoning(&self.id, status, Some(&self.text)),
            Kind::Message => object::message(&self.id, status, Some(self.part())),
        }
    }

    fn part(&self) -> Value {
        match self.kind {
            Kind::Reasoning => object::summary(&self.text),
            Kind::Message => object::part(&self.text, &self.annotations),
        }
    }
}

impl ResponsesVoice {
    pub(super) fn new(echo: Echo) -> Self {
        Self { echo, begun: None, sequence: 0, done: Vec::new(), open: None, sources: Vec::new() }
    }

    /// An event with its type and its number before its fields.
    fn event(&mut self, kind: &str, fields: Value, out: &mut BytesMut) {
        let mut data = json!({"type": kind, "sequence_number": self.sequence});
        if let (Value::Object(data), Value::Object(fields)) = (&mut data, fields) {
            data.extend(fields);
        }
        self.sequence += 1;
        frames::event(out, kind, &data);
    }

    /// An event of the open item, of which it has one part.
    fn item_event(&mut self, kind: &str, more: Value, out: &mut BytesMut) {
        let Some(open) = &self.open else { return };
        let part = match open.kind {
            Kind::Reasoning => "summary_index",
            Kind::Message => "content_index",
        };
        let mut fields = json!({"item_id": open.id, "output_index": self.done.len(), part: 0});
        if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
            fields.extend(more);
        }
        self.event(kind, fields, out);
    }

    fn delta(&mut self, kind: Kind, text: &str, out: &mut BytesMut) {
        self.open(kind, out);
        let Some(open) = &mut self.open else { return };
        open.text.push_str(text);
        let (start, part, end): (&[u8], &[u8], &[u8]) = match kind {
            Kind::Reasoning => (
                b"event: response.reasoning_summary_text.delta\n\
                  data: {\"type\":\"response.reasoning_summary_text.delta\",\"sequence_number\":",
                b",\"summary_index\":0,\"delta\":",
                b"}\n\n",
            ),
            Kind::Message => (
                b"event: response.output_text.delta\n\
                  data: {\"type\":\"response.output_text.delta\",\"sequence_number\":",
                b",\"content_index\":0,\"delta\":",
                b",\"logprobs\":[]}\n\n",
            ),
        };
        out.extend_from_slice(start);
        frames::number(out, self.sequence);
        out.extend_from_slice(b",\"item_id\":");
        frames::json(out, &open.id);
        out.extend_from_slice(b",\"output_index\":");
        frames::json(out, &self.done.len());
        out.extend_from_slice(part);
        frames::json(out, text);
        out.extend_from_slice(end);
        self.sequence += 1;
    }

    /// Begins an item, unless it is open already.
    fn open(&mut self, kind: Kind, out: &mut BytesMut) {
        if self.open.as_ref().is_some_and(|open| open.kind == kind) {
            return;
        }
        self.close(Status::Completed, out);
        let id = self.new_id(kind);
        let (item, part_event) = match kind {
            Kind::Reasoning => (
                object::reasoning(&id, Status::InProgress, None),
                "response.reasoning_summary_part.added",
            ),
            Kind::Message => {
                (object::message(&id, Status::InProgress, None), "response.content_part.added")
            }
        };
        let added = json!({"output_index": self.done.len(), "item": item});
        self.event("response.output_item.added", added, out);
        let open = Item { kind, id, text: String::new(), annotations: Vec::new() };
        let part = open.part();
        self.open = Some(open);
        self.item_event(part_event, json!({"part": part}), out);
        if kind == Kind::Message && !self.sources.is_empty() {
            let sources = std::mem::take(&mut self.sources);
            self.annotate(&sources, out);
        }
    }

    /// The first item of a kind has the answer's id, later ones their place as well.
    fn new_id(&self, kind: Kind) -> String {
        let (prefix, name) = match kind {
            Kind::Reasoning => ("rs_", "reasoning"),
            Kind::Message => ("msg_", "message"),
        };
        let hex = self.begun.as_ref().map(object::hex).unwrap_or_default();
        if self.done.iter().any(|item| item["type"] == name) {
            format!("{prefix}{hex}_{}", self.done.len())
        } else {
            format!("{prefix}{hex}")
        }
    }

    /// Ends the open item, if there is one.
    fn close(&mut self, status: Status, out: &mut BytesMut) {
        let Some(open) = &self.open else { return };
        let (text, part, item) = (open.text.clone(), open.part(), open.value(status));
        match open.kind {
            Kind::Reasoning => {
                let kind = "response.reasoning_summary_text.done";
                self.item_event(kind, json!({"text": text}), out);
                let kind = "response.reasoning_summary_part.done";
                self.item_event(kind, json!({"part": part}), out);
            }
            Kind::Message => {
                let whole = json!({"text": text, "logprobs": []});
                self.item_event("response.output_text.done", whole, out);
                self.item_event("response.content_part.done", json!({"part": part}), out);
            }
        }
        let done = json!({"output_index": self.done.len(), "item": item.clone()});
        self.event("response.output_item.done", done, out);
        self.open = None;
        self.done.push(item);
    }

    /// Sources of the open text.
    fn annotate(&mut self, sources: &[Source], out: &mut BytesMut) {
        let Some(open) = &self.open else { return };
        let first = open.annotations.len();
        let new = object::annotations(sources, &open.text);
        for (at, annotation) in (first..).zip(&new) {
            let added = json!({"annotation_index": at, "annotation": annotation});
            self.item_event("response.output_text.annotation.added", added, out);
        }
        if let Some(open) = &mut self.open {
            open.annotations.extend(new);
        }
    }

    fn has_message(&self) -> bool {
        let is_open = self.open.as_ref().is_some_and(|open| open.kind == Kind::Message);
        is_open || self.done.iter().any(|item| item["type"] == "message")
    }
}

impl Voice for ResponsesVoice {
    fn begin(&mut self, begun: &Begun, out: &mut BytesMut) {
        let response = object::response(begun, &self.echo, Status::InProgress, Vec::new());
        self.begun = Some(begun.clone());
        self.event("response.created", json!({"response": response.clone()}), out);
        self.event("response.in_progress", json!({"response": response}), out);
    }

    fn say(&mut self, heard: &Heard, out: &mut BytesMut) {
        match heard {
            Heard::Text(text) => self.delta(Kind::Message, text, out),
            Heard::Reasoning(text) | Heard::Progress(text) => {
                self.delta(Kind::Reasoning, text, out);
            }
            Heard::Sources(sources) => match &self.open {
                Some(open) if open.kind == Kind::Message => self.annotate(sources, out),
                _ => self.sources.extend_from_slice(sources),
            },
            Heard::StillRunning => self.still_here(out),
        }
    }

    fn end(&mut self, told: &Told, out: &mut BytesMut) {
        let status = Status::of(told.finish);
        if !self.has_message() {
            self.open(Kind::Message, out);
        }
        self.close(status, out);
        let begun = self.begun.take().unwrap_or_default();
        let output = std::mem::take(&mut self.done);
        let mut response = object::ended(&begun, &self.echo, told, output);
        let kind = match told.finish {
            Finish::Stop | Finish::StopText => "response.completed",
            Finish::Filtered => {
                // What has gone out cannot be taken back, but the client may put this in its place.
                response["x_dify"]["replaced_by"] = told.text.as_str().into();
                "response.incomplete"
            }
        };
        self.event(kind, json!({"response": response}), out);
    }

    fn fail(&mut self, fault: &GatewayError, _told: &Told, out: &mut BytesMut) {
        let Some(begun) = self.begun.take() else {
            // There is no response yet that could have failed.
            let error = json!({
                "code": error::code(fault),
                "message": fault.message,
                "param": fault.param,
            });
            return self.event("error", error, out);
        };
        let mut output = std::mem::take(&mut self.done);
        output.extend(self.open.take().map(|open| open.value(Status::Incomplete)));
        let response = object::failed(&begun, &self.echo, fault, output);
        self.event("response.failed", json!({"response": response}), out);
    }

    fn still_here(&mut self, out: &mut BytesMut) {
        frames::comment(out);
    }

    fn whole(&mut self, begun: &Begun, told: &Told) -> Bytes {
        let (hex, mut output) = (object::hex(begun), Vec::new());
        if !told.reasoning.is_empty() {
            let text = Some(told.reasoning.as_str());
            output.push(object::reasoning(&format!("rs_{hex}"), Status::Completed, text));
        }
        let part = object::part(&told.text, &object::annotations(&told.sources, &told.text));
        let status = Status::of(told.finish);
        output.push(object::message(&format!("msg_{hex}"), status, Some(part)));
        Bytes::from(object::ended(begun, &self.echo, told, output).to_string())
    }
}
