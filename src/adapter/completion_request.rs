//! What a client asks of an app, whatever protocol it speaks.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::object_text::ObjectText;

/// A request to an app for an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompletionRequest {
    /// The model that was asked for, as written.
    pub model: String,
    /// The texts of roles `system` and `developer`, joined by a blank line.
    pub system: Option<String>,
    /// The transcript up to the question, without system texts.
    pub before: Vec<Message>,
    /// What the user says now: every user message after the last of another role.
    pub question: Message,
    /// Whether the answer is wanted event by event.
    pub streamed: bool,
    /// The end user, where the body names one.
    pub user: Option<String>,
    /// Which conversation it continues, as far as the body says.
    pub hints: ConversationHints,
    /// Further inputs for the app, from the extra field `inputs`.
    pub inputs: ObjectText,
    /// Texts at which the answer is cut.
    pub stop: Vec<String>,
    /// Fields that mean nothing to Dify, in the order of the request.
    pub ignored: Vec<String>,
    /// The client says itself that this is a side task, such as naming the chat.
    pub is_task: bool,
    /// The question is a system text that comes after the transcript.
    pub is_asked_by_system: bool,
    /// No later request goes on from this answer: the Responses API's `store: false`.
    pub is_unstored: bool,
}

/// What a body says of the conversation that it continues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationHints {
    /// Dify's conversation, without our prefix.
    pub conversation: Option<String>,
    /// The Responses API's `previous_response_id`, as written.
    pub previous_response: Option<String>,
    /// The client's own id of the chat.
    pub chat: Option<String>,
}

impl ConversationHints {
    /// Whether no conversation is named, neither itself nor by its last answer.
    pub fn names_nothing(&self) -> bool {
        self.conversation.is_none() && self.previous_response.is_none()
    }
}

/// Who says something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The end user.
    #[default]
    User,
    /// The app.
    Assistant,
    /// A tool of the client.
    Tool,
}

impl Role {
    /// Its name in transcripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message of a transcript.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// The text parts, joined by line ends.
    pub text: String,
    /// What is attached.
    pub attachments: Vec<Attachment>,
}

impl Message {
    /// A message of text alone.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), attachments: Vec::new() }
    }
}

/// A file that comes with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Dify's `type` of the file.
    pub kind: FileKind,
    /// The file.
    pub content: FileContent,
}

/// Dify's types of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// `image`
    Image,
    /// `document`
    Document,
    /// `audio`
    Audio,
    /// `video`
    Video,
}

impl FileKind {
    /// Dify's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Document => "document",
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// What a file of this media type is to Dify.
    pub fn of(media_type: &str) -> Self {
        match media_type.split('/').next() {
            Some("image") => Self::Image,
            Some("audio") => Self::Audio,
            Some("video") => Self::Video,
            _ => Self::Document,
        }
    }
}

/// A file's bytes, or where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// The bytes came with the request.
    Data {
        /// With an ending that fits its type.
        name: String,
        /// Such as `image/png`.
        media_type: String,
        /// The file.
        bytes: Bytes,
    },
    /// An `http` or `https` URL, which Dify itself fetches.
    Url(String),
}

impl Attachment {
    /// A text that is the same for the same file, and says nothing of its content.
    pub fn digest(&self) -> String {
        let digest = match &self.content {
            FileContent::Data { bytes, .. } => Sha256::digest(bytes),
            FileContent::Url(url) => Sha256::digest(url.as_bytes()),
        };
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
