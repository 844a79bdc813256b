//! Answers of a chat: one `chat.completion`, or a stream of `chat.completion.chunk`.
//!
//! Two fields are not OpenAI's, and its clients keep them: `reasoning_content`, which many chat
//! programs read, and `x_dify`.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use crate::adapter::frames::{comment, json as push};
use crate::adapter::openai::chunks::{Chunks, fail, finish_reason, usage};
use crate::adapter::openai::extra;
use crate::adapter::voice::Heard;
use crate::adapter::voice::{Begun, Source, Told, Voice};
use crate::model::GatewayError;

/// What stands between a chunk's beginning and its delta.
const DELTA: &[u8] = b"{\"index\":0,\"delta\":";

/// What stands after a delta that is not the last.
const GOES_ON: &[u8] = b",\"logprobs\":null,\"finish_reason\":null}";

/// Speaks the protocol of chat completions.
#[derive(Debug)]
pub struct ChatVoice {
    chunks: Chunks,
    /// How much of the answer went out, as annotations count.
    said_chars: usize,
}

impl ChatVoice {
    /// A voice that tells the usage at the end of a stream or does not.
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

impl Voice for ChatVoice {
    fn begin(&mut self, begun: &Begun, out: &mut BytesMut) {
        self.chunks.begin(&id(begun), "chat.completion.chunk", begun);
        self.chunk(extra::of_begin(begun).as_ref(), out, |out| {
            out.put_slice(b"{\"role\":\"assistant\",\"content\":\"\"}");
        });
    }

    fn say(&mut self, heard: &Heard, out: &mut BytesMut) {
        match heard {
            Heard::Text(text) => {
                self.said_chars += text.chars().count();
                self.text(b"content", text, out);
            }
            Heard::Reasoning(text) | Heard::Progress(text) => {
                self.text(b"reasoning_content", text, out);
            }
            Heard::Sources(sources) => {
                let mut delta = Map::new();
                add_annotations(&mut delta, sources, self.said_chars);
                self.chunk(Some(&extra::of_sources(sources)), out, |out| {
                    push(out, &delta);
                });
            }
            Heard::StillRunning => comment(out),
        }
    }

    fn end(&mut self, told: &Told, out: &mut BytesMut) {
        self.chunks.open(out);
        out.put_slice(DELTA);
        out.put_slice(b"{},\"logprobs\":null,\"finish_reason\":");
        push(out, finish_reason(told.finish));
        out.put_slice(b"}");
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
        let mut message = Map::new();
        message.insert("role".into(), "assistant".into());
        message.insert("content".into(), told.text.as_str().into());
        message.insert("refusal".into(), Value::Null);
        if !told.reasoning.is_empty() {
            message.insert("reasoning_content".into(), told.reasoning.as_str().into());
        }
        add_annotations(&mut message, &told.sources, told.text.chars().count());
        let mut answer = json!({
            "id": id(begun),
            "object": "chat.completion",
            "created": begun.created_s,
            "model": begun.model,
            "choices": [{
                "index": 0,
                "message": message,
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
    format!("chatcmpl-{}", begun.id)
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
