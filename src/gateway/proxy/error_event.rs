//! The last event of a stream that broke off.

use bytes::Bytes;
use uuid::Uuid;

use crate::dify::error::StreamError;
use crate::dify::response_body::LearnedIds;
use crate::model::GatewayError;

/// The last event of a stream that broke off, as Dify writes it.
pub(crate) fn error_event(error: &GatewayError, learned: Option<&LearnedIds>) -> Bytes {
    let text = |id: Option<Uuid>| id.map(|id| id.to_string());
    let conversation_id = text(learned.and_then(|learned| learned.conversation_id));
    let message_id = text(learned.and_then(|learned| learned.message_id));
    StreamError {
        conversation_id: conversation_id.as_deref(),
        message_id: message_id.as_deref(),
        created_at: None,
        code: &error.code,
        status: error.status,
        message: &error.message,
    }
    .event()
}
