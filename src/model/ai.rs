//! How apps are offered to OpenAI and Anthropic clients: choices that the configuration reads and the
//! gateway follows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// Where a client's system text goes. Written as `auto`, `ignore`, `prefix` or `input:` and the name of
/// a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum System {
    /// Into the app's variable `system_prompt`, `system` or `instructions`, if it has one, else as
    /// `Prefix`.
    #[default]
    Auto,
    /// Nowhere.
    Ignore,
    /// Before the question, in the first turn of a conversation.
    Prefix,
    /// Into this input variable of the app.
    Input(String),
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Ignore => serializer.serialize_str("ignore"),
            Self::Prefix => serializer.serialize_str("prefix"),
            Self::Input(variable) => serializer.collect_str(&format_args!("input:{variable}")),
        }
    }
}

/// What becomes of an app's reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reasoning {
    /// It goes out beside the answer: as `reasoning_content`, or in the way of its own that a protocol
    /// has.
    #[default]
    ReasoningContent,
    /// It stays in the answer, between `<think>` and `</think>`.
    Inline,
    /// It is left out.
    Drop,
}

/// What becomes of files that an app makes, such as pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MadeFiles {
    /// A picture follows the answer as a Markdown image, another file as a link.
    #[default]
    Markdown,
    /// They are left out.
    Drop,
}

/// What becomes of a run that waits for a person (Dify 1.13 and later).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HumanInput {
    /// The text of its form, and where to fill it in, is the rest of the answer.
    #[default]
    Tell,
    /// It is a failure: 502 `human_input_required`.
    Error,
}

/// What becomes of calls that a chat front end makes for itself: a title, tags, questions that may
/// follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tasks {
    /// They run in a conversation of their own, which is then deleted.
    #[default]
    Aside,
    /// They run in the conversation of the chat, as any other turn.
    InChat,
    /// They are refused with 404, and front ends do without.
    Refuse,
}

/// Whether an answer continues a conversation of Dify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// The one whose end the client's transcript continues, else a new one that begins with the
    /// transcript.
    #[default]
    Auto,
    /// Always a new one that begins with the transcript.
    Stateless,
}

/// The form of the end users that Dify sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserForm {
    /// The key's name, a colon and the user: `team:alice`.
    #[default]
    Keyed,
    /// As OpenDify has them: `open_webui_alice`, and `open_webui_default_user` for who names none.
    #[serde(rename = "open_webui")]
    OpenWebUi,
}
