//! What Dify answered instead of what was asked for.

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
