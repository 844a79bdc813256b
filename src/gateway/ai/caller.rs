//! Who asks at a door: the key, the model that it may use, and the end user.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::gateway::ai::errors;
use crate::gateway::proxy::end_user;
use crate::gateway::state::ai_settings::Settings;
use crate::gateway::state::app::App;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tokens::Key;
use crate::model::GatewayError;

/// No app's name and no alias is nearly as long.
const MAX_MODEL_BYTES: usize = 4096;

/// The key of a request: `Authorization: Bearer`, `x-api-key` or `api-key`.
///
/// # Errors
/// 401: there is none, or nobody knows it.
pub(super) fn key(snapshot: &Snapshot, headers: &HeaderMap) -> Result<Arc<Key>, GatewayError> {
    let given = secret(headers);
    let known = given.and_then(|secret| snapshot.tokens.key(secret));
    known.or(snapshot.anonymous.as_ref()).cloned().ok_or_else(|| match given {
        None => errors::no_api_key(),
        Some(_) => errors::wrong_api_key(),
    })
}

fn secret(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let value = value.as_bytes();
        let blank = value.iter().position(|byte| *byte == b' ')?;
        let (scheme, rest) = value.split_at(blank);
        scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii())
    });
    let plain = || headers.get("x-api-key").or_else(|| headers.get("api-key"));
    let secret = bearer.or_else(|| plain().map(|value| value.as_bytes()));
    secret.filter(|secret| !secret.is_empty())
}

/// The app that a model id names.
///
/// # Errors
/// 404: there is none, or the key may not use it; which of both is not said.
pub(super) fn app(snapshot: &Snapshot, key: &Key, model: &str) -> Result<Arc<App>, GatewayError> {
    // One as large as a body is not even looked up.
    let known = Some(model).filter(|model| model.len() <= MAX_MODEL_BYTES);
    let place = known.and_then(|model| snapshot.models.app(model));
    let place = place.filter(|place| key.apps.contains(place));
    let app = place.and_then(|place| snapshot.apps.get(place));
    app.cloned().ok_or_else(|| GatewayError::no_model(model))
}

/// The user as Dify will know it. What headers name counts more than what the body says.
///
/// # Errors
/// 401: the app wants a signed user, and none that is valid came. 400: it is too long for Dify.
pub(super) fn user(
    key: &Key,
    said: Option<&str>,
    headers: &HeaderMap,
    settings: &Settings,
) -> Result<String, GatewayError> {
    let forwarded =
        end_user::forwarded(headers, settings, key).map_err(|_| errors::no_identity())?;
    let given = forwarded.as_deref().or(said);
    end_user::of_key(key, given, settings.users).map_err(|_| errors::user_too_long())
}
