//! Answers of completions: a `text_completion`, whole or in chunks. There is no field for
//! reasoning, so it is left out.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;

use crate::adapter::frames::{comment, json as push};
use crate::adapter::openai::chunks::{Chunks, fail, finish_reason, usage};
use crate::adapter::openai::x_dify;
use crate::adapter::response_encoder::AppEvent;
use crate::adapter::response_encoder::{ResponseEncoder, ResponseStart, ResponseSummary};
use crate::model::GatewayError;

const OBJECT: &str = "text_completion";

/// Speaks the protocol of completions.
#[derive(Debug)]
pub struct CompletionsEncoder {
    chunks: Chunks,
}

impl CompletionsEncoder {
    /// `with_usage`: the usage ends a stream.
    pub(super) fn new(with_usage: bool) -> Self {
        Self { chunks: Chunks::new(with_usage) }
    }

    /// A chunk of this text, and why it is the last, if it is.
    fn chunk(&self, text: &str, finish: Option<&str>, out: &mut BytesMut) {
        self.chunks.open(out);
        out.put_slice(b"{\"text\":");
        push(out, text);
        out.put_slice(b",\"index\":0,\"logprobs\":null,\"finish_reason\":");
        push(out, &finish);
        out.put_slice(b"}");
    }
}

impl ResponseEncoder for CompletionsEncoder {
    fn start(&mut self, start: &ResponseStart, out: &mut BytesMut) {
        self.chunks.start(&id(start), OBJECT, start);
        self.chunk("", None, out);
        self.chunks.close(x_dify::of_begin(start).as_ref(), out);
    }

    fn encode(&mut self, event: &AppEvent, out: &mut BytesMut) {
        match event {
            AppEvent::Text(text) => {
                self.chunk(text, None, out);
                self.chunks.close(None, out);
            }
            AppEvent::Reasoning(_) => {}
            AppEvent::Sources(sources) => {
                self.chunk("", None, out);
                self.chunks.close(Some(&x_dify::of_sources(sources)), out);
            }
            AppEvent::Progress(_) | AppEvent::Ping => comment(out),
        }
    }

    fn finish(&mut self, summary: &ResponseSummary, out: &mut BytesMut) {
        self.chunk("", Some(finish_reason(summary.finish)), out);
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
        let mut answer = json!({
            "id": id(start),
            "object": OBJECT,
            "created": start.created_s,
            "model": start.model,
            "choices": [{
                "text": summary.text,
                "index": 0,
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
    format!("cmpl-{}", start.id)
}
