//! The messages of a chat: texts and files of each. System texts are taken out, so that it does not
//! matter where they stand; what is left is the transcript.

use serde_json::{Map, Value};

use super::request_fields::ignore;
use crate::adapter::attachments::{self, AttachError};
use crate::adapter::completion_request::{Attachment, CompletionRequest, Message, Role};
use crate::adapter::json_object::{missing, pass_over, wrong_type, wrong_value};
use crate::adapter::transcript;
use crate::model::GatewayError;

/// Where `role` says that a text belongs.
enum MessageKind {
    System,
    Transcript(Role),
}

/// Reads `messages` into the system text, the transcript and the question.
pub(super) fn read(messages: Value, request: &mut CompletionRequest) -> Result<(), GatewayError> {
    let Value::Array(messages) = messages else { return Err(wrong_type("messages", "a list")) };
    let mut said: Vec<Message> = Vec::new();
    let (mut last, mut trailing) = (String::new(), Vec::new());
    for (place, written) in messages.iter().enumerate() {
        let at = format!("messages[{place}]");
        let Value::Object(written) = written else { return Err(wrong_type(&at, "an object")) };
        let role = role(written, &at)?;
        if written.get("name").is_some_and(|name| !name.is_null()) {
            ignore(request, "messages.name");
        }
        let message = content(written, &role, (&at, &mut *request))?;
        match role {
            MessageKind::System if message.text.trim().is_empty() => {}
            MessageKind::System => trailing.push(message.text),
            MessageKind::Transcript(role) => {
                for text in trailing.drain(..) {
                    transcript::add_system(&mut request.system, &text);
                }
                transcript::add(&mut said, Message { role, ..message });
                last = at;
            }
        }
    }
    transcript::settle(request, said, trailing, ("messages", &last))
}

fn role(message: &Map<String, Value>, at: &str) -> Result<MessageKind, GatewayError> {
    let at = format!("{at}.role");
    match message.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Ok(MessageKind::System),
        Some("user") => Ok(MessageKind::Transcript(Role::User)),
        Some("assistant") => Ok(MessageKind::Transcript(Role::Assistant)),
        Some("tool" | "function") => Ok(MessageKind::Transcript(Role::Tool)),
        _ => Err(wrong_value(&at, "must be system, developer, user, assistant or tool")),
    }
}

/// Texts and files of a message.
fn content(
    message: &Map<String, Value>,
    place: &MessageKind,
    (at, request): (&str, &mut CompletionRequest),
) -> Result<Message, GatewayError> {
    let at = format!("{at}.content");
    let mut said = Message::default();
    let parts = match message.get("content") {
        Some(Value::String(text)) => return Ok(Message { text: text.clone(), ..said }),
        Some(Value::Array(parts)) => parts,
        None | Some(Value::Null)
            if matches!(place, MessageKind::Transcript(Role::Assistant | Role::Tool)) =>
        {
            // It called a tool of the client's, or is what that did not say.
            return Ok(said);
        }
        None | Some(Value::Null) => return Err(missing(&at)),
        Some(_) => return Err(wrong_type(&at, "a string or an array of parts")),
    };
    let mut texts: Vec<&str> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let at = format!("{at}[{number}]");
        let Value::Object(part) = part else { return Err(wrong_type(&at, "an object")) };
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        if matches!(place, MessageKind::System) && !matches!(kind, "" | "text") {
            pass_over(&mut request.ignored, "messages.content", kind);
            continue;
        }
        match kind {
            "text" | "refusal" => texts.push(text(part.get(kind), &format!("{at}.{kind}"))?),
            "image_url" => said.attachments.push(picture(part, &at, request)?),
            "input_audio" => said.attachments.push(sound(part, &at)?),
            "file" => said.attachments.push(file(part, &at)?),
            "" => {
                let why = "must be text, image_url, input_audio or file";
                return Err(wrong_value(&format!("{at}.type"), why));
            }
            // Of a newer protocol, or of another one: its text is what can be passed to an app.
            kind => match part.get("text") {
                Some(Value::String(text)) => texts.push(text),
                _ => pass_over(&mut request.ignored, "messages.content", kind),
            },
        }
    }
    said.text = texts.join("\n");
    Ok(said)
}

/// `{"image_url": {"url", "detail"}}`; some clients write the URL without the object.
fn picture(
    part: &Map<String, Value>,
    at: &str,
    request: &mut CompletionRequest,
) -> Result<Attachment, GatewayError> {
    let at = format!("{at}.image_url");
    let (url, at) = match part.get("image_url") {
        Some(Value::Object(picture)) => {
            let detail = picture.get("detail").and_then(Value::as_str).unwrap_or("auto");
            if detail != "auto" {
                ignore(request, "messages.content.image_url.detail");
            }
            (picture.get("url"), format!("{at}.url"))
        }
        other => (other, at),
    };
    attachments::picture(text(url, &at)?).map_err(|error| refused(&at, error))
}

/// `{"input_audio": {"data", "format"}}`
fn sound(part: &Map<String, Value>, at: &str) -> Result<Attachment, GatewayError> {
    let at = format!("{at}.input_audio");
    let sound = map(part.get("input_audio"), &at)?;
    let format = match sound.get("format").and_then(Value::as_str) {
        Some(format @ ("wav" | "mp3")) => format,
        _ => return Err(wrong_value(&format!("{at}.format"), "must be wav or mp3")),
    };
    let at = format!("{at}.data");
    attachments::sound(text(sound.get("data"), &at)?, format).map_err(|error| refused(&at, error))
}

/// `{"file": {"file_data", "filename"}}`
fn file(part: &Map<String, Value>, at: &str) -> Result<Attachment, GatewayError> {
    let at = format!("{at}.file");
    let file = map(part.get("file"), &at)?;
    if file.get("file_id").is_some_and(|id| !id.is_null()) {
        let why = "This gateway keeps no files: send the file itself as `file_data`, a data URL, \
                   with a `filename`.";
        return Err(GatewayError::unsupported(&format!("{at}.file_id"), why));
    }
    let name = match file.get("filename") {
        None | Some(Value::Null) => None,
        name => Some(text(name, &format!("{at}.filename"))?),
    };
    let at = format!("{at}.file_data");
    attachments::file(text(file.get("file_data"), &at)?, name).map_err(|error| refused(&at, error))
}

fn refused(at: &str, error: AttachError) -> GatewayError {
    wrong_value(at, error)
}

fn map<'a>(value: Option<&'a Value>, at: &str) -> Result<&'a Map<String, Value>, GatewayError> {
    match value {
        Some(Value::Object(map)) => Ok(map),
        None | Some(Value::Null) => Err(missing(at)),
        Some(_) => Err(wrong_type(at, "an object")),
    }
}

fn text<'a>(value: Option<&'a Value>, at: &str) -> Result<&'a str, GatewayError> {
    match value {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => Err(missing(at)),
        Some(_) => Err(wrong_type(at, "a string")),
    }
}
