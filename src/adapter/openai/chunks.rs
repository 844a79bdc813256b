//! Chunks of a stream in the style of OpenAI, written straight into the buffer that goes out.
//!
//! All chunks of an answer have the same beginning; it is written once.

use bytes::{BufMut, BytesMut};
use serde_json::{Value, json};

use super::error;
use crate::adapter::frames::json as push;
use crate::adapter::response_encoder::{FinishReason, ResponseStart, ResponseSummary};
use crate::dify::response_body::Usage;
use crate::model::GatewayError;

/// The last frame of an answer that is whole.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// What all chunks of an answer have in common.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Up to where the choices begin.
    head: Vec<u8>,
    /// The other chunks have a `usage` of null, and one more at the end has the usage.
    with_usage: bool,
}

impl Chunks {
    pub(super) fn new(with_usage: bool) -> Self {
        Self { head: Vec::new(), with_usage }
    }

    /// The answer begins: `id` and `object` are those of its chunks.
    pub(super) fn start(&mut self, id: &str, object: &str, start: &ResponseStart) {
        let mut head = BytesMut::from(&b"data: {\"id\":"[..]);
        push(&mut head, id);
        head.put_slice(b",\"object\":");
        push(&mut head, object);
        head.put_slice(b",\"created\":");
        push(&mut head, &start.created_s);
        head.put_slice(b",\"model\":");
        push(&mut head, &start.model);
        head.put_slice(b",\"system_fingerprint\":null,\"choices\":[");
        self.head = head.to_vec();
    }

    /// The beginning of a chunk, up to where its choice is written.
    pub(super) fn open(&self, out: &mut BytesMut) {
        out.put_slice(&self.head);
    }

    /// The end of a chunk, after its choice.
    pub(super) fn close(&self, extra: Option<&Value>, out: &mut BytesMut) {
        out.put_slice(if self.with_usage { b"],\"usage\":null" } else { b"]" });
        if let Some(extra) = extra {
            out.put_slice(b",\"x_dify\":");
            push(out, extra);
        }
        out.put_slice(b"}\n\n");
    }

    /// The chunk of usage, where it is wanted and known, and the end.
    pub(super) fn finish(&self, summary: &ResponseSummary, out: &mut BytesMut) {
        if let (true, Some(used)) = (self.with_usage, &summary.usage) {
            self.open(out);
            out.put_slice(b"],\"usage\":");
            push(out, &usage(used));
            out.put_slice(b",\"x_dify\":");
            push(out, &json!({"usage_source": usage_source(used)}));
            out.put_slice(b"}\n\n");
        }
        out.put_slice(DONE);
    }
}

/// The frame of a failure. No `[DONE]` may follow.
pub(super) fn fail(error: &GatewayError, out: &mut BytesMut) {
    out.put_slice(b"data: ");
    push(out, &error::value(error));
    out.put_slice(b"\n\n");
}

/// OpenAI's `usage`.
pub(super) fn usage(used: &Usage) -> Value {
    json!({
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.total_tokens,
    })
}

/// Where the counts come from: a workflow may know its total only.
pub(super) fn usage_source(used: &Usage) -> &'static str {
    let parts = used.prompt_tokens + used.completion_tokens;
    if parts == 0 && used.total_tokens > 0 { "workflow_total" } else { "dify" }
}

/// OpenAI's `finish_reason`.
pub(super) fn finish_reason(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop | FinishReason::StopSequence => "stop",
        FinishReason::Filtered => "content_filter",
    }
}
