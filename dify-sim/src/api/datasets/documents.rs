//! Documents made of texts, and their one segment each.

use super::Desk;
use crate::clock::now;
use crate::db::{Dataset, Document};
use crate::wire::answer::{Answer, Refused};
use serde_json::{Value, json};
use uuid::Uuid;

/// What a document says about its indexing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Done,
}

pub(super) fn create(desk: &Desk<'_>, dataset: &mut Dataset) -> Result<Answer, Refused> {
    dataset.numbered += 1;
    if dataset.technique.is_none() {
        dataset.technique = desk.text("indexing_technique");
    }
    let time = jiff::Timestamp::now();
    let document = Document {
        id: Uuid::new_v4(),
        segment: Uuid::new_v4(),
        node: Uuid::new_v4(),
        upload: Uuid::new_v4(),
        rule: Uuid::new_v4(),
        batch: time.strftime("%Y%m%d%H%M%S%6f").to_string(),
        name: desk.text("name").unwrap_or_default(),
        text: desk.text("text").unwrap_or_default(),
        position: dataset.numbered,
        created_at: now(),
        made_at: time.as_microsecond() as f64 / 1e6,
        asked: false,
    };
    let body = json!({
        "document": shown(desk, &document, Stage::Waiting),
        "batch": document.batch,
    });
    dataset.documents.push(document);
    Ok(Answer::restful(200, &body))
}

pub(super) fn answer(
    desk: &Desk<'_>,
    method: &str,
    dataset_id: Uuid,
    dataset: &mut Dataset,
    rest: &[&str],
) -> Result<Answer, Refused> {
    let gone = || Box::new(Answer::not_found("Document not found."));
    let found = |id: &str| dataset.documents.iter().position(|one| one.id.to_string() == id);
    match (method, rest) {
        ("GET" | "HEAD", []) => {
            let newest_first = dataset.documents.iter().rev().collect();
            Ok(desk.paged(newest_first, |document| shown(desk, document, Stage::Done)))
        }
        ("GET" | "HEAD", [batch, "indexing-status"]) => status(dataset, batch),
        ("GET" | "HEAD", [id]) => {
            let document = &dataset.documents[found(id).ok_or_else(gone)?];
            Ok(Answer::restful(200, &detailed(desk, dataset_id, document)))
        }
        ("DELETE", [id]) => {
            let at = found(id).ok_or_else(gone)?;
            dataset.documents.remove(at);
            Ok(Answer::no_content())
        }
        ("GET" | "HEAD", [id, "segments"]) => {
            let at = found(id).ok_or_else(gone)?;
            Ok(segments(desk, dataset, at))
        }
        _ => Err(Box::new(Answer::no_route())),
    }
}

fn upload(desk: &Desk<'_>, document: &Document) -> Value {
    json!({
        "id": document.upload.to_string(),
        "name": document.name,
        "size": document.text.len(),
        "extension": "txt",
        "mime_type": "text/plain",
        "created_by": desk.shared.account.to_string(),
        "created_at": document.made_at,
    })
}

fn shown(desk: &Desk<'_>, document: &Document, stage: Stage) -> Value {
    let done = stage == Stage::Done;
    json!({
        "id": document.id.to_string(),
        "position": document.position,
        "data_source_type": "upload_file",
        "data_source_info": {"upload_file_id": document.upload.to_string()},
        "data_source_detail_dict": {"upload_file": upload(desk, document)},
        "dataset_process_rule_id": document.rule.to_string(),
        "name": document.name,
        "created_from": "api",
        "created_by": desk.shared.account.to_string(),
        "created_at": document.created_at,
        "tokens": done.then_some(0),
        "indexing_status": if done { "completed" } else { "waiting" },
        "error": null,
        "enabled": true,
        "disabled_at": null,
        "disabled_by": null,
        "archived": false,
        "display_status": if done { "available" } else { "queuing" },
        "word_count": done.then(|| document.text.chars().count()),
        "hit_count": 0,
        "doc_form": "text_model",
        "doc_metadata": [],
        "summary_index_status": null,
        "need_summary": false,
    })
}

fn detailed(desk: &Desk<'_>, dataset: Uuid, document: &Document) -> Value {
    let rules = json!({
        "pre_processing_rules": [
            {"id": "remove_extra_spaces", "enabled": true},
            {"id": "remove_urls_emails", "enabled": false},
        ],
        "segmentation": {"delimiter": "\n", "max_tokens": 500, "chunk_overlap": 50},
    });
    json!({
        "id": document.id.to_string(),
        "position": document.position,
        "data_source_type": "upload_file",
        "data_source_info": {"upload_file": upload(desk, document)},
        "dataset_process_rule_id": document.rule.to_string(),
        "dataset_process_rule": {"mode": "automatic", "rules": rules},
        "document_process_rule": {
            "id": document.rule.to_string(),
            "dataset_id": dataset.to_string(),
            "mode": "automatic",
            "rules": rules,
        },
        "name": document.name,
        "created_from": "api",
        "created_by": desk.shared.account.to_string(),
        "created_at": document.created_at,
        "tokens": 0,
        "indexing_status": "completed",
        "completed_at": document.created_at,
        "updated_at": document.created_at,
        "indexing_latency": 0.001,
        "error": null,
        "enabled": true,
        "disabled_at": null,
        "disabled_by": null,
        "archived": false,
        "doc_type": null,
        "doc_metadata": null,
        "segment_count": 1,
        "average_segment_length": document.text.chars().count(),
        "hit_count": 0,
        "display_status": "available",
        "doc_form": "text_model",
        "doc_language": "English",
        "summary_index_status": null,
        "need_summary": false,
    })
}

/// How far the documents of a batch are.
fn status(dataset: &mut Dataset, batch: &str) -> Result<Answer, Refused> {
    let mut data = Vec::new();
    for document in dataset.documents.iter_mut().filter(|one| one.batch == batch) {
        let done = std::mem::replace(&mut document.asked, true);
        data.push(json!({
            "id": document.id.to_string(),
            "indexing_status": if done { "completed" } else { "indexing" },
            "processing_started_at": document.created_at,
            "parsing_completed_at": document.created_at,
            "cleaning_completed_at": document.created_at,
            "splitting_completed_at": document.created_at,
            "completed_at": done.then_some(document.created_at),
            "paused_at": null,
            "error": null,
            "stopped_at": null,
            "completed_segments": i32::from(done),
            "total_segments": 1,
        }));
    }
    if data.is_empty() {
        return Err(Box::new(Answer::not_found("Documents not found.")));
    }
    Ok(Answer::restful(200, &json!({"data": data})))
}

fn segments(desk: &Desk<'_>, dataset: &Dataset, at: usize) -> Answer {
    let document = &dataset.documents[at];
    let limit = desk.number("limit", 20);
    let mut segment = super::search::segment(desk, dataset, document);
    segment["sign_content"] = document.text.clone().into();
    let mut whole = serde_json::Map::new();
    for (name, value) in segment.as_object().into_iter().flatten() {
        whole.insert(name.clone(), value.clone());
        if name == "created_at" {
            whole.insert("updated_at".to_owned(), document.created_at.into());
            whole.insert("updated_by".to_owned(), Value::Null);
        }
    }
    let more = json!({"child_chunks": [], "attachments": [], "summary": null});
    whole.extend(more.as_object().cloned().unwrap_or_default());
    let body = json!({
        "data": [whole],
        "doc_form": "text_model",
        "total": 1,
        "has_more": false,
        "limit": limit,
        "page": 1,
    });
    Answer::restful(200, &body)
}
