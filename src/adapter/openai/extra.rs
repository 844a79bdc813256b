//! `x_dify`: what Dify says and OpenAI's answers have no field for. OpenAI's clients keep fields that
//! they do not know.

use serde_json::{Map, Value, json};

use super::chunks::usage_source;
use crate::adapter::voice::{Begun, Finish, Source, Told};

/// With the first chunk of a stream.
pub(super) fn of_begin(begun: &Begun) -> Option<Value> {
    begun.conversation.as_ref().map(|id| json!({"conversation_id": id}))
}

/// With the chunk that tells of documents.
pub(super) fn of_sources(sources: &[Source]) -> Value {
    json!({"retriever_resources": raw(sources)})
}

/// With the chunk that ends a stream: what has gone out cannot be taken back, but the client may
/// put this in its place.
pub(super) fn of_end(told: &Told) -> Option<Value> {
    let mut extra = Map::new();
    if told.finish == Finish::Filtered {
        extra.insert("replaced_by".into(), told.text.as_str().into());
    }
    add_forms(&mut extra, told);
    (!extra.is_empty()).then(|| extra.into())
}

/// Adds all of it to an answer that is whole.
pub(super) fn add(answer: &mut Value, begun: &Begun, told: &Told) {
    let mut extra = Map::new();
    if let Some(conversation) = &begun.conversation {
        extra.insert("conversation_id".into(), conversation.as_str().into());
    }
    if !told.sources.is_empty() {
        extra.insert("retriever_resources".into(), raw(&told.sources));
    }
    add_forms(&mut extra, told);
    if let Some(used) = &told.usage {
        extra.insert("usage_source".into(), usage_source(used).into());
    }
    if !extra.is_empty() {
        answer["x_dify"] = extra.into();
    }
}

/// Forms that the run waits for.
fn add_forms(extra: &mut Map<String, Value>, told: &Told) {
    if !told.forms.is_empty() {
        extra.insert("human_input".into(), told.forms.as_slice().into());
    }
}

fn raw(sources: &[Source]) -> Value {
    sources.iter().map(|source| source.raw.clone()).collect()
}
