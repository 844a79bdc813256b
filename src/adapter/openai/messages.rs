//! The messages of a chat: texts and files of each. System texts are taken out, so that it does not
//! matter where they stand; what is left is the transcript.

use serde_json::Value;

use super::request_fields::ignore;
use crate::adapter::attachments::{self, AttachError};
use crate::adapter::completion_request::{Attachment, CompletionRequest, Message, Role};
use crate::adapter::json_object::{
    JsonObject, Part, items, missing, pass_over, wrong_type, wrong_value,
};
use crate::adapter::transcript;
use crate::model::GatewayError;

/// Where `role` says that a text belongs.
enum MessageKind {
    System,
    Transcript(Role),
}

/// Reads `messages` into the system text, the transcript and the question.
pub(super) fn read(
    messages: Part<'_>,
    request: &mut CompletionRequest,
) -> Result<(), GatewayError> {
    let Part::List(messages) = messages else { return Err(wrong_type("messages", "a list")) };
    let messages = items(messages);
    let mut said: Vec<Message> = Vec::with_capacity(messages.clone().count());
    let (mut last, mut trailing) = (String::new(), Vec::new());
    for (place, message) in messages.enumerate() {
        let at = format!("messages[{place}]");
        let mut message = JsonObject::of_text(at.as_str(), message)?;
        let role = role(&mut message)?;
        if message.take("name").is_some() {
            ignore(request, "messages.name");
        }
        let message = content(&mut message, &role, request)?;
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

fn role(message: &mut JsonObject<'_>) -> Result<MessageKind, GatewayError> {
    match message.take("role").as_ref().and_then(Value::as_str) {
        Some("system" | "developer") => Ok(MessageKind::System),
        Some("user") => Ok(MessageKind::Transcript(Role::User)),
        Some("assistant") => Ok(MessageKind::Transcript(Role::Assistant)),
        Some("tool" | "function") => Ok(MessageKind::Transcript(Role::Tool)),
        _ => {
            let why = "must be system, developer, user, assistant or tool";
            Err(wrong_value(&message.place("role"), why))
        }
    }
}

/// Texts and files of a message.
fn content(
    message: &mut JsonObject<'_>,
    place: &MessageKind,
    request: &mut CompletionRequest,
) -> Result<Message, GatewayError> {
    let at = message.place("content");
    let mut said = Message::default();
    let parts = match message.part("content") {
        Some(Part::Text(text)) => return Ok(Message { text, ..said }),
        Some(Part::List(parts)) => items(parts),
        None if matches!(place, MessageKind::Transcript(Role::Assistant | Role::Tool)) => {
            // It called a tool of the client's, or is what that did not say.
            return Ok(said);
        }
        None => return Err(missing(&at)),
        Some(_) => return Err(wrong_type(&at, "a string or an array of parts")),
    };
    let mut text: Option<String> = None;
    let mut add = |more: String| match &mut text {
        // It may be large.
        None => text = Some(more),
        Some(text) => {
            text.push('\n');
            text.push_str(&more);
        }
    };
    for (number, part) in parts.enumerate() {
        let mut part = JsonObject::of_text(format!("{at}[{number}]"), part)?;
        let kind = part.take("type");
        let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
        if matches!(place, MessageKind::System) && !matches!(kind, "" | "text") {
            pass_over(&mut request.ignored, "messages.content", kind);
            continue;
        }
        match kind {
            "text" | "refusal" => add(part.need_text(kind)?),
            "image_url" => said.attachments.push(picture(&mut part, request)?),
            "input_audio" => said.attachments.push(sound(&mut part)?),
            "file" => said.attachments.push(file(&mut part)?),
            "" => {
                let why = "must be text, image_url, input_audio or file";
                return Err(wrong_value(&part.place("type"), why));
            }
            // Of a newer protocol, or of another one: its text is what an app can be told.
            kind => match part.part("text") {
                Some(Part::Text(text)) => add(text),
                _ => pass_over(&mut request.ignored, "messages.content", kind),
            },
        }
    }
    said.text = text.unwrap_or_default();
    Ok(said)
}

/// `{"image_url": {"url", "detail"}}`; some clients write the URL without the object.
fn picture(
    part: &mut JsonObject<'_>,
    request: &mut CompletionRequest,
) -> Result<Attachment, GatewayError> {
    let at = part.place("image_url");
    let (url, at) = match part.need_part("image_url")? {
        Part::Object(picture) => {
            let mut picture = JsonObject::of_text(at, picture)?;
            let detail = picture.take("detail");
            if detail.as_ref().and_then(Value::as_str).is_some_and(|detail| detail != "auto") {
                ignore(request, "messages.content.image_url.detail");
            }
            (picture.need_text("url")?, picture.place("url"))
        }
        Part::Text(url) => (url, at),
        _ => return Err(wrong_type(&at, "a string")),
    };
    attachments::picture(&url).map_err(|error| refused(&at, error))
}

/// `{"input_audio": {"data", "format"}}`
fn sound(part: &mut JsonObject<'_>) -> Result<Attachment, GatewayError> {
    let mut sound = part.need_fields("input_audio")?;
    let format = sound.take("format");
    let format = match format.as_ref().and_then(Value::as_str) {
        Some(format @ ("wav" | "mp3")) => format,
        _ => return Err(wrong_value(&sound.place("format"), "must be wav or mp3")),
    };
    let data = sound.need_text("data")?;
    attachments::sound(&data, format).map_err(|error| refused(&sound.place("data"), error))
}

/// `{"file": {"file_data", "filename"}}`
fn file(part: &mut JsonObject<'_>) -> Result<Attachment, GatewayError> {
    let mut file = part.need_fields("file")?;
    if file.take("file_id").is_some() {
        let why = "This gateway keeps no files: send the file itself as `file_data`, a data URL, \
                   with a `filename`.";
        return Err(GatewayError::unsupported(&file.place("file_id"), why));
    }
    let name = file.text("filename")?;
    let data = file.need_text("file_data")?;
    attachments::file(&data, name.as_deref())
        .map_err(|error| refused(&file.place("file_data"), error))
}

fn refused(at: &str, error: AttachError) -> GatewayError {
    wrong_value(at, error)
}
