//! `x_dify`: what Dify says and OpenAI's answers have no field for. OpenAI's clients keep fields that
//! they do not know.

use serde_json::{Map, Value, json};

use super::chunks::usage_source;
use crate::adapter::response_encoder::{FinishReason, ResponseStart, ResponseSummary, Source};

/// With the first chunk of a stream.
pub(super) fn of_begin(start: &ResponseStart) -> Option<Value> {
    start.conversation.as_ref().map(|id| json!({"conversation_id": id}))
}

/// With the chunk that tells of documents.
pub(super) fn of_sources(sources: &[Source]) -> Value {
    json!({"retriever_resources": raw(sources)})
}

/// With the chunk that ends a stream: what has gone out cannot be taken back, but the client may
/// put this in its place.
pub(super) fn of_end(summary: &ResponseSummary) -> Option<Value> {
    let mut extra = Map::new();
    if summary.finish == FinishReason::Filtered {
        extra.insert("replaced_by".into(), summary.text.as_str().into());
    }
    add_forms(&mut extra, summary);
    (!extra.is_empty()).then(|| extra.into())
}

/// Adds all of it to an answer that is whole.
pub(super) fn add(answer: &mut Value, start: &ResponseStart, summary: &ResponseSummary) {
    let mut extra = Map::new();
    if let Some(conversation) = &start.conversation {
        extra.insert("conversation_id".into(), conversation.as_str().into());
    }
    if !summary.sources.is_empty() {
        extra.insert("retriever_resources".into(), raw(&summary.sources));
    }
    add_forms(&mut extra, summary);
    if let Some(used) = &summary.usage {
        extra.insert("usage_source".into(), usage_source(used).into());
    }
    if !extra.is_empty() {
        answer["x_dify"] = extra.into();
    }
}

/// Forms that the run waits for.
fn add_forms(extra: &mut Map<String, Value>, summary: &ResponseSummary) {
    if !summary.forms.is_empty() {
        extra.insert("human_input".into(), summary.forms.as_slice().into());
    }
}

fn raw(sources: &[Source]) -> Value {
    sources.iter().map(|source| source.raw.clone()).collect()
}
