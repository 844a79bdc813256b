//! `POST /v1/messages`: the answer, as events or as one message.
//!
//! Each piece is written straight into the buffer that goes out. Blocks follow each other as the
//! app thinks and speaks: one of thinking, one of text, and again where it thinks in between.
//!
//! Beyond the protocol, `x_dify` has Dify's conversation, the sources of the answer, where the usage
//! comes from and what an answer was replaced by; the SDKs keep fields that they do not know.

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::error;
use crate::adapter::frames;
use crate::adapter::response_encoder::AppEvent;
use crate::adapter::response_encoder::{
    FinishReason, ResponseEncoder, ResponseStart, ResponseSummary,
};
use crate::dify::response_body::Usage;
use crate::model::GatewayError;

/// Encodes one response for an Anthropic client.
#[derive(Debug)]
pub struct MessagesEncoder {
    /// Whether thinking is sent.
    thinks: bool,
    stops: Vec<String>,
    has_started: bool,
    open: Option<Block>,
    /// Of the open block, or else of the next.
    index: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
}

impl MessagesEncoder {
    /// `thinks`: the client wants thinking blocks; `stops`: its `stop_sequences`.
    pub(super) fn new(thinks: bool, stops: Vec<String>) -> Self {
        Self { thinks, stops, has_started: false, open: None, index: 0 }
    }

    fn text(&mut self, text: &str, out: &mut BytesMut) {
        self.open(Block::Text, out);
        self.delta(r#"{"type":"text_delta","text":"#, text, out);
    }

    fn thinking(&mut self, text: &str, out: &mut BytesMut) {
        self.open(Block::Thinking, out);
        self.delta(r#"{"type":"thinking_delta","thinking":"#, text, out);
    }

    fn delta(&self, start: &str, text: &str, out: &mut BytesMut) {
        out.extend_from_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
        );
        frames::number(out, self.index);
        out.extend_from_slice(b",\"delta\":");
        out.extend_from_slice(start.as_bytes());
        frames::json(out, text);
        out.extend_from_slice(b"}}\n\n");
    }

    /// Begins a block, unless it is open already.
    fn open(&mut self, block: Block, out: &mut BytesMut) {
        if self.open == Some(block) {
            return;
        }
        self.close(out);
        self.open = Some(block);
        let empty = match block {
            Block::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Block::Text => json!({"type": "text", "text": ""}),
        };
        let start =
            json!({"type": "content_block_start", "index": self.index, "content_block": empty});
        frames::event(out, "content_block_start", &start);
    }

    /// Ends the open block, if there is one.
    fn close(&mut self, out: &mut BytesMut) {
        let Some(block) = self.open.take() else { return };
        if block == Block::Thinking {
            // Nobody signed it; clients send it back, and it is passed over then.
            self.delta(r#"{"type":"signature_delta","signature":"#, "", out);
        }
        let stop = json!({"type": "content_block_stop", "index": self.index});
        frames::event(out, "content_block_stop", &stop);
        self.index += 1;
    }

    /// `stop_reason` and `stop_sequence`. Which of several texts came is not known.
    fn ending(&self, finish: FinishReason) -> (&'static str, Option<&str>) {
        match finish {
            FinishReason::Stop => ("end_turn", None),
            FinishReason::Filtered => ("refusal", None),
            FinishReason::StopSequence => match self.stops.as_slice() {
                [only] => ("stop_sequence", Some(only)),
                _ => ("stop_sequence", None),
            },
        }
    }
}

impl ResponseEncoder for MessagesEncoder {
    fn start(&mut self, start: &ResponseStart, out: &mut BytesMut) {
        self.has_started = true;
        let mut message = message(start, Vec::new(), Usage::default());
        add_extra(&mut message, conversation(start));
        frames::event(out, "message_start", &json!({"type": "message_start", "message": message}));
        self.keep_alive(out);
    }

    fn encode(&mut self, event: &AppEvent, out: &mut BytesMut) {
        match event {
            AppEvent::Text(text) => self.text(text, out),
            AppEvent::Reasoning(text) | AppEvent::Progress(text) if self.thinks => {
                self.thinking(text, out);
            }
            // Thinking that nobody asked for still shows that the app is alive.
            AppEvent::Reasoning(_) | AppEvent::Progress(_) | AppEvent::Ping => self.keep_alive(out),
            // They are sent at the end, all together.
            AppEvent::Sources(_) => {}
        }
    }

    fn finish(&mut self, summary: &ResponseSummary, out: &mut BytesMut) {
        if self.index == 0 && self.open.is_none() {
            self.open(Block::Text, out);
        }
        self.close(out);
        let (reason, text) = self.ending(summary.finish);
        let mut delta = json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": text},
            "usage": usage(summary.usage.unwrap_or_default()),
        });
        let mut extra = ended(summary);
        if summary.finish == FinishReason::Filtered {
            // What has gone out cannot be taken back, but the client may put this in its place.
            extra.insert("replaced_by".to_owned(), summary.text.as_str().into());
        }
        add_extra(&mut delta, extra);
        frames::event(out, "message_delta", &delta);
        frames::event(out, "message_stop", &json!({"type": "message_stop"}));
    }

    fn fail(&mut self, error: &GatewayError, _told: &ResponseSummary, out: &mut BytesMut) {
        frames::event(out, "error", &error::value(error));
    }

    fn keep_alive(&mut self, out: &mut BytesMut) {
        if self.has_started {
            frames::event(out, "ping", &json!({"type": "ping"}));
        } else {
            // Clients may take `message_start` for the first event of all.
            frames::comment(out);
        }
    }

    fn json_body(&mut self, start: &ResponseStart, summary: &ResponseSummary) -> Bytes {
        let mut content = Vec::new();
        if self.thinks && !summary.reasoning.is_empty() {
            let thinking = summary.reasoning.as_str();
            content.push(json!({"type": "thinking", "thinking": thinking, "signature": ""}));
        }
        content.push(json!({"type": "text", "text": summary.text}));
        let mut message = message(start, content, summary.usage.unwrap_or_default());
        let (reason, text) = self.ending(summary.finish);
        message["stop_reason"] = reason.into();
        message["stop_sequence"] = text.into();
        let mut extra = conversation(start);
        extra.extend(ended(summary));
        add_extra(&mut message, extra);
        Bytes::from(message.to_string())
    }
}

/// A message that has not ended.
fn message(start: &ResponseStart, content: Vec<Value>, counted: Usage) -> Value {
    json!({
        "id": format!("msg_{}", start.id.replace('-', "")),
        "type": "message",
        "role": "assistant",
        "model": start.model,
        "content": content,
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage(counted),
    })
}

/// Of workflows Dify may say only the total, which is sent as output: there is no better field.
fn usage(counted: Usage) -> Value {
    let output =
        if knows_total_only(counted) { counted.total_tokens } else { counted.completion_tokens };
    json!({
        "input_tokens": counted.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output,
    })
}

fn knows_total_only(counted: Usage) -> bool {
    counted.prompt_tokens + counted.completion_tokens == 0 && counted.total_tokens > 0
}

/// Adds `x_dify`, if there is anything to say in it.
fn add_extra(to: &mut Value, extra: Map<String, Value>) {
    if !extra.is_empty() {
        to["x_dify"] = extra.into();
    }
}

fn conversation(start: &ResponseStart) -> Map<String, Value> {
    let id = start.conversation.as_deref();
    id.map(|id| ("conversation_id".to_owned(), id.into())).into_iter().collect()
}

/// What is known at the end.
fn ended(summary: &ResponseSummary) -> Map<String, Value> {
    let mut extra = Map::new();
    if !summary.sources.is_empty() {
        let raw = summary.sources.iter().map(|source| source.raw.clone()).collect();
        extra.insert("retriever_resources".to_owned(), raw);
    }
    if !summary.forms.is_empty() {
        extra.insert("human_input".to_owned(), summary.forms.as_slice().into());
    }
    if let Some(counted) = summary.usage {
        let source = if knows_total_only(counted) { "workflow_total" } else { "dify" };
        extra.insert("usage_source".to_owned(), source.into());
    }
    extra
}
