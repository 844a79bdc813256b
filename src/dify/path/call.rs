//! What a call of Dify's API is, and the id that its path names.

use http::Method;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// The three calls that start a run, and so what a stop stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// `/v1/chat-messages`.
    Chat,
    /// `/v1/completion-messages`.
    Completion,
    /// `/v1/workflows/run` and, after 1.5.0, `/v1/workflows/<id>/run`.
    Workflow,
}

/// Which call a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// `/v1/`: the version, without a key.
    Root,
    /// A call that starts a run when posted.
    Run(Run),
    /// The stop of a run, with its task id.
    Stop(Run),
    /// `/v1/files/upload`.
    Upload,
    /// `/v1/files/<id>/preview`, after 1.5.0.
    FilePreview,
    /// `/v1/audio-to-text`.
    AudioToText,
    /// `/v1/text-to-audio`.
    TextToAudio,
    /// `/v1/conversations`.
    Conversations,
    /// `/v1/conversations/<id>`.
    Conversation,
    /// `/v1/conversations/<id>/name`.
    ConversationName,
    /// `/v1/conversations/<id>/variables`.
    ConversationVariables,
    /// `/v1/conversations/<id>/variables/<id>`, after 1.5.0.
    ConversationVariable,
    /// `/v1/messages`.
    Messages,
    /// `/v1/messages/<id>/feedbacks`.
    Feedback,
    /// `/v1/messages/<id>/suggested`.
    Suggested,
    /// `/v1/app/feedbacks`: those of all users.
    AppFeedbacks,
    /// `/v1/info`.
    Info,
    /// `/v1/parameters`.
    Parameters,
    /// `/v1/meta`.
    Meta,
    /// `/v1/site`.
    Site,
    /// `/v1/workflows/run/<id>`.
    WorkflowRunDetail,
    /// `/v1/workflow/<id>/events`, after 1.12.1.
    WorkflowEvents,
    /// `/v1/workflows/logs`.
    WorkflowLogs,
    /// `/v1/form/human_input/<token>`, after 1.12.1.
    HumanInputForm,
    /// `/v1/end-users/<id>`, after 1.12.1.
    EndUser,
    /// `/v1/apps/annotations`.
    Annotations,
    /// `/v1/apps/annotations/<id>`.
    Annotation,
    /// `/v1/apps/annotation-reply/<action>`.
    AnnotationReply,
    /// `/v1/apps/annotation-reply/<action>/status/<id>`.
    AnnotationReplyStatus,
    /// `/v1/datasets`: lists them, makes one.
    DatasetList,
    /// Anything else for a dataset key: `/v1/datasets/…`, `/v1/workspaces/…`, `/v1/knowledge-fs/…`.
    Datasets,
    /// `/files/<id>/file-preview`, `/files/<id>/image-preview`, `/files/tools/<id>.<ext>`: links that
    /// Dify signs. They need no key and name no user.
    SignedFile,
    /// `/mcp/server/<code>/mcp`: an app as a server of tools. The code is the key.
    McpServer,
    /// Anything else.
    Unknown,
}

impl CallKind {
    /// The `Allow` text of this call; `None` where the kind does not tell.
    ///
    /// `POST, OPTIONS` is as recorded from Dify 1.5.0. Dify builds the text from a set, so the
    /// order of longer ones is that of one process; here it is always the same.
    pub fn allow(self) -> Option<&'static str> {
        Some(match self {
            Self::Run(_) | Self::Stop(_) | Self::Upload | Self::AudioToText => "POST, OPTIONS",
            Self::TextToAudio | Self::ConversationName | Self::Feedback => "POST, OPTIONS",
            Self::AnnotationReply => "POST, OPTIONS",
            Self::Conversation => "DELETE, OPTIONS",
            Self::ConversationVariable => "PUT, OPTIONS",
            Self::Annotation => "PUT, DELETE, OPTIONS",
            Self::Annotations | Self::HumanInputForm => "GET, HEAD, POST, OPTIONS",
            Self::Root | Self::FilePreview | Self::Conversations => "GET, HEAD, OPTIONS",
            Self::ConversationVariables | Self::Messages | Self::Suggested => "GET, HEAD, OPTIONS",
            Self::AppFeedbacks | Self::Info | Self::Parameters => "GET, HEAD, OPTIONS",
            Self::Meta | Self::Site | Self::WorkflowRunDetail => "GET, HEAD, OPTIONS",
            Self::WorkflowEvents | Self::WorkflowLogs | Self::EndUser => "GET, HEAD, OPTIONS",
            Self::AnnotationReplyStatus | Self::SignedFile => "GET, HEAD, OPTIONS",
            Self::McpServer => "POST, OPTIONS",
            Self::DatasetList | Self::Datasets | Self::Unknown => return None,
        })
    }

    /// Whether the call is of the knowledge API, which has keys of its own.
    pub fn wants_dataset_key(self) -> bool {
        matches!(self, Self::DatasetList | Self::Datasets)
    }
}

/// The id in a path. All are known to one instance only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id<'p> {
    /// Of a conversation (UUID).
    Conversation(&'p str),
    /// Of a message (UUID).
    Message(&'p str),
    /// Of a run as its stream names it. Dify answers 200 to a stop of any task id.
    Task(&'p str),
    /// Of a workflow's run. Dify 1.5.0 answers 200 with every field null to an unknown one.
    WorkflowRun(&'p str),
    /// Of a workflow's published version.
    Workflow(&'p str),
    /// Of an uploaded file (UUID).
    File(&'p str),
    /// Of an annotation (UUID).
    Annotation(&'p str),
    /// Of a job that switches annotation replies on or off (UUID).
    AnnotationJob(&'p str),
    /// Of a user as Dify counts them (UUID).
    EndUser(&'p str),
    /// Of a dataset (UUID).
    Dataset(&'p str),
    /// Of a form that a person fills in: 22 letters and digits.
    Form(&'p str),
    /// Of a server of tools: 16 letters and digits.
    McpServer(&'p str),
}

impl Id<'_> {
    /// The id as owners are kept by it: a UUID itself, else a digest of its text. None for a text
    /// that is none of Dify's ids; its routes do not check those of tasks and workflows.
    pub fn key(&self) -> Option<Uuid> {
        match *self {
            Self::Form(token) => Some(TextId::Form.key(token)),
            Self::McpServer(code) => Some(TextId::McpServer.key(code)),
            Self::Conversation(text)
            | Self::Message(text)
            | Self::Task(text)
            | Self::WorkflowRun(text)
            | Self::Workflow(text)
            | Self::File(text)
            | Self::Annotation(text)
            | Self::AnnotationJob(text)
            | Self::EndUser(text)
            | Self::Dataset(text) => Uuid::try_parse(text).ok(),
        }
    }
}

/// Ids that are no UUIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextId {
    /// The token of a form.
    Form,
    /// The code of a server of tools.
    McpServer,
}

impl TextId {
    /// A digest of kind and text, in the place of a UUID. Two texts that meet in one cost a question
    /// to an instance that does not have it.
    pub fn key(self, text: &str) -> Uuid {
        let kind = match self {
            Self::Form => &b"form:"[..],
            Self::McpServer => b"mcp:",
        };
        let mut digest = Xxh3::new();
        digest.update(kind);
        digest.update(text.as_bytes());
        Uuid::from_u128(digest.digest128())
    }
}

/// A path, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'p> {
    /// Which call it is.
    pub kind: CallKind,
    /// The id it carries, if it carries one that matters for the choice of an instance.
    pub id: Option<Id<'p>>,
}

impl Call<'_> {
    pub(super) const UNKNOWN: Self = Self { kind: CallKind::Unknown, id: None };

    /// Whether a request with this method starts a run, so that sending it twice would run twice.
    pub fn starts_run(&self, method: &Method) -> bool {
        method == Method::POST && matches!(self.kind, CallKind::Run(_))
    }
}
