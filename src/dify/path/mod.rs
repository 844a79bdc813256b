//! What a path of Dify's service API means: which call, which methods, which id it carries.
//!
//! The routes are those of Dify 1.5.0 and, marked in [`CallKind`], those added up to 2026. A path
//! that is none of them is [`CallKind::Unknown`] and is forwarded all the same: a newer Dify may
//! know it, and an older one answers its own 404.
//!
//! As in Dify, a trailing slash makes another path (404), ids of conversations, messages, files
//! and annotations must be UUIDs, and slashes before `v1` may be doubled (`//v1/info` is served).
//!
//! Two kinds of path stand beside `/v1` and need no key, because they are one: signed links to files
//! and the servers of the model context protocol. All else of Dify is for its own web pages.
//!
//! Every route of the knowledge API that names a document, a segment or anything else of a dataset
//! names the dataset before it, so that is the id that matters there, and the only one.
//!
//! Paths are taken without the query, and [`normal()`]: Dify undoes percent-encoding before it looks for a
//! route, so `/v1/%69nfo` is `/v1/info` to it.

mod call;
mod normal;
mod secrets;
#[cfg(test)]
mod tests;

use http::Method;
use memchr::memchr2;

pub use self::call::{Call, CallKind, Id, Run, TextId};
pub use self::normal::normal;
pub use self::secrets::without_secrets;

/// Understands a path (without its query).
pub fn classify(path: &str) -> Call<'_> {
    if !is_service_api(path) {
        return keyless(path);
    }
    let path = path.trim_start_matches('/');
    let Some(path) = path.strip_prefix("v1/") else { return Call::UNKNOWN };
    // The longest route has six parts; what has more fits none of them.
    let mut parts = [""; 6];
    let mut count = 0;
    for part in path.split('/') {
        let Some(room) = parts.get_mut(count) else { return by_prefix(path) };
        *room = part;
        count += 1;
    }
    let call = route(&parts[..count]);
    if call.kind == CallKind::Unknown { by_prefix(path) } else { call }
}

/// The `Allow` text for a path; `None` for an unknown one and for those of datasets.
pub fn allowed_methods(path: &str) -> Option<&'static str> {
    classify(path).kind.allow()
}

/// Whether this request starts a run of an app.
pub fn starts_run(method: &Method, path: &str) -> bool {
    method == Method::POST && classify(path).starts_run(method)
}

/// Whether a path is `/v1` or below it: what a client needs a key for.
///
/// A path with `..` in it, encoded or not, is none: Dify takes it as it is, but the nginx in front
/// of a Dify resolves it, and `/v1/../console/api/setup` would leave the service API.
pub fn is_service_api(path: &str) -> bool {
    let Some(rest) = path.trim_start_matches('/').strip_prefix("v1") else { return false };
    path.starts_with('/') && (rest.is_empty() || rest.starts_with('/')) && !climbs(rest)
}

/// Whether a part of the path, decoded once, is `..`.
fn climbs(path: &str) -> bool {
    if memchr2(b'.', b'%', path.as_bytes()).is_none() {
        return false;
    }
    let bytes = path.as_bytes();
    let (mut dots, mut others, mut at) = (0, 0, 0);
    while at < bytes.len() {
        let byte = match decoded(&bytes[at..]) {
            Some(byte) => {
                at += 2;
                byte
            }
            None => bytes[at],
        };
        at += 1;
        match byte {
            b'/' if (dots, others) == (2, 0) => return true,
            b'/' => (dots, others) = (0, 0),
            b'.' => dots += 1,
            _ => others += 1,
        }
    }
    (dots, others) == (2, 0)
}

fn decoded(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// Calls that are told by their first part alone.
fn by_prefix(path: &str) -> Call<'_> {
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        (Some("datasets"), None) => plain(CallKind::DatasetList),
        (Some("datasets"), Some(id)) if is_uuid(id) => {
            Call { kind: CallKind::Datasets, id: Some(Id::Dataset(id)) }
        }
        (Some("datasets" | "workspaces" | "knowledge-fs"), _) => plain(CallKind::Datasets),
        _ => Call::UNKNOWN,
    }
}

/// What is served without a key. As Dify's routes have it, to the letter: a path with anything more
/// in it, be it `..` or a doubled slash, is none of them.
fn keyless(path: &str) -> Call<'_> {
    if let Some(rest) = path.strip_prefix("/files/") {
        let (id, is_known) = match rest.split_once('/') {
            Some(("tools", name)) => {
                let (id, ending) = name.split_once('.').unwrap_or_default();
                let is_ending = ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
                (id, is_ending && !ending.is_empty())
            }
            Some((id, what)) => (id, matches!(what, "file-preview" | "image-preview")),
            None => return Call::UNKNOWN,
        };
        return if is_known {
            with_uuid(CallKind::SignedFile, Id::File(id), id)
        } else {
            Call::UNKNOWN
        };
    }
    let code = path.strip_prefix("/mcp/server/").and_then(|rest| rest.strip_suffix("/mcp"));
    let is_code = |code: &&str| code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match code.filter(is_code) {
        Some(code) => with(CallKind::McpServer, Id::McpServer(code), code),
        None => Call::UNKNOWN,
    }
}

fn plain<'p>(kind: CallKind) -> Call<'p> {
    Call { kind, id: None }
}

/// A call with an id that is any text.
fn with<'p>(kind: CallKind, id: Id<'p>, text: &str) -> Call<'p> {
    if text.is_empty() { Call::UNKNOWN } else { Call { kind, id: Some(id) } }
}

/// A call with an id that must be a UUID.
fn with_uuid<'p>(kind: CallKind, id: Id<'p>, text: &str) -> Call<'p> {
    if is_uuid(text) { Call { kind, id: Some(id) } } else { Call::UNKNOWN }
}

fn route<'p>(parts: &[&'p str]) -> Call<'p> {
    match *parts {
        [""] => plain(CallKind::Root),
        ["chat-messages"] => plain(CallKind::Run(Run::Chat)),
        ["completion-messages"] => plain(CallKind::Run(Run::Completion)),
        ["workflows", "run"] => plain(CallKind::Run(Run::Workflow)),
        ["chat-messages", id, "stop"] => with(CallKind::Stop(Run::Chat), Id::Task(id), id),
        ["completion-messages", id, "stop"] => {
            with(CallKind::Stop(Run::Completion), Id::Task(id), id)
        }
        ["workflows", "tasks", id, "stop"] => with(CallKind::Stop(Run::Workflow), Id::Task(id), id),
        ["workflows", "run", id] => with(CallKind::WorkflowRunDetail, Id::WorkflowRun(id), id),
        ["workflows", id, "run"] => with(CallKind::Run(Run::Workflow), Id::Workflow(id), id),
        ["workflows", "logs"] => plain(CallKind::WorkflowLogs),
        ["workflow", id, "events"] => with(CallKind::WorkflowEvents, Id::WorkflowRun(id), id),
        ["files", "upload"] => plain(CallKind::Upload),
        ["files", id, "preview"] => with_uuid(CallKind::FilePreview, Id::File(id), id),
        ["conversations", ref rest @ ..] => conversations(rest),
        ["messages"] => plain(CallKind::Messages),
        ["messages", id, "feedbacks"] => with_uuid(CallKind::Feedback, Id::Message(id), id),
        ["messages", id, "suggested"] => with_uuid(CallKind::Suggested, Id::Message(id), id),
        ["apps", ref rest @ ..] => annotations(rest),
        ["audio-to-text"] => plain(CallKind::AudioToText),
        ["text-to-audio"] => plain(CallKind::TextToAudio),
        ["app", "feedbacks"] => plain(CallKind::AppFeedbacks),
        ["info"] => plain(CallKind::Info),
        ["parameters"] => plain(CallKind::Parameters),
        ["meta"] => plain(CallKind::Meta),
        ["site"] => plain(CallKind::Site),
        ["form", "human_input", token] => with(CallKind::HumanInputForm, Id::Form(token), token),
        ["end-users", id] => with_uuid(CallKind::EndUser, Id::EndUser(id), id),
        _ => Call::UNKNOWN,
    }
}

fn conversations<'p>(parts: &[&'p str]) -> Call<'p> {
    let (kind, id) = match *parts {
        [] => return plain(CallKind::Conversations),
        [id] => (CallKind::Conversation, id),
        [id, "name"] => (CallKind::ConversationName, id),
        [id, "variables"] => (CallKind::ConversationVariables, id),
        [id, "variables", variable] if is_uuid(variable) => (CallKind::ConversationVariable, id),
        _ => return Call::UNKNOWN,
    };
    with_uuid(kind, Id::Conversation(id), id)
}

fn annotations<'p>(parts: &[&'p str]) -> Call<'p> {
    match *parts {
        ["annotations"] => plain(CallKind::Annotations),
        ["annotations", id] => with_uuid(CallKind::Annotation, Id::Annotation(id), id),
        ["annotation-reply", action] if !action.is_empty() => plain(CallKind::AnnotationReply),
        ["annotation-reply", _, "status", job] => {
            with_uuid(CallKind::AnnotationReplyStatus, Id::AnnotationJob(job), job)
        }
        _ => Call::UNKNOWN,
    }
}

/// 8-4-4-4-12 hexadecimal digits, as Dify's routes ask for.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
