//! What the headers of a request say of its conversation and its user.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use crate::adapter::Ask;
use crate::gateway::doors::settings::Settings;
use crate::gateway::tokens::Key;
use crate::gateway::user_jwt;

/// Names a conversation of Dify.
const CONVERSATION: HeaderName = HeaderName::from_static("x-dify-conversation-id");

/// Adds what the headers say of the conversation; it counts more than what the body says.
pub(super) fn add(ask: &mut Ask, headers: &HeaderMap, settings: &Settings) {
    if let Some(named) = text(headers, &CONVERSATION) {
        ask.hints.conversation = Some(named);
    }
    if let Some(chat) = settings.chat_id_headers.iter().find_map(|name| text(headers, name)) {
        ask.hints.chat = Some(chat);
    }
}

/// The end user. Headers count only from those who are trusted with them: anybody else could name
/// another's user.
pub(super) fn user(
    said: Option<&str>,
    headers: &HeaderMap,
    settings: &Settings,
    key: &Key,
) -> Option<String> {
    let said = || said.map(str::to_owned);
    if !key.trusted_proxy {
        return said();
    }
    if let Some(jwt) = &settings.user_jwt {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let signed = text(headers, &jwt.header).and_then(|text| {
            user_jwt::verify(&text, jwt.secret.expose().as_bytes(), now.as_secs())
        });
        return signed.or_else(said);
    }
    let named = || settings.user_headers.iter().find_map(|name| text(headers, name));
    said().or_else(named)
}

/// A header that is not empty. Open WebUI writes names beyond ASCII in percent signs.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    let text = percent_decode_str(value).decode_utf8().ok()?;
    Some(text.into_owned()).filter(|text| !text.is_empty())
}
