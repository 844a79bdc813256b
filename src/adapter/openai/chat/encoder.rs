//! Answers of a chat: one `chat.completion`, or a stream of `chat.completion.chunk`.
//!
//! Two fields are not OpenAI's, and its clients keep them: `reasoning_content`, which many chat
//! programs read, and `x_dify`.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use crate::adapter::frames::{comment, json as push};
use crate::adapter::openai::chunks::{Chunks, fail, finish_reason, usage};
use crate::adapter::openai::x_dify;
use crate::adapter::response_encoder::AppEvent;
use crate::adapter::response_encoder::{ResponseEncoder, ResponseStart, ResponseSummary, Source};
use crate::model::GatewayError;

/// What stands between a chunk's beginning and its delta.
const DELTA: &[u8] = b"{\"index\":0,\"delta\":";

/// What stands after a delta that is not the last.
const GOES_ON: &[u8] = b",\"logprobs\":null,\"finish_reason\":null}";

/// Encodes chat completions.
#[derive(Debug)]
pub struct ChatEncoder {
    chunks: Chunks,
    /// How much of the answer went out, as annotations count.
    said_chars: usize,
}

impl ChatEncoder {
    /// `with_usage`: the usage ends a stream.
    pub(super) fn new(with_usage: bool) -> Self {
        Self { chunks: Chunks::new(with_usage), said_chars: 0 }
    }

    /// A chunk with a delta that `write` writes.
    fn chunk(&self, extra: Option<&Value>, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        self.chunks.open(out);
        out.put_slice(DELTA);
        write(out);
        out.put_slice(GOES_ON);
        self.chunks.close(extra, out);
    }

    /// A delta of one text.
    fn text(&self, name: &[u8], text: &str, out: &mut BytesMut) {
        self.chunk(None, out, |out| {
            out.put_slice(b"{\"");
            out.put_slice(name);
            out.put_slice(b"\":");
            push(out, text);
            out.put_slice(b"}");
        });
    }
}

impl ResponseEncoder for ChatEncoder {
    fn start(&mut self, start: &ResponseStart, out: &mut BytesMut) {
        self.chunks.start(&id(start), "chat.completion.chunk", start);
        self.chunk(x_dify::of_begin(start).as_ref(), out, |out| {
            out.put_slice(b"{\"role\":\"assistant\",\"content\":\"\"}");
        });
    }

    fn encode(&mut self, event: &AppEvent, out: &mut BytesMut) {
        match event {
            AppEvent::Text(text) => {
                self.said_chars += text.chars().count();
                self.text(b"content", text, out);
            }
            AppEvent::Reasoning(text) | AppEvent::Progress(text) => {
                self.text(b"reasoning_content", text, out);
            }
            AppEvent::Sources(sources) => {
                let mut delta = Map::new();
                add_annotations(&mut delta, sources, self.said_chars);
                self.chunk(Some(&x_dify::of_sources(sources)), out, |out| {
                    push(out, &delta);
                });
            }
            AppEvent::Ping => comment(out),
        }
    }

    fn finish(&mut self, summary: &ResponseSummary, out: &mut BytesMut) {
        self.chunks.open(out);
        out.put_slice(DELTA);
        out.put_slice(b"{},\"logprobs\":null,\"finish_reason\":");
        push(out, finish_reason(summary.finish));
        out.put_slice(b"}");
        self.chunks.close(x_dify::of_end(summary).as_ref(), out);
        self.chunks.finish(summary, out);
    }

    fn fail(&mut self, error: &GatewayError, _told: &ResponseSummary, out: &mut BytesMut) {
        fail(error, out);
    }

    fn keep_alive(&mut self, out: &mut BytesMut) {
        comment(out);
    }

    fn json_body(&mut self, start: &ResponseStart, summary: &ResponseSummary) -> Bytes {
        let mut message = Map::new();
        message.insert("role".into(), "assistant".into());
        message.insert("content".into(), summary.text.as_str().into());
        message.insert("refusal".into(), Value::Null);
        if !summary.reasoning.is_empty() {
            message.insert("reasoning_content".into(), summary.reasoning.as_str().into());
        }
        add_annotations(&mut message, &summary.sources, summary.text.chars().count());
        let mut answer = json!({
            "id": id(start),
            "object": "chat.completion",
            "created": start.created_s,
            "model": start.model,
            "choices": [{
                "index": 0,
                "message": message,
                "logprobs": null,
                "finish_reason": finish_reason(summary.finish),
            }],
            "usage": summary.usage.as_ref().map(usage),
            "system_fingerprint": null,
        });
        x_dify::add(&mut answer, start, summary);
        Bytes::from(answer.to_string())
    }
}

fn id(start: &ResponseStart) -> String {
    format!("chatcmpl-{}", start.id)
}

/// Adds the documents that can be read on the web. Dify does not say which words rest on which
/// document, so each stands for the whole text.
fn add_annotations(message: &mut Map<String, Value>, sources: &[Source], end: usize) {
    let cited = sources.iter().filter_map(|source| {
        let url = source.url.as_ref()?;
        let citation = json!({
            "start_index": 0,
            "end_index": end,
            "url": url,
            "title": source.title,
        });
        Some(json!({"type": "url_citation", "url_citation": citation}))
    });
    let cited: Vec<_> = cited.collect();
    if !cited.is_empty() {
        message.insert("annotations".into(), cited.into());
    }
}

#[cfg(test)]
mod tests;
