//! Which path is which route, which methods it has, where its body and user stand.
//!
//! An id in a path must be a UUID where Dify's route says so; another word there is a path that
//! does not exist. Deliberately absent: most of the console and the web-app API, and what the
//! dataset routes do.

use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Index,
    Chat,
    ChatStop(String),
    Completion,
    CompletionStop(String),
    WorkflowRun,
    WorkflowRunGet(String),
    WorkflowStop(String),
    WorkflowLogs,
    Conversations,
    Conversation(Uuid),
    ConversationName(Uuid),
    ConversationVariables(Uuid),
    Messages,
    Feedbacks(Uuid),
    Suggested(Uuid),
    AppFeedbacks,
    Upload,
    AudioToText,
    TextToAudio,
    Parameters,
    Info,
    Meta,
    Site,
    Annotations,
    Annotation(Uuid),
    /// Any route that wants a dataset key.
    Dataset,
    Health,
    Threads,
    PoolStat,
    FilePreview(Uuid),
    ConsoleSetup,
    ConsoleFeatures,
    /// Any other console route: wants a session.
    Console,
    /// Any web-app route: wants a passport.
    Web,
}

/// How a route reads its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    None,
    Json,
    Form,
}

/// Where a route finds its user, and whether it must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserPlace {
    None,
    Json,
    JsonOptional,
    Query,
    QueryOptional,
    Form,
}

const GET: &[&str] = &["GET", "HEAD", "OPTIONS"];
const POST: &[&str] = &["POST", "OPTIONS"];

/// The route of a path.
pub(crate) fn find(path: &str) -> Option<Route> {
    if let Some(rest) = path.strip_prefix("/v1/") {
        return service(rest);
    }
    match path {
        "/health" => Some(Route::Health),
        "/threads" => Some(Route::Threads),
        "/db-pool-stat" => Some(Route::PoolStat),
        "/console/api/setup" => Some(Route::ConsoleSetup),
        "/console/api/system-features" => Some(Route::ConsoleFeatures),
        "/console/api/apps" => Some(Route::Console),
        "/api/parameters" | "/api/meta" | "/api/site" | "/api/passport" => Some(Route::Web),
        _ => {
            let id = path.strip_prefix("/files/")?;
            let id = id.strip_suffix("/file-preview").or_else(|| id.strip_suffix("/image-preview"));
            Some(Route::FilePreview(uuid(id?)?))
        }
    }
}

fn service(rest: &str) -> Option<Route> {
    let parts: Vec<&str> = rest.split('/').collect();
    let word = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(match parts.as_slice() {
        [""] => Route::Index,
        ["chat-messages"] => Route::Chat,
        ["chat-messages", task, "stop"] => Route::ChatStop(word(task)?),
        ["completion-messages"] => Route::Completion,
        ["completion-messages", task, "stop"] => Route::CompletionStop(word(task)?),
        ["workflows", "run"] => Route::WorkflowRun,
        ["workflows", "run", run] => Route::WorkflowRunGet(word(run)?),
        ["workflows", "tasks", task, "stop"] => Route::WorkflowStop(word(task)?),
        ["workflows", "logs"] => Route::WorkflowLogs,
        ["conversations"] => Route::Conversations,
        ["conversations", id] => Route::Conversation(uuid(id)?),
        ["conversations", id, "name"] => Route::ConversationName(uuid(id)?),
        ["conversations", id, "variables"] => Route::ConversationVariables(uuid(id)?),
        ["messages"] => Route::Messages,
        ["messages", id, "feedbacks"] => Route::Feedbacks(uuid(id)?),
        ["messages", id, "suggested"] => Route::Suggested(uuid(id)?),
        ["app", "feedbacks"] => Route::AppFeedbacks,
        ["files", "upload"] => Route::Upload,
        ["audio-to-text"] => Route::AudioToText,
        ["text-to-audio"] => Route::TextToAudio,
        ["parameters"] => Route::Parameters,
        ["info"] => Route::Info,
        ["meta"] => Route::Meta,
        ["site"] => Route::Site,
        ["apps", "annotations"] => Route::Annotations,
        ["apps", "annotations", id] => Route::Annotation(uuid(id)?),
        ["datasets", ..] | ["workspaces", "current", "models", "model-types", _] => Route::Dataset,
        _ => return None,
    })
}

fn uuid(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::parse_str(text).ok() } else { None }
}

impl Route {
    /// Its methods, in the order of its `Allow` header.
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Chat
            | Self::ChatStop(_)
            | Self::Completion
            | Self::CompletionStop(_)
            | Self::WorkflowRun
            | Self::WorkflowStop(_)
            | Self::ConversationName(_)
            | Self::Feedbacks(_)
            | Self::Upload
            | Self::AudioToText
            | Self::TextToAudio => POST,
            Self::Conversation(_) => &["DELETE", "OPTIONS"],
            Self::Annotation(_) => &["DELETE", "PUT", "OPTIONS"],
            Self::Annotations | Self::Console => &["GET", "HEAD", "OPTIONS", "POST"],
            Self::Dataset => &["GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE"],
            _ => GET,
        }
    }

    /// Whether it is a route of the service API proper, which wants an app key.
    pub(crate) fn wants_app(&self) -> bool {
        !matches!(
            self,
            Self::Index
                | Self::Dataset
                | Self::Health
                | Self::Threads
                | Self::PoolStat
                | Self::FilePreview(_)
                | Self::ConsoleSetup
                | Self::ConsoleFeatures
                | Self::Console
                | Self::Web
        )
    }

    /// Whether an answer to OPTIONS is that of the console.
    pub(crate) fn is_console(&self) -> bool {
        matches!(self, Self::Console | Self::ConsoleFeatures | Self::ConsoleSetup | Self::Web)
    }

    pub(crate) fn body(&self, method: &str) -> BodyKind {
        match (self, self.user()) {
            (_, UserPlace::Json | UserPlace::JsonOptional) => BodyKind::Json,
            (_, UserPlace::Form) => BodyKind::Form,
            (Self::Annotations, _) if method == "POST" => BodyKind::Json,
            (Self::Annotation(_), _) if method == "PUT" => BodyKind::Json,
            _ => BodyKind::None,
        }
    }

    pub(crate) fn user(&self) -> UserPlace {
        match self {
            Self::Chat
            | Self::ChatStop(_)
            | Self::Completion
            | Self::CompletionStop(_)
            | Self::WorkflowRun
            | Self::WorkflowStop(_)
            | Self::Feedbacks(_) => UserPlace::Json,
            Self::Conversation(_) | Self::ConversationName(_) | Self::TextToAudio => {
                UserPlace::JsonOptional
            }
            Self::Suggested(_) => UserPlace::Query,
            Self::Conversations | Self::ConversationVariables(_) | Self::Messages => {
                UserPlace::QueryOptional
            }
            Self::Upload | Self::AudioToText => UserPlace::Form,
            _ => UserPlace::None,
        }
    }
}
