//! A response, or the events of its stream.
//!
//! Items follow each other as the app thinks and speaks: one of reasoning, one of text, and again
//! where it thinks in between. Pieces are written straight into the buffer that goes out; the text
//! of the open item is kept, because the events at its end repeat it.

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::response_object::{self, Echo, Status};
use crate::adapter::frames;
use crate::adapter::openai::error;
use crate::adapter::response_encoder::AppEvent;
use crate::adapter::response_encoder::{
    FinishReason, ResponseEncoder, ResponseStart, ResponseSummary, Source,
};
use crate::model::GatewayError;

/// Encodes one response of the Responses API.
#[derive(Debug)]
pub struct ResponsesEncoder {
    echo: Echo,
    /// Since the answer began.
    start: Option<ResponseStart>,
    /// The number of the next event.
    sequence: u64,
    done: Vec<Value>,
    open: Option<Item>,
    /// Sources that came while no text was open.
    sources: Vec<Source>,
}

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
            Kind::Reasoning => response_object::reasoning(&self.id, status, Some(&self.text)),
            Kind::Message => response_object::message(&self.id, status, Some(self.part())),
        }
    }

    fn part(&self) -> Value {
        match self.kind {
            Kind::Reasoning => response_object::summary(&self.text),
            Kind::Message => response_object::part(&self.text, &self.annotations),
        }
    }
}

impl ResponsesEncoder {
    pub(super) fn new(echo: Echo) -> Self {
        Self { echo, start: None, sequence: 0, done: Vec::new(), open: None, sources: Vec::new() }
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
                response_object::reasoning(&id, Status::InProgress, None),
                "response.reasoning_summary_part.added",
            ),
            Kind::Message => (
                response_object::message(&id, Status::InProgress, None),
                "response.content_part.added",
            ),
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
        let hex = self.start.as_ref().map(response_object::hex).unwrap_or_default();
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
        let new = response_object::annotations(sources, &open.text);
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

impl ResponseEncoder for ResponsesEncoder {
    fn start(&mut self, start: &ResponseStart, out: &mut BytesMut) {
        let response = response_object::response(start, &self.echo, Status::InProgress, Vec::new());
        self.start = Some(start.clone());
        self.event("response.created", json!({"response": response.clone()}), out);
        self.event("response.in_progress", json!({"response": response}), out);
    }

    fn encode(&mut self, event: &AppEvent, out: &mut BytesMut) {
        match event {
            AppEvent::Text(text) => self.delta(Kind::Message, text, out),
            AppEvent::Reasoning(text) | AppEvent::Progress(text) => {
                self.delta(Kind::Reasoning, text, out);
            }
            AppEvent::Sources(sources) => match &self.open {
                Some(open) if open.kind == Kind::Message => self.annotate(sources, out),
                _ => self.sources.extend_from_slice(sources),
            },
            AppEvent::Ping => self.keep_alive(out),
        }
    }

    fn finish(&mut self, summary: &ResponseSummary, out: &mut BytesMut) {
        let status = Status::of(summary.finish);
        if !self.has_message() {
            self.open(Kind::Message, out);
        }
        self.close(status, out);
        let start = self.start.take().unwrap_or_default();
        let output = std::mem::take(&mut self.done);
        let mut response = response_object::ended(&start, &self.echo, summary, output);
        let kind = match summary.finish {
            FinishReason::Stop | FinishReason::StopSequence => "response.completed",
            FinishReason::Filtered => {
                // What has gone out cannot be taken back, but the client may put this in its place.
                response["x_dify"]["replaced_by"] = summary.text.as_str().into();
                "response.incomplete"
            }
        };
        self.event(kind, json!({"response": response}), out);
    }

    fn fail(&mut self, error: &GatewayError, _told: &ResponseSummary, out: &mut BytesMut) {
        let Some(start) = self.start.take() else {
            // There is no response yet that could have failed.
            let error = json!({
                "code": error::code(error),
                "message": error.message,
                "param": error.param,
            });
            return self.event("error", error, out);
        };
        let mut output = std::mem::take(&mut self.done);
        output.extend(self.open.take().map(|open| open.value(Status::Incomplete)));
        let response = response_object::failed(&start, &self.echo, error, output);
        self.event("response.failed", json!({"response": response}), out);
    }

    fn keep_alive(&mut self, out: &mut BytesMut) {
        frames::comment(out);
    }

    fn json_body(&mut self, start: &ResponseStart, summary: &ResponseSummary) -> Bytes {
        let (hex, mut output) = (response_object::hex(start), Vec::new());
        if !summary.reasoning.is_empty() {
            let text = Some(summary.reasoning.as_str());
            output.push(response_object::reasoning(&format!("rs_{hex}"), Status::Completed, text));
        }
        let part = response_object::part(
            &summary.text,
            &response_object::annotations(&summary.sources, &summary.text),
        );
        let status = Status::of(summary.finish);
        output.push(response_object::message(&format!("msg_{hex}"), status, Some(part)));
        Bytes::from(response_object::ended(start, &self.echo, summary, output).to_string())
    }
}
