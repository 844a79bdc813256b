//! The kinds of apps.

use super::Unknown;
use std::str::FromStr;

/// The kind of an app, as `GET /v1/info` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `chat`: a conversation with a model.
    Chat,
    /// `agent-chat`: streaming only.
    AgentChat,
    /// `advanced-chat`, called chatflow in Dify's console.
    AdvancedChat,
    /// `completion`: one answer, no conversation.
    Completion,
    /// `workflow`: inputs to outputs.
    Workflow,
    /// `agent`, the New Agent of Dify 1.16: streaming only, and at the end of a stream it sends the
    /// whole answer again. Made after Dify's documentation; there is no recording of it.
    Agent,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Chat,
        Self::AgentChat,
        Self::AdvancedChat,
        Self::Completion,
        Self::Workflow,
        Self::Agent,
    ];

    /// The name Dify gives it on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::AgentChat => "agent-chat",
            Self::AdvancedChat => "advanced-chat",
            Self::Completion => "completion",
            Self::Workflow => "workflow",
            Self::Agent => "agent",
        }
    }

    /// Whether its answers belong to a conversation.
    #[must_use]
    pub fn has_conversations(self) -> bool {
        matches!(self, Self::Chat | Self::AgentChat | Self::AdvancedChat | Self::Agent)
    }

    /// Whether it thinks aloud, and only in streams.
    pub(crate) fn is_agent(self) -> bool {
        matches!(self, Self::AgentChat | Self::Agent)
    }

    /// Whether nodes make the answer.
    pub(crate) fn is_flow(self) -> bool {
        matches!(self, Self::AdvancedChat | Self::Workflow)
    }
}

impl FromStr for Mode {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| Unknown::new("mode", name, Self::ALL.map(Self::name)))
    }
}
