//! What the headers of a request say of its conversation.

use http::{HeaderMap, HeaderName};

use crate::adapter::CompletionRequest;
use crate::gateway::proxy::end_user::header_text;
use crate::gateway::state::ai_settings::AiSettings;

/// Names a conversation of Dify.
const CONVERSATION: HeaderName = HeaderName::from_static("x-dify-conversation-id");

/// Adds what the headers say of the conversation; it counts more than what the body says.
pub(super) fn add(ask: &mut CompletionRequest, headers: &HeaderMap, settings: &AiSettings) {
    if let Some(named) = header_text(headers, &CONVERSATION) {
        ask.hints.conversation = Some(named);
    }
    if let Some(chat) = settings.chat_id_headers.iter().find_map(|name| header_text(headers, name))
    {
        ask.hints.chat = Some(chat);
    }
}
