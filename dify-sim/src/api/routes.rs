//! Which path is which route, which methods it has, where its body and user stand.
//!
//! An id in a path must be a UUID where Dify's route says so; another word there is a path that
//! does not exist. Deliberately absent: most of the console and the web-app API, and many dataset
//! routes.

use crate::release::Release;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Index,
    Chat,
    ChatStop(String),
    Completion,
    CompletionStop(String),
    WorkflowRun,
    /// A run of the published version of this id.
    WorkflowRunOf(String),
    WorkflowRunGet(String),
    /// The events of a run, by its run id.
    RunEvents(String),
    /// The form of a pause, by its token.
    Form(String),
    WorkflowStop(String),
    WorkflowLogs,
    Conversations,
    Conversation(Uuid),
    ConversationName(Uuid),
    ConversationVariables(Uuid),
    ConversationVariable(Uuid, Uuid),
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
    /// Switches the answering by annotations on or off.
    AnnotationReply(String),
    AnnotationReplyStatus(Uuid),
    EndUser(Uuid),
    /// A file of a message, by its upload's id and with a key.
    Preview(Uuid),
    /// Any route that wants a dataset key: its path below `/v1/`.
    Dataset(String),
    /// An app as a server of the Model Context Protocol, by its code.
    Mcp(String),
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
pub(crate) fn find(path: &str, release: Release) -> Option<Route> {
    if let Some(rest) = path.strip_prefix("/v1/") {
        let parts: Vec<&str> = rest.split('/').collect();
        return service(rest, &parts).or_else(|| later(&parts, release));
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
            if let Some(code) = path.strip_prefix("/mcp/server/") {
                let code = code.strip_suffix("/mcp").filter(|code| !code.contains('/'))?;
                return release.is_restx().then(|| Route::Mcp(code.to_owned()));
            }
            let id = path.strip_prefix("/files/")?;
            let id = id.strip_suffix("/file-preview").or_else(|| id.strip_suffix("/image-preview"));
            Some(Route::FilePreview(uuid(id?)?))
        }
    }
}

fn word(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The routes that every release has.
fn service(rest: &str, parts: &[&str]) -> Option<Route> {
    Some(match parts {
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
        ["datasets", ..] | ["workspaces", "current", "models", "model-types", _] => {
            Route::Dataset(rest.to_owned())
        }
        _ => return None,
    })
}

/// The routes that came after 1.5.
fn later(parts: &[&str], release: Release) -> Option<Route> {
    if !release.is_restx() {
        return None;
    }
    Some(match parts {
        ["workflows", id, "run"] => Route::WorkflowRunOf(word(id)?),
        ["conversations", id, "variables", variable] => {
            Route::ConversationVariable(uuid(id)?, uuid(variable)?)
        }
        ["apps", "annotation-reply", action] => Route::AnnotationReply(word(action)?),
        ["apps", "annotation-reply", _, "status", job] => Route::AnnotationReplyStatus(uuid(job)?),
        ["end-users", id] => Route::EndUser(uuid(id)?),
        ["files", id, "preview"] => Route::Preview(uuid(id)?),
        ["workflow", run, "events"] if release.has_forms() => Route::RunEvents(word(run)?),
        ["form", "human_input", token] if release.has_forms() => Route::Form(word(token)?),
        _ => return None,
    })
}

fn uuid(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::parse_str(text).ok() } else { None }
}

impl Route {
    /// Its methods, in the order of the `Allow` header of 1.5.
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Chat
            | Self::ChatStop(_)
            | Self::Completion
            | Self::CompletionStop(_)
            | Self::WorkflowRun
            | Self::WorkflowRunOf(_)
            | Self::WorkflowStop(_)
            | Self::ConversationName(_)
            | Self::Feedbacks(_)
            | Self::Upload
            | Self::AudioToText
            | Self::TextToAudio
            | Self::AnnotationReply(_)
            | Self::Mcp(_) => POST,
            Self::Conversation(_) => &["DELETE", "OPTIONS"],
            Self::ConversationVariable(..) => &["PUT", "OPTIONS"],
            Self::Annotation(_) => &["DELETE", "PUT", "OPTIONS"],
            Self::Annotations | Self::Console | Self::Form(_) => {
                &["GET", "HEAD", "OPTIONS", "POST"]
            }
            Self::Dataset(_) => &["GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE"],
            _ => GET,
        }
    }

    /// Its methods as the `Allow` header has them.
    pub(crate) fn allowed(&self, release: Release) -> String {
        let mut methods = self.methods().to_vec();
        if release.is_restx() {
            match self {
                // The order of a set, as recorded.
                Self::Console => methods = vec!["POST", "HEAD", "GET", "OPTIONS"],
                _ => methods.sort_unstable(),
            }
        }
        methods.join(", ")
    }

    /// Whether it starts a run.
    pub(crate) fn starts_run(&self) -> bool {
        matches!(self, Self::Chat | Self::Completion | Self::WorkflowRun | Self::WorkflowRunOf(_))
    }

    /// Whether it is a route of the service API proper, which wants an app key.
    pub(crate) fn wants_app(&self) -> bool {
        !matches!(
            self,
            Self::Index
                | Self::Dataset(_)
                | Self::Mcp(_)
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
        match (self, self.user(method)) {
            (_, UserPlace::Json | UserPlace::JsonOptional) => BodyKind::Json,
            (_, UserPlace::Form) => BodyKind::Form,
            (Self::Annotations | Self::AnnotationReply(_), _) if method == "POST" => BodyKind::Json,
            (Self::Annotation(_), _) if method == "PUT" => BodyKind::Json,
            (Self::Dataset(_), _) if method == "POST" || method == "PATCH" => BodyKind::Json,
            (Self::Mcp(_), _) => BodyKind::Json,
            _ => BodyKind::None,
        }
    }

    pub(crate) fn user(&self, method: &str) -> UserPlace {
        match self {
            Self::Chat
            | Self::ChatStop(_)
            | Self::Completion
            | Self::CompletionStop(_)
            | Self::WorkflowRun
            | Self::WorkflowRunOf(_)
            | Self::WorkflowStop(_)
            | Self::Feedbacks(_) => UserPlace::Json,
            Self::Form(_) if method == "POST" => UserPlace::Json,
            Self::Conversation(_)
            | Self::ConversationName(_)
            | Self::ConversationVariable(..)
            | Self::TextToAudio => UserPlace::JsonOptional,
            Self::Suggested(_) | Self::RunEvents(_) => UserPlace::Query,
            Self::Conversations
            | Self::ConversationVariables(_)
            | Self::Messages
            | Self::Preview(_) => UserPlace::QueryOptional,
            Self::Upload | Self::AudioToText => UserPlace::Form,
            _ => UserPlace::None,
        }
    }
}
