//! OpenDify's two calls about conversations, in its words.
//!
//! A key sees and cleans up its own; an admin key all. A token of `user_tokens` only counts: it is
//! shared by an app's users, none of whom may take away what the others have.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::gateway::ai::errors;
use crate::gateway::ai::request::{AiRequest, AiResponse, local};
use crate::gateway::http::request_body::IncomingBody;
use crate::gateway::state::ai_settings::UserForm;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tokens::Key;
use crate::model::GatewayError;

/// How old a conversation is to be before it is removed, if nothing is said.
const MAX_AGE_DAYS: u64 = 30;

/// `GET /v1/conversation/mappings`
pub(super) async fn show(request: AiRequest, key: &Key) -> AiResponse {
    let found = request.worker.shared().conversation_store().mappings(id_scope(key)).await;
    match found {
        Ok(found) => {
            let mut value = json!(found);
            value["timestamp"] = now_s().into();
            local(request.record, Bytes::from(value.to_string()))
        }
        Err(error) => AiResponse::Error(request.record, errors::store_down(&error)),
    }
}

#[derive(Default, Deserialize)]
struct Cleanup {
    max_age_days: Option<u64>,
}

fn cleanup(body: Bytes) -> Result<Cleanup, GatewayError> {
    if body.is_empty() {
        return Ok(Cleanup::default());
    }
    serde_json::from_slice(&body).map_err(|_| errors::bad_cleanup())
}

/// `POST /v1/conversation/cleanup`
pub(super) async fn clean_up(mut request: AiRequest, body: IncomingBody, key: &Key) -> AiResponse {
    if is_shared(&request.snapshot, key) {
        return AiResponse::Error(request.record, errors::shared_key());
    }
    let taken = match request.take_in(body, cleanup).await {
        Ok(taken) => taken,
        Err(error) => return AiResponse::Error(request.record, error),
    };
    let days = taken.asked.max_age_days.unwrap_or(MAX_AGE_DAYS);
    let age = Duration::from_secs(days.saturating_mul(24 * 3600));
    let removed = request.worker.shared().conversation_store().cleanup(id_scope(key), age).await;
    match removed {
        Ok(removed) => {
            let value =
                json!({"removed_count": removed, "max_age_days": days, "timestamp": now_s()});
            local(request.record, Bytes::from(value.to_string()))
        }
        Err(error) => AiResponse::Error(request.record, errors::store_down(&error)),
    }
}

/// Whether many people have the key: all users of an app, or anybody at all. With OpenDify's variables
/// anybody may clean up, as its documents have it.
fn is_shared(snapshot: &Snapshot, key: &Key) -> bool {
    let is_anonymous = snapshot.anonymous.as_ref().is_some_and(|anonymous| **anonymous == *key);
    let as_opendify = snapshot.apps.iter().any(|app| app.ai.users == UserForm::OpenWebUi);
    key.is_user_token || (is_anonymous && !as_opendify)
}

fn id_scope(key: &Key) -> Option<&str> {
    (!key.is_admin).then_some(&*key.name)
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
