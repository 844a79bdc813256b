//! `input`: a text, or items of a transcript.

use serde_json::Value;

use crate::adapter::attachments::{self, AttachError};
use crate::adapter::completion_request::{Attachment, CompletionRequest, FileKind, Message, Role};
use crate::adapter::json_object::{self, JsonObject, Part, items};
use crate::adapter::transcript;
use crate::model::GatewayError;

/// A picture's `detail`, which Dify does not know.
const DETAIL: &str = "input.content.detail";

/// Who an item belongs to.
#[derive(Clone, Copy)]
enum Author {
    System,
    Speaker(Role),
}

/// Reads the input into the system text, the transcript and the question.
pub(super) fn read(input: Part<'_>, request: &mut CompletionRequest) -> Result<(), GatewayError> {
    let (mut said, mut trailing) = (Vec::new(), Vec::new());
    let mut last = "input".to_owned();
    match input {
        Part::Text(text) => said.push(Message::new(Role::User, text)),
        Part::List(list) => {
            let list = items(list);
            said.reserve_exact(list.clone().count());
            for (at, item) in list.enumerate() {
                last = format!("input[{at}]");
                let before = said.len();
                read_item(
                    JsonObject::of_text(last.as_str(), item)?,
                    request,
                    (&mut said, &mut trailing),
                )?;
                if said.len() > before {
                    for text in trailing.drain(..) {
                        transcript::add_system(&mut request.system, &text);
                    }
                }
            }
        }
        _ => return Err(json_object::wrong_type("input", "a string or a list of items")),
    }
    transcript::settle(request, said, trailing, ("input", &last))
}

fn read_item(
    mut item: JsonObject<'_>,
    request: &mut CompletionRequest,
    (said, trailing): (&mut Vec<Message>, &mut Vec<String>),
) -> Result<(), GatewayError> {
    let kind = item.text("type")?;
    match kind.as_deref().unwrap_or("message") {
        "message" => {
            let author = author(&mut item)?;
            let place = item.place("content");
            let message = content(author, place, item.need_part("content")?, request)?;
            match author {
                Author::System if message.text.trim().is_empty() => {}
                Author::System => trailing.push(message.text),
                Author::Speaker(_) => transcript::add(said, message),
            }
        }
        // What a model thought is not its answer.
        "reasoning" => {}
        "item_reference" => {
            let why = "is not served, for answers are not kept: send the item itself";
            return Err(json_object::unsupported(&item.place("id"), why));
        }
        kind if kind.ends_with("_call_output") => {
            let place = item.place("output");
            let message = match item.part("output") {
                None => Message { role: Role::Tool, ..Message::default() },
                // A screenshot, or what a shell did.
                Some(Part::Object(_)) => {
                    json_object::pass_over(&mut request.ignored, "input", kind);
                    Message { role: Role::Tool, ..Message::default() }
                }
                Some(output) => content(Author::Speaker(Role::Tool), place, output, request)?,
            };
            transcript::add(said, message);
        }
        // The turn is kept, so that what stands on both sides of it stays apart.
        kind if kind.ends_with("_call") => {
            transcript::add(said, Message::new(Role::Assistant, ""));
        }
        kind => json_object::pass_over(&mut request.ignored, "input", kind),
    }
    Ok(())
}

fn author(item: &mut JsonObject<'_>) -> Result<Author, GatewayError> {
    match item.need_text("role")?.as_str() {
        "system" | "developer" => Ok(Author::System),
        "user" => Ok(Author::Speaker(Role::User)),
        "assistant" => Ok(Author::Speaker(Role::Assistant)),
        _ => {
            let why = "must be system, developer, user or assistant";
            Err(json_object::wrong_value(&item.place("role"), why))
        }
    }
}

/// A text or parts.
fn content(
    author: Author,
    place: String,
    content: Part<'_>,
    request: &mut CompletionRequest,
) -> Result<Message, GatewayError> {
    let role = match author {
        Author::System => Role::User,
        Author::Speaker(role) => role,
    };
    let mut message = Message { role, ..Message::default() };
    let parts = match content {
        Part::Text(text) => return Ok(Message { text, ..message }),
        Part::List(parts) => items(parts),
        _ => return Err(json_object::wrong_type(&place, "a string or a list of parts")),
    };
    for (at, part) in parts.enumerate() {
        let mut part = JsonObject::of_text(format!("{place}[{at}]"), part)?;
        let kind = part.need_text("type")?;
        match (kind.as_str(), author) {
            ("input_text" | "output_text" | "text", _) => {
                transcript::add_line(&mut message.text, &part.need_text("text")?);
            }
            ("refusal", _) => {
                transcript::add_line(&mut message.text, &part.need_text("refusal")?);
            }
            ("input_image", Author::Speaker(_)) => {
                message.attachments.push(picture(&mut part, request)?);
            }
            ("input_file", Author::Speaker(_)) => message.attachments.push(file(&mut part)?),
            ("input_audio", Author::Speaker(_)) => message.attachments.push(sound(&mut part)?),
            // Of a newer protocol: its text is what can be passed to an app.
            (kind, _) => match part.take("text") {
                Some(Value::String(text)) => transcript::add_line(&mut message.text, &text),
                _ => json_object::pass_over(&mut request.ignored, "input.content", kind),
            },
        }
    }
    Ok(message)
}

/// `{"image_url", "detail"}`
fn picture(
    part: &mut JsonObject<'_>,
    request: &mut CompletionRequest,
) -> Result<Attachment, GatewayError> {
    no_file_id(part)?;
    let url = part.need_text("image_url")?;
    let detail = part.text("detail")?;
    let is_new = !request.ignored.iter().any(|name| name == DETAIL);
    if is_new && detail.is_some_and(|detail| detail != "auto") {
        request.ignored.push(DETAIL.to_owned());
    }
    attachments::picture(&url).map_err(|error| wrong(part, "image_url", error))
}

/// `{"file_data", "filename"}` or `{"file_url"}`
fn file(part: &mut JsonObject<'_>) -> Result<Attachment, GatewayError> {
    no_file_id(part)?;
    let name = part.text("filename")?;
    if let Some(url) = part.text("file_url")? {
        let document = attachments::remote(FileKind::Document, &url);
        return document.map_err(|error| wrong(part, "file_url", error));
    }
    let data = part.need_text("file_data")?;
    attachments::file(&data, name.as_deref()).map_err(|error| wrong(part, "file_data", error))
}

/// `{"input_audio": {"data", "format"}}`
fn sound(part: &mut JsonObject<'_>) -> Result<Attachment, GatewayError> {
    let mut sound = part.fields("input_audio")?;
    let format = sound.need_text("format")?;
    if !matches!(format.as_str(), "wav" | "mp3") {
        return Err(json_object::wrong_value(&sound.place("format"), "must be wav or mp3"));
    }
    let data = sound.need_text("data")?;
    attachments::sound(&data, &format).map_err(|error| wrong(&sound, "data", error))
}

fn no_file_id(part: &mut JsonObject<'_>) -> Result<(), GatewayError> {
    match part.take("file_id") {
        None => Ok(()),
        Some(_) => {
            let why = "is not served, for the gateway keeps no files: send the file itself";
            Err(json_object::unsupported(&part.place("file_id"), why))
        }
    }
}

fn wrong(part: &JsonObject<'_>, name: &str, error: AttachError) -> GatewayError {
    json_object::wrong_value(&part.place(name), error)
}
