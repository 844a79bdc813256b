//! The kinds of apps.

/// The kind of an app, as `GET /v1/info` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `chat`
    Chat,
    /// `agent-chat`
    AgentChat,
    /// `advanced-chat`, a chatflow.
    AdvancedChat,
    /// `agent`, of Dify 1.16 and later.
    Agent,
    /// `completion`
    Completion,
    /// `workflow`
    Workflow,
}

impl Mode {
    /// The mode of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "chat" => Self::Chat,
            "agent-chat" => Self::AgentChat,
            "advanced-chat" => Self::AdvancedChat,
            "agent" => Self::Agent,
            "completion" => Self::Completion,
            "workflow" => Self::Workflow,
            _ => return None,
        })
    }

    /// Whether its answers belong to a conversation.
    pub fn has_conversations(self) -> bool {
        !matches!(self, Self::Completion | Self::Workflow)
    }

    /// The path of a run.
    pub fn path(self) -> &'static str {
        match self {
            Self::Completion => "/v1/completion-messages",
            Self::Workflow => "/v1/workflows/run",
            _ => "/v1/chat-messages",
        }
    }
}
