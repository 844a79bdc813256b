//! What is known of conversations with AI clients, for `difygate conversations`. Only the admin
//! listener leads here.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::json_body::JsonBody;
use super::refusal::refuse;
use super::state::AdminState;
use crate::conversation::{Conversation, ConversationStore, ExportHeader, ExportRow, StoreDown};
use crate::gateway::state::snapshot::Snapshot;

/// The largest part of an import, in bytes.
const LARGEST_PART: usize = 16 << 20;

/// How many conversations are listed at most.
const LONGEST_LIST: usize = 10_000;

#[derive(Debug, Deserialize)]
struct Listed {
    key: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Exported {
    key: Option<String>,
    from: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Part {
    header: Option<ExportHeader>,
    rows: Vec<ExportRow>,
}

#[derive(Debug, Deserialize)]
struct Cleanup {
    key: Option<String>,
    max_age_s: u64,
}

#[derive(Debug, Serialize)]
struct Row {
    conversation: String,
    app: String,
    key: String,
    user: String,
    chat: Option<String>,
    turns: u32,
    state: &'static str,
    created: u32,
    used: u32,
}

pub(super) fn router() -> Router<Arc<AdminState>> {
    Router::new()
        .route("/conversations", get(list))
        .route("/conversations/export", get(export))
        .route("/conversations/import", post(import).layer(DefaultBodyLimit::max(LARGEST_PART)))
        .route("/conversations/cleanup", post(cleanup))
}

async fn list(State(state): State<Arc<AdminState>>, Query(asked): Query<Listed>) -> Response {
    let Some(conversation_store) = conversation_store(&state) else { return ending() };
    let key = asked.key.as_deref();
    let limit = asked.limit.unwrap_or(100).min(LONGEST_LIST);
    let listed = async {
        let (all, rows) =
            (conversation_store.mappings(key).await?, conversation_store.recent(key, limit).await?);
        let rows: Vec<_> = rows.into_iter().map(Row::of).collect();
        Ok(json!({ "count": all.mapping_count, "conversations": rows }))
    };
    answer(listed.await)
}

async fn export(State(state): State<Arc<AdminState>>, Query(asked): Query<Exported>) -> Response {
    let Some(conversation_store) = conversation_store(&state) else { return ending() };
    answer(conversation_store.export(asked.key.as_deref(), asked.from.as_deref()).await)
}

async fn import(State(state): State<Arc<AdminState>>, JsonBody(part): JsonBody<Part>) -> Response {
    let Some(shared) = state.shared.upgrade() else { return ending() };
    // An export may be older than the configuration; whoever names an app of chats means one that is here.
    if part.header.is_none()
        && let Some(message) = unknown_app(&shared.snapshot(), &part.rows)
    {
        return refuse(StatusCode::BAD_REQUEST, "invalid_param", &message);
    }
    answer(shared.conversation_store().import(part.header, part.rows).await)
}

/// What is said where a row is of an app that is not here.
fn unknown_app(snapshot: &Snapshot, rows: &[ExportRow]) -> Option<String> {
    let is_here = |name: &str| snapshot.apps.iter().any(|app| app.name.as_str() == name);
    let unknown = rows.iter().find(|row| !is_here(&row.app))?;
    let apps: Vec<_> = snapshot.apps.iter().map(|app| format!("`{}`", app.name)).collect();
    Some(format!("there is no app `{}`; the apps are {}", unknown.app, apps.join(", ")))
}

async fn cleanup(
    State(state): State<Arc<AdminState>>,
    JsonBody(asked): JsonBody<Cleanup>,
) -> Response {
    let Some(conversation_store) = conversation_store(&state) else { return ending() };
    let max_age = Duration::from_secs(asked.max_age_s);
    let removed = conversation_store.cleanup(asked.key.as_deref(), max_age).await;
    answer(removed.map(|removed| json!({ "removed": removed })))
}

fn conversation_store(state: &AdminState) -> Option<Arc<ConversationStore>> {
    state.shared.upgrade().map(|shared| Arc::clone(shared.conversation_store()))
}

fn ending() -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "ending", "The gateway is ending.")
}

fn answer<T: Serialize>(done: Result<T, StoreDown>) -> Response {
    match done {
        Ok(done) => Json(done).into_response(),
        Err(down) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", &down.to_string())
        }
    }
}

impl Row {
    fn of(found: Conversation) -> Self {
        Self {
            conversation: found.id.to_string(),
            app: found.thread.app,
            key: found.thread.key,
            user: found.thread.user,
            chat: found.thread.chat,
            turns: found.turns,
            state: found.state.label(),
            created: found.created_s,
            used: found.used_s,
        }
    }
}
