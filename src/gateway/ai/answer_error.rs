//! What Dify answered instead of what was asked for.

use crate::gateway::ai::errand::Read;
use crate::model::GatewayError;

/// What a refusal of Dify's means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It stands as it is.
    Final,
    /// The conversation is not there.
    NoConversation,
    /// The app is of another mode than it was.
    WrongMode,
}

/// What the body of a refusal says.
pub(super) fn meaning(status: u16, body: &[u8]) -> Meaning {
    let text = String::from_utf8_lossy(body);
    if status == 404 && text.contains("Conversation Not Exists") {
        Meaning::NoConversation
    } else if status == 400 && WRONG_MODE.iter().any(|code| text.contains(code)) {
        Meaning::WrongMode
    } else {
        Meaning::Final
    }
}

const WRONG_MODE: [&str; 3] = ["not_chat_app", "not_completion_app", "not_workflow_app"];

/// What an answer with a bad status is.
pub(super) fn of_answer(read: &Read) -> GatewayError {
    let error = GatewayError::of_dify_answer(read.status, &read.body);
    // Who is told to come back later is told when, in the words of who knows.
    let waits = error.retry_after_s.is_some();
    let told = read.retry_after_s.filter(|_| waits).or(error.retry_after_s);
    GatewayError { retry_after_s: told, ..error }
}
