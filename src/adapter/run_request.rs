//! Dify's request, built from a [`CompletionRequest`].
//!
//! Towards Dify every run is streamed: agents refuse anything else, and a stream names its task at
//! once, which is needed to stop it.

use std::borrow::Cow;
use std::fmt::Write;
use std::mem;

use serde::Serialize;
use serde_json::{Value, json};

use super::app_info::{AppInfo, InputForm};
use super::completion_request::{CompletionRequest, FileKind, Message};
use super::mode::Mode;
use super::object_text::ObjectText;
use crate::model::ai::System;
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

/// The body of the run. Texts in it are those of what was asked: they may be most of a large request.
#[derive(Debug)]
pub struct Body<'a> {
    /// Of apps with conversations; others have it among the inputs.
    query: Option<Cow<'a, str>>,
    conversation: &'a str,
    inputs: &'a ObjectText,
    more_inputs: Vec<(String, Input<'a>)>,
    user: &'a str,
    files: Vec<Value>,
}

/// An input that the gateway adds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Text(Cow<'a, str>),
    Json(Value),
}

impl<'a> Body<'a> {
    /// What an app is asked.
    ///
    /// # Errors
    /// The app wants inputs that cannot be found out.
    pub fn new(
        request: &'a CompletionRequest,
        app: &AppInfo,
        mapping: &InputMapping,
        run: RunContext<'a>,
    ) -> Result<Self, GatewayError> {
        let is_new = run.conversation.is_none();
        let mut body = Self {
            query: None,
            conversation: run.conversation.unwrap_or(""),
            inputs: &request.inputs,
            more_inputs: Vec::new(),
            user: run.user,
            files: run.files.iter().map(FileRef::value).collect(),
        };
        let head = body.system(request, app, mapping).filter(|_| is_new);
        let before = if is_new { request.before.as_slice() } else { &[] };
        let query = query(head, before, &request.question, run.files);
        if app.mode.has_conversations() {
            body.query = Some(query);
        } else {
            let name = query_input(app, mapping)?;
            if !body.has_input(&name) {
                body.more_inputs.push((name, Input::Text(query)));
            }
            body.files_into_inputs(&app.form);
        }
        Ok(body)
    }

    /// Its JSON.
    ///
    /// # Errors
    /// None that is known: it goes into memory.
    pub fn write(&self) -> serde_json::Result<Vec<u8>> {
        let text_bytes = self.query.as_ref().map_or(0, |query| query.len());
        let mut json = Vec::with_capacity(text_bytes + self.inputs.text().len() + 512);
        if let Some(query) = &self.query {
            field(&mut json, "query", query)?;
            field(&mut json, "conversation_id", self.conversation)?;
            field(&mut json, "auto_generate_name", &false)?;
        }
        name(&mut json, "inputs")?;
        self.inputs.write(&self.more_inputs, &mut json)?;
        field(&mut json, "user", self.user)?;
        field(&mut json, "response_mode", "streaming")?;
        if !self.files.is_empty() {
            field(&mut json, "files", &self.files)?;
        }
        json.push(b'}');
        Ok(json)
    }

    /// Whether an input has a value already: the client's own goes before the gateway's.
    fn has_input(&self, name: &str) -> bool {
        self.more_inputs.iter().any(|(known, _)| known == name) || self.inputs.has(name)
    }

    /// Puts the system text where it belongs; what is left stands at the head of the question.
    fn system(
        &mut self,
        request: &'a CompletionRequest,
        app: &AppInfo,
        mapping: &InputMapping,
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
        if !self.has_input(name) {
            self.more_inputs.push((name.to_owned(), Input::Text(text.into())));
        }
        None
    }

    /// An app whose form asks for files gets them there.
    fn files_into_inputs(&mut self, form: &InputForm) {
        if self.files.is_empty() {
            return;
        }
        if let Some(name) = form.of_kind("file-list") {
            if !self.has_input(&name) {
                let files = mem::take(&mut self.files).into();
                self.more_inputs.push((name, Input::Json(files)));
            }
        } else if let Some(name) = form.of_kind("file")
            && !self.has_input(&name)
        {
            let file = self.files.remove(0);
            self.more_inputs.push((name, Input::Json(file)));
        }
    }
}

/// Writes a field of an object that is not closed yet, and not begun if nothing is there.
fn field<T: Serialize + ?Sized>(
    json: &mut Vec<u8>,
    called: &str,
    value: &T,
) -> serde_json::Result<()> {
    name(json, called)?;
    serde_json::to_writer(json, value)
}

/// Writes its name.
fn name(json: &mut Vec<u8>, called: &str) -> serde_json::Result<()> {
    json.push(if json.is_empty() { b'{' } else { b',' });
    serde_json::to_writer(&mut *json, called)?;
    json.push(b':');
    Ok(())
}

/// The question, with all that the conversation does not know yet.
fn query<'a>(
    head: Option<&str>,
    before: &[Message],
    question: &'a Message,
    files: &[FileRef],
) -> Cow<'a, str> {
    let text = question.text.as_str();
    let text = match text.trim().is_empty() {
        // Dify takes no empty question.
        true if !files.is_empty() => "(file)",
        _ => text,
    };
    if head.is_none() && before.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut query = String::new();
    if let Some(head) = head {
        // Writing to a string cannot fail.
        let _ = write!(query, "{head}\n\n");
    }
    if before.is_empty() {
        query.push_str(text);
        return query.into();
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
    query.into()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adapter::openai::chat;

    fn written(inputs: &str, form: &Value, mode: &str, is_new: bool) -> String {
        let request = format!(
            r#"{{"model":"m","inputs":{inputs},"messages":[{{"role":"system","content":"s"}},
            {{"role":"user","content":"hi"}}]}}"#
        );
        let (request, _) = chat::read(request).unwrap();
        let info = json!({ "mode": mode }).to_string();
        let form = json!({ "user_input_form": form }).to_string();
        let app = AppInfo::read(info.as_bytes(), form.as_bytes()).unwrap();
        let file = FileRef { kind: FileKind::Image, place: FileLocation::Uploaded("f".into()) };
        let conversation = if is_new { None } else { Some("c") };
        let run = RunContext { user: "u", conversation, files: &[file] };
        let json =
            Body::new(&request, &app, &InputMapping::default(), run).unwrap().write().unwrap();
        String::from_utf8(json).unwrap()
    }

    const FILE: &str = r#"{"type":"image","transfer_method":"local_file","upload_file_id":"f"}"#;
    const END: &str = r#""user":"u","response_mode":"streaming""#;

    #[test]
    fn a_chat_has_the_question_and_the_inputs_as_they_came() {
        let expected = |query: &str, conversation: &str, inputs: &str| {
            format!(
                "{{\"query\":\"{query}\",\"conversation_id\":\"{conversation}\",\
                 \"auto_generate_name\":false,\"inputs\":{inputs},{END},\"files\":[{FILE}]}}"
            )
        };
        let inputs = r#"{ "a": 1.50, "a": "\u0041"}"#;
        let none = json!([]);
        assert_eq!(written(inputs, &none, "chat", true), expected("s\\n\\nhi", "", inputs));
        assert_eq!(written("{}", &none, "chat", false), expected("hi", "c", "{}"));
        // An input for the system text gets it, unless the client fills it.
        let form = json!([{"paragraph": {"variable": "system"}}]);
        let with = r#"{"a":1,"system":"s"}"#;
        assert_eq!(written(r#"{"a":1}"#, &form, "chat", true), expected("hi", "", with));
        let own = r#"{"\u0073ystem":"mine"}"#;
        assert_eq!(written(own, &form, "chat", true), expected("hi", "", own));
    }

    #[test]
    fn a_workflow_has_question_and_files_among_its_inputs() {
        let form = json!([
            {"paragraph": {"variable": "query"}},
            {"file-list": {"variable": "documents"}},
        ]);
        assert_eq!(
            written("null", &form, "workflow", false),
            format!("{{\"inputs\":{{\"query\":\"hi\",\"documents\":[{FILE}]}},{END}}}")
        );
        // The client's own inputs stay, and the files where others have them.
        let own = r#"{"query":7,"documents":null}"#;
        assert_eq!(
            written(own, &form, "workflow", false),
            format!("{{\"inputs\":{own},{END},\"files\":[{FILE}]}}")
        );
    }
}
