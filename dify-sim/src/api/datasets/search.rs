//! Searches in a dataset: documents that share a word with the question.

use super::Desk;
use crate::db::{Dataset, Document};
use crate::pyjson;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Records that a search gives.
const MOST: usize = 2;
/// Words that are no keywords.
const STOP_WORDS: [&str; 9] = ["the", "a", "an", "over", "about", "another", "of", "and", "in"];

/// Words of a text in small letters.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn keywords(text: &str) -> Vec<String> {
    let mut keywords = words(text);
    keywords.retain(|word| !STOP_WORDS.contains(&word.as_str()));
    keywords.dedup();
    keywords
}

/// What the index calls a text; Dify adds the word itself.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(format!("{text}None").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether documents are found by keywords; else by likeness, which counts tokens.
fn is_economy(dataset: &Dataset) -> bool {
    dataset.technique.as_deref() != Some("high_quality")
}

/// The one segment of a document.
pub(super) fn segment(desk: &Desk<'_>, dataset: &Dataset, document: &Document) -> Value {
    let economy = is_economy(dataset);
    let keywords = if economy { keywords(&document.text) } else { Vec::new() };
    // A word and a half for each four letters, or so a tokenizer would say.
    let tokens = if economy { 0 } else { words(&document.text).len() + 2 };
    json!({
        "id": document.segment.to_string(),
        "position": 1,
        "document_id": document.id.to_string(),
        "content": document.text,
        "sign_content": null,
        "answer": null,
        "word_count": document.text.chars().count(),
        "tokens": tokens,
        "keywords": keywords,
        "index_node_id": document.node.to_string(),
        "index_node_hash": hash(&document.text),
        "hit_count": 0,
        "enabled": true,
        "disabled_at": null,
        "disabled_by": null,
        "status": "completed",
        "created_by": desk.shared.account.to_string(),
        "created_at": document.created_at,
        "indexing_at": document.created_at,
        "completed_at": document.created_at,
        "error": null,
        "stopped_at": null,
    })
}

pub(super) fn search(desk: &Desk<'_>, dataset: &Dataset) -> Result<Answer, Refused> {
    let query = desk.json.get("query").map(pyjson::str_of).unwrap_or_default();
    let asked = words(&query);
    let like = |text: &str| {
        let known = words(text);
        let shared = asked.iter().filter(|word| known.contains(word)).count();
        shared as f64 / asked.len().max(1) as f64
    };
    let economy = is_economy(dataset);
    let mut found: Vec<(f64, &Document)> =
        dataset.documents.iter().map(|document| (like(&document.text), document)).collect();
    found.retain(|(score, _)| *score > 0.0);
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    let records: Vec<Value> = found
        .into_iter()
        .take(MOST)
        .map(|(score, document)| {
            let mut segment = segment(desk, dataset, document);
            segment["document"] = json!({
                "id": document.id.to_string(),
                "data_source_type": "upload_file",
                "name": document.name,
                "doc_type": null,
                "doc_metadata": null,
            });
            json!({
                "segment": segment,
                "child_chunks": [],
                "score": if economy { 0.0 } else { score },
                "tsne_position": null,
                "files": [],
                "summary": null,
            })
        })
        .collect();
    let body = json!({"query": {"content": query}, "records": records});
    Ok(Answer::restful(200, &body))
}
