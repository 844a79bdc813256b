//! The knowledge API with a dataset key: datasets, their documents, segments and searches, as far
//! as they were recorded. Nothing here has a user; all ids mean something to their workspace only.
//!
//! Indexing is done at once, but an answer to the request that asked for it does not know yet.
//! Deliberately absent: files as documents, metadata and tags that can be set, child chunks.

mod documents;
mod search;

use super::pydantic::{self, Field, Model, Need, Rule};
use crate::clock::now;
use crate::db::Dataset;
use crate::pyjson;
use crate::state::Shared;
use crate::wire::answer::{Answer, Refused};
use crate::wire::head::Head;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

const CREATE: Model =
    Model { name: "DatasetCreatePayload", fields: &[Field("name", Need::Must, Rule::Any)] };

/// A request to the knowledge API of a workspace.
struct Desk<'a> {
    shared: &'a Arc<Shared>,
    workspace: &'a str,
    head: &'a Head,
    json: &'a Value,
}

/// Answers a request; `path` is the one below `/v1/`.
pub(super) fn answer(
    shared: &Arc<Shared>,
    workspace: &str,
    path: &str,
    head: &Head,
    json: &Value,
) -> Result<Answer, Refused> {
    let desk = Desk { shared, workspace, head, json };
    let parts: Vec<&str> = path.split('/').collect();
    match (head.method.as_str(), parts.as_slice()) {
        ("GET" | "HEAD", ["workspaces", .., kind]) => Ok(desk.models(kind)),
        ("GET" | "HEAD", ["datasets"]) => Ok(desk.list()),
        ("POST", ["datasets"]) => desk.create(),
        ("GET" | "HEAD", ["datasets", "tags"]) => Ok(Answer::restful(200, &json!([]))),
        (method, ["datasets", id, rest @ ..]) => {
            let id = Uuid::parse_str(id).map_err(|_| Box::new(Answer::no_route()))?;
            desk.one(method, id, rest)
        }
        _ => Err(Box::new(Answer::no_route())),
    }
}

fn gone() -> Refused {
    Box::new(Answer::not_found("Dataset not found."))
}

impl Desk<'_> {
    fn one(&self, method: &str, id: Uuid, rest: &[&str]) -> Result<Answer, Refused> {
        let mut db = self.shared.db();
        let own = |found: &&mut Dataset| found.workspace == self.workspace;
        let dataset = db.datasets.get_mut(id).filter(own).ok_or_else(gone)?;
        match (method, rest) {
            ("GET" | "HEAD", []) => Ok(Answer::restful(200, &self.shown(id, dataset, Detail::One))),
            ("PATCH", []) => {
                if let Some(name) = self.text("name") {
                    dataset.name = name;
                }
                if let Some(description) = self.text("description") {
                    dataset.description = description;
                }
                dataset.updated_at = now();
                Ok(Answer::restful(200, &self.shown(id, dataset, Detail::Changed)))
            }
            ("DELETE", []) => {
                db.datasets.remove(id);
                Ok(Answer::no_content())
            }
            ("GET" | "HEAD", ["metadata"]) => {
                let body = json!({"doc_metadata": [], "built_in_field_enabled": false});
                Ok(Answer::restful(200, &body))
            }
            ("POST", ["document", "create_by_text" | "create-by-text"]) => {
                documents::create(self, dataset)
            }
            ("POST", ["retrieve" | "hit-testing"]) => search::search(self, dataset),
            (method, ["documents", rest @ ..]) => {
                documents::answer(self, method, id, dataset, rest)
            }
            _ => Err(Box::new(Answer::no_route())),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.json.get(name).filter(|value| !value.is_null()).map(pyjson::str_of)
    }

    fn number(&self, name: &str, default: usize) -> usize {
        let given = self.head.query(name).and_then(|text| text.parse().ok());
        given.filter(|number| *number > 0).unwrap_or(default)
    }

    /// The page of these rows that the query asks for.
    fn paged<T>(&self, rows: Vec<T>, shown: impl Fn(T) -> Value) -> Answer {
        let (page, limit) = (self.number("page", 1), self.number("limit", 20));
        let total = rows.len();
        let rows = rows.into_iter().skip((page - 1) * limit).take(limit);
        let data: Vec<Value> = rows.map(shown).collect();
        let body = json!({
            "data": data,
            "has_more": data.len() == limit,
            "limit": limit,
            "total": total,
            "page": page,
        });
        Answer::restful(200, &body)
    }

    fn list(&self) -> Answer {
        let keyword = self.head.query("keyword").unwrap_or_default();
        let db = self.shared.db();
        let found = db.datasets.iter().rev().filter(|(_, dataset)| {
            dataset.workspace == self.workspace && dataset.name.contains(&keyword)
        });
        self.paged(found.collect(), |(id, dataset)| self.shown(id, dataset, Detail::Listed))
    }

    fn create(&self) -> Result<Answer, Refused> {
        pydantic::check(&CREATE, self.json)?;
        let name = self.text("name").unwrap_or_default();
        let mut db = self.shared.db();
        let twin =
            |(_, other): (Uuid, &Dataset)| other.workspace == self.workspace && other.name == name;
        if db.datasets.iter().any(twin) {
            let message = "The dataset name already exists. Please modify your dataset name.";
            return Err(Box::new(Answer::error(409, "dataset_name_duplicate", message)));
        }
        let id = Uuid::new_v4();
        let dataset = Dataset {
            workspace: self.workspace.to_owned(),
            description: self.text("description").unwrap_or_default(),
            permission: self.text("permission").unwrap_or_else(|| "only_me".to_owned()),
            technique: self.text("indexing_technique"),
            name,
            created_at: now(),
            updated_at: now(),
            documents: Vec::new(),
            numbered: 0,
        };
        let body = self.shown(id, &dataset, Detail::Made);
        db.datasets.insert(id, dataset, 1024);
        Ok(Answer::restful(200, &body))
    }

    /// A dataset as the routes show it, each a little differently.
    fn shown(&self, id: Uuid, dataset: &Dataset, detail: Detail) -> Value {
        let account = self.shared.account.to_string();
        let documents = dataset.documents.len();
        let filled = documents > 0;
        let economy = dataset.technique.as_deref() == Some("economy");
        let search =
            if detail == Detail::One && economy { "keyword_search" } else { "semantic_search" };
        let author = if self.workspace.is_empty() { "admin" } else { self.workspace };
        let mut shown = json!({
            "id": id.to_string(),
            "name": dataset.name,
            "description": dataset.description,
            "provider": "vendor",
            "permission": dataset.permission,
            "data_source_type": filled.then_some("upload_file"),
            "indexing_technique": dataset.technique,
            "app_count": 0,
            "document_count": documents,
            "word_count": dataset.documents.iter().map(|one| one.text.chars().count()).sum::<usize>(),
            "created_by": account,
            "author_name": author,
            "created_at": dataset.created_at,
            "updated_by": account,
            "updated_at": dataset.updated_at,
            "embedding_model": null,
            "embedding_model_provider": null,
            "embedding_available": matches!(detail, Detail::One | Detail::Listed).then_some(true),
            "retrieval_model_dict": retrieval(search),
            "summary_index_setting": {
                "enable": null,
                "model_name": null,
                "model_provider_name": null,
                "summary_prompt": null,
            },
            "tags": [],
            "doc_form": filled.then_some("text_model"),
            "external_knowledge_info": {
                "external_knowledge_id": null,
                "external_knowledge_api_id": null,
                "external_knowledge_api_name": null,
                "external_knowledge_api_endpoint": null,
            },
            "external_retrieval_model": {
                "top_k": 2,
                "score_threshold": 0.0,
                "score_threshold_enabled": null,
            },
            "doc_metadata": [],
            "built_in_field_enabled": false,
            "pipeline_id": null,
            "runtime_mode": "general",
            "chunk_structure": null,
            "icon_info": {
                "icon_type": null,
                "icon": null,
                "icon_background": null,
                "icon_url": null,
            },
            "is_published": false,
            "total_documents": documents,
            "total_available_documents": documents,
            "enable_api": true,
            "is_multimodal": false,
        });
        if detail == Detail::Changed {
            shown["partial_member_list"] = json!([]);
        }
        shown
    }

    /// The models of the workspace: one, of language.
    fn models(&self, kind: &str) -> Answer {
        if kind != "llm" {
            return Answer::restful(200, &json!({"data": []}));
        }
        let tenant = self.shared.tenant(self.workspace);
        let icon = |language: &str| {
            format!(
                "{}/console/api/workspaces/{tenant}/model-providers/fakeorg/fakeplugin/fake/\
                 icon_small/{language}",
                self.shared.files_url
            )
        };
        let model = json!({
            "model": "fake-llm",
            "label": {"zh_Hans": "fake-llm", "en_US": "fake-llm"},
            "model_type": "llm",
            "features": [
                "vision", "document", "tool-call", "multi-tool-call", "stream-tool-call",
                "agent-thought"
            ],
            "fetch_from": "predefined-model",
            "model_properties": {"mode": "chat", "context_size": 128_000},
            "deprecated": false,
            "status": "active",
            "load_balancing_enabled": false,
            "has_invalid_load_balancing_configs": false,
        });
        let provider = json!({
            "tenant_id": tenant.to_string(),
            "provider": "fakeorg/fakeplugin/fake",
            "label": {"zh_Hans": "Fake", "en_US": "Fake"},
            "icon_small": {"zh_Hans": icon("zh_Hans"), "en_US": icon("en_US")},
            "icon_small_dark": null,
            "status": "active",
            "models": [model],
        });
        Answer::restful(200, &json!({"data": [provider]}))
    }
}

/// How a dataset is searched.
fn retrieval(method: &str) -> Value {
    json!({
        "search_method": method,
        "reranking_enable": false,
        "reranking_mode": null,
        "reranking_model": {"reranking_provider_name": "", "reranking_model_name": ""},
        "weights": null,
        "top_k": 2,
        "score_threshold_enabled": false,
        "score_threshold": null,
    })
}

/// Which route shows a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Made,
    One,
    Listed,
    Changed,
}
