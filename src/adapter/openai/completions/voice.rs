//! Answers of completions: a `text_completion`, whole or in chunks. There is no field for
//! reasoning, so it is left out.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;

use crate::adapter::frames::{comment, json as push};
use crate::adapter::openai::chunks::{Chunks, fail, finish_reason, usage};
use crate::adapter::openai::extra;
use crate::adapter::voice::Heard;
use crate::adapter::voice::{Begun, Told, Voice};
use crate::model::GatewayError;

const OBJECT: &str = "text_completion";

/// Speaks the protocol of completions.
#[derive(Debug)]
pub struct CompletionsVoice {
    chunks: Chunks,
}

impl CompletionsVoice {
    /// A voice that tells the usage at the end of a stream or does not.
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

impl Voice for CompletionsVoice {
    fn begin(&mut self, begun: &Begun, out: &mut BytesMut) {
        self.chunks.begin(&id(begun), OBJECT, begun);
        self.chunk("", None, out);
        self.chunks.close(extra::of_begin(begun).as_ref(), out);
    }

    fn say(&mut self, heard: &Heard, out: &mut BytesMut) {
        match heard {
            Heard::Text(text) => {
                self.chunk(text, None, out);
                self.chunks.close(None, out);
            }
            Heard::Reasoning(_) => {}
            Heard::Sources(sources) => {
                self.chunk("", None, out);
                self.chunks.close(Some(&extra::of_sources(sources)), out);
            }
            Heard::Progress(_) | Heard::StillRunning => comment(out),
        }
    }

    fn end(&mut self, told: &Told, out: &mut BytesMut) {
        self.chunk("", Some(finish_reason(told.finish)), out);
        self.chunks.close(extra::of_end(told).as_ref(), out);
        self.chunks.end(told, out);
    }

    fn fail(&mut self, fault: &GatewayError, _told: &Told, out: &mut BytesMut) {
        fail(fault, out);
    }

    fn still_here(&mut self, out: &mut BytesMut) {
        comment(out);
    }

    fn whole(&mut self, begun: &Begun, told: &Told) -> Bytes {
        let mut answer = json!({
            "id": id(begun),
            "object": OBJECT,
            "created": begun.created_s,
            "model": begun.model,
            "choices": [{
                "text": told.text,
                "index": 0,
                "logprobs": null,
                "finish_reason": finish_reason(told.finish),
            }],
            "usage": told.usage.as_ref().map(usage),
            "system_fingerprint": null,
        });
        extra::add(&mut answer, begun, told);
        Bytes::from(answer.to_string())
    }
}

fn id(begun: &Begun) -> String {
    format!("cmpl-{}", begun.id)
}
