//! Dify's request, built from a [`CompletionRequest`].
//!
//! Towards Dify every run is streamed: agents refuse anything else, and a stream names its task at
//! once, which is needed to stop it.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::app_info::{AppInfo, InputForm};
use super::completion_request::{CompletionRequest, FileKind, Message};
use super::mode::Mode;
use crate::model::doors::System;
use crate::model::{ErrorKind, GatewayError};

/// The most characters of a transcript that a new conversation begins with; the newest stay.
const MAX_SEED_CHARS: usize = 8000;
/// Inputs that take the system text, where an app has one.
const SYSTEM_INPUTS: [&str; 3] = ["system_prompt", "system", "instructions"];
/// Inputs that take the question, where several could.
const QUERY_INPUTS: [&str; 6] = ["query", "question", "text", "input", "prompt", "message"];

/// How an app takes what it is asked.
#[derive(Clone, Debug, Default)]
pub struct InputMapping {
    /// The input that takes the question, of apps without conversations; found if none is said.
    pub query_input: Option<String>,
    /// What becomes of system texts.
    pub system: System,
}

/// Where a run belongs.
#[derive(Clone, Copy, Debug)]
pub struct RunContext<'a> {
    /// The user, as Dify will know it.
    pub user: &'a str,
    /// The conversation that it continues. None begins a new one, with the transcript if there is
    /// one.
    pub conversation: Option<&'a str>,
    /// The files, ready for Dify.
    pub files: &'a [FileRef],
}

/// A file as Dify finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// What kind of file.
    pub kind: FileKind,
    /// Where it is.
    pub place: FileLocation,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileLocation {
    /// Uploaded, under this id.
    Uploaded(String),
    /// Dify fetches it.
    Url(String),
}

impl FileRef {
    /// Its id, if it was uploaded.
    pub fn uploaded(&self) -> Option<&str> {
        match &self.place {
            FileLocation::Uploaded(id) => Some(id),
            FileLocation::Url(_) => None,
        }
    }

    fn value(&self) -> Value {
        let kind = self.kind.name();
        match &self.place {
            FileLocation::Uploaded(id) => {
                json!({"type": kind, "transfer_method": "local_file", "upload_file_id": id})
            }
            FileLocation::Url(url) => {
                json!({"type": kind, "transfer_method": "remote_url", "url": url})
            }
        }
    }
}

/// The JSON body of the run.
///
/// # Errors
/// The app wants inputs that cannot be found out.
pub fn body(
    request: &CompletionRequest,
    app: &AppInfo,
    mapping: &InputMapping,
    run: RunContext<'_>,
) -> Result<Map<String, Value>, GatewayError> {
    let mut inputs = request.inputs.clone();
    let is_new = run.conversation.is_none();
    let head = system(request, app, mapping, &mut inputs).filter(|_| is_new);
    let before = if is_new { request.before.as_slice() } else { &[] };
    let query = query(head, before, &request.question, run.files);
    let mut files: Vec<_> = run.files.iter().map(FileRef::value).collect();
    let mut body = Map::new();
    if app.mode.has_conversations() {
        body.insert("query".into(), query.into());
        body.insert("conversation_id".into(), run.conversation.unwrap_or("").into());
        body.insert("auto_generate_name".into(), false.into());
    } else {
        let name = query_input(app, mapping)?;
        inputs.entry(name).or_insert_with(|| query.into());
        into_inputs(&app.form, &mut files, &mut inputs);
    }
    body.insert("inputs".into(), inputs.into());
    body.insert("user".into(), run.user.into());
    body.insert("response_mode".into(), "streaming".into());
    if !files.is_empty() {
        body.insert("files".into(), files.into());
    }
    Ok(body)
}

/// Puts the system text where it belongs; what is left stands at the head of the question.
fn system<'a>(
    request: &'a CompletionRequest,
    app: &AppInfo,
    mapping: &InputMapping,
    inputs: &mut Map<String, Value>,
) -> Option<&'a str> {
    let text = request.system.as_deref().filter(|text| !text.trim().is_empty())?;
    let name = match &mapping.system {
        System::Ignore => return None,
        System::Prefix => return Some(text),
        System::Input(name) => name.as_str(),
        System::Auto => match SYSTEM_INPUTS.into_iter().find(|name| app.form.is_text(name)) {
            Some(name) => name,
            None => return Some(text),
        },
    };
    inputs.entry(name).or_insert_with(|| text.into());
    None
}

/// The question, with all that the conversation does not know yet.
fn query(head: Option<&str>, before: &[Message], question: &Message, files: &[FileRef]) -> String {
    let mut query = String::new();
    if let Some(head) = head {
        // Writing to a string cannot fail.
        let _ = write!(query, "{head}\n\n");
    }
    let text = question.text.as_str();
    let text = match text.trim().is_empty() {
        // Dify takes no empty question.
        true if !files.is_empty() => "(file)",
        _ => text,
    };
    if before.is_empty() {
        query.push_str(text);
        return query;
    }
    query.push_str("Conversation so far:\n");
    for message in newest(before) {
        let name = match message.role.name() {
            "user" => "User",
            "tool" => "Tool",
            _ => "Assistant",
        };
        let _ = write!(query, "{name}: {}\n\n", message.text.trim());
    }
    let _ = write!(query, "User: {text}");
    query
}

/// The end of a transcript, as much as has room; at least its last message.
fn newest(before: &[Message]) -> &[Message] {
    let mut chars = 0;
    let mut from = before.len();
    while from > 0 {
        chars += before[from - 1].text.chars().count();
        if chars > MAX_SEED_CHARS && from < before.len() {
            break;
        }
        from -= 1;
    }
    &before[from..]
}

/// The input that takes the question, of an app without conversations.
fn query_input(app: &AppInfo, mapping: &InputMapping) -> Result<String, GatewayError> {
    if let Some(name) = &mapping.query_input {
        return Ok(name.clone());
    }
    if app.mode == Mode::Completion && app.form.texts().next().is_none() {
        return Ok("query".to_owned());
    }
    if let Some(name) = QUERY_INPUTS.into_iter().find(|name| app.form.is_text(name)) {
        return Ok(name.to_owned());
    }
    let only = |required: bool| {
        let mut inputs = app.form.texts().filter(|input| input.required || !required);
        inputs.next().filter(|_| inputs.next().is_none())
    };
    let found = only(true).or_else(|| only(false));
    found.map(|input| input.name.clone()).ok_or_else(|| {
        let message = "The gateway cannot tell which input of this app takes the question: set \
                       `query_input` for the app.";
        GatewayError::new(500, ErrorKind::Server, "app_not_configured", message).for_good()
    })
}

/// An app whose form asks for files gets them there.
fn into_inputs(form: &InputForm, files: &mut Vec<Value>, inputs: &mut Map<String, Value>) {
    if files.is_empty() {
        return;
    }
    if let Some(name) = form.of_kind("file-list") {
        inputs.entry(name).or_insert_with(|| Value::Array(std::mem::take(files)));
    } else if let Some(name) = form.of_kind("file") {
        inputs.entry(name).or_insert_with(|| files.remove(0));
    }
}
