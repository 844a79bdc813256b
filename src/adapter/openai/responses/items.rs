//! `input`: a text, or items of a transcript.

use serde_json::Value;

use crate::adapter::ask::{Ask, Attachment, FileKind, Role, Saying};
use crate::adapter::attached::{self, AttachError};
use crate::adapter::fields::{self, Fields, Part, items};
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
pub(super) fn read(input: Part<'_>, ask: &mut Ask) -> Result<(), GatewayError> {
    let (mut said, mut trailing) = (Vec::new(), Vec::new());
    let mut last = "input".to_owned();
    match input {
        Part::Text(text) => said.push(Saying::new(Role::User, text)),
        Part::List(list) => {
            let list = items(list);
            said.reserve_exact(list.len());
            for (at, item) in list.into_iter().enumerate() {
                last = format!("input[{at}]");
                let before = said.len();
                read_item(Fields::of_text(last.as_str(), item)?, ask, (&mut said, &mut trailing))?;
                if said.len() > before {
                    for text in trailing.drain(..) {
                        transcript::add_system(&mut ask.system, &text);
                    }
                }
            }
        }
        _ => return Err(fields::wrong_type("input", "a string or a list of items")),
    }
    transcript::settle(ask, said, trailing, ("input", &last))
}

fn read_item(
    mut item: Fields<'_>,
    ask: &mut Ask,
    (said, trailing): (&mut Vec<Saying>, &mut Vec<String>),
) -> Result<(), GatewayError> {
    let kind = item.text("type")?;
    match kind.as_deref().unwrap_or("message") {
        "message" => {
            let author = author(&mut item)?;
            let place = item.place("content");
            let saying = content(author, place, item.need_part("content")?, ask)?;
            match author {
                Author::System if saying.text.trim().is_empty() => {}
                Author::System => trailing.push(saying.text),
                Author::Speaker(_) => transcript::add(said, saying),
            }
        }
        // What a model thought is not its answer.
        "reasoning" => {}
        "item_reference" => {
            let why = "is not served, for answers are not kept: send the item itself";
            return Err(fields::unsupported(&item.place("id"), why));
        }
        kind if kind.ends_with("_call_output") => {
            let place = item.place("output");
            let saying = match item.part("output") {
                None => Saying { role: Role::Tool, ..Saying::default() },
                // A screenshot, or what a shell did.
                Some(Part::Object(_)) => {
                    fields::pass_over(&mut ask.ignored, "input", kind);
                    Saying { role: Role::Tool, ..Saying::default() }
                }
                Some(output) => content(Author::Speaker(Role::Tool), place, output, ask)?,
            };
            transcript::add(said, saying);
        }
        // The turn is kept, so that what stands on both sides of it stays apart.
        kind if kind.ends_with("_call") => {
            transcript::add(said, Saying::new(Role::Assistant, ""));
        }
        kind => fields::pass_over(&mut ask.ignored, "input", kind),
    }
    Ok(())
}

fn author(item: &mut Fields<'_>) -> Result<Author, GatewayError> {
    match item.need_text("role")?.as_str() {
        "system" | "developer" => Ok(Author::System),
        "user" => Ok(Author::Speaker(Role::User)),
        "assistant" => Ok(Author::Speaker(Role::Assistant)),
        _ => {
            let why = "must be system, developer, user or assistant";
            Err(fields::wrong_value(&item.place("role"), why))
        }
    }
}

/// A text or parts.
fn content(
    author: Author,
    place: String,
    content: Part<'_>,
    ask: &mut Ask,
) -> Result<Saying, GatewayError> {
    let role = match author {
        Author::System => Role::User,
        Author::Speaker(role) => role,
    };
    let mut saying = Saying { role, ..Saying::default() };
    let parts = match content {
        Part::Text(text) => return Ok(Saying { text, ..saying }),
        Part::List(parts) => items(parts),
        _ => return Err(fields::wrong_type(&place, "a string or a list of parts")),
    };
    for (at, part) in parts.into_iter().enumerate() {
        let mut part = Fields::of_text(format!("{place}[{at}]"), part)?;
        let kind = part.need_text("type")?;
        match (kind.as_str(), author) {
            ("input_text" | "output_text" | "text", _) => {
                transcript::add_line(&mut saying.text, &part.need_text("text")?);
            }
            ("refusal", _) => {
                transcript::add_line(&mut saying.text, &part.need_text("refusal")?);
            }
            ("input_image", Author::Speaker(_)) => {
                saying.attachments.push(picture(&mut part, ask)?);
            }
            ("input_file", Author::Speaker(_)) => saying.attachments.push(file(&mut part)?),
            ("input_audio", Author::Speaker(_)) => saying.attachments.push(sound(&mut part)?),
            // Of a newer protocol: its text is what an app can be told.
            (kind, _) => match part.take("text") {
                Some(Value::String(text)) => transcript::add_line(&mut saying.text, &text),
                _ => fields::pass_over(&mut ask.ignored, "input.content", kind),
            },
        }
    }
    Ok(saying)
}

/// `{"image_url", "detail"}`
fn picture(part: &mut Fields<'_>, ask: &mut Ask) -> Result<Attachment, GatewayError> {
    no_file_id(part)?;
    let url = part.need_text("image_url")?;
    let detail = part.text("detail")?;
    let is_new = !ask.ignored.iter().any(|name| name == DETAIL);
    if is_new && detail.is_some_and(|detail| detail != "auto") {
        ask.ignored.push(DETAIL.to_owned());
    }
    attached::picture(&url).map_err(|error| wrong(part, "image_url", error))
}

/// `{"file_data", "filename"}` or `{"file_url"}`
fn file(part: &mut Fields<'_>) -> Result<Attachment, GatewayError> {
    no_file_id(part)?;
    let name = part.text("filename")?;
    if let Some(url) = part.text("file_url")? {
        let document = attached::remote(FileKind::Document, &url);
        return document.map_err(|error| wrong(part, "file_url", error));
    }
    let data = part.need_text("file_data")?;
    attached::file(&data, name.as_deref()).map_err(|error| wrong(part, "file_data", error))
}

/// `{"input_audio": {"data", "format"}}`
fn sound(part: &mut Fields<'_>) -> Result<Attachment, GatewayError> {
    let mut sound = part.fields("input_audio")?;
    let format = sound.need_text("format")?;
    if !matches!(format.as_str(), "wav" | "mp3") {
        return Err(fields::wrong_value(&sound.place("format"), "must be wav or mp3"));
    }
    let data = sound.need_text("data")?;
    attached::sound(&data, &format).map_err(|error| wrong(&sound, "data", error))
}

fn no_file_id(part: &mut Fields<'_>) -> Result<(), GatewayError> {
    match part.take("file_id") {
        None => Ok(()),
        Some(_) => {
            let why = "is not served, for the gateway keeps no files: send the file itself";
            Err(fields::unsupported(&part.place("file_id"), why))
        }
    }
}

fn wrong(part: &Fields<'_>, name: &str, error: AttachError) -> GatewayError {
    fields::wrong_value(&part.place(name), error)
}
