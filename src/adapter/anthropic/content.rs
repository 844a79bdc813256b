//! Content blocks of messages.

use serde_json::Value;

use crate::adapter::attachments;
use crate::adapter::completion_request::{Attachment, FileKind, Message, Role};
use crate::adapter::data_url;
use crate::adapter::json_object::{self, JsonObject, Part, items};
use crate::adapter::transcript;
use crate::model::GatewayError;

/// What one message says: results of tools each for itself, then the rest.
pub(super) fn messages(
    role: Role,
    place: &str,
    content: Part<'_>,
    ignored: &mut Vec<String>,
) -> Result<Vec<Message>, GatewayError> {
    let mut own = Message { role, ..Message::default() };
    let blocks = match content {
        Part::Text(text) => {
            own.text = text;
            return Ok(vec![own]);
        }
        Part::List(blocks) => items(blocks),
        _ => return Err(json_object::wrong_type(place, "a string or a list of content blocks")),
    };
    let mut all = Vec::new();
    for (at, block) in blocks.enumerate() {
        let mut block = JsonObject::of_text(format!("{place}[{at}]"), block)?;
        match (role, block.need_text("type")?.as_str()) {
            (Role::User, "tool_result") => all.push(tool_result(&mut block, ignored)?),
            // What a model thought, what it called and what servers answered are not its answer.
            (Role::Assistant, kind) if is_trace(kind) => {}
            (_, kind) => part(kind, &mut block, &mut own, ignored)?,
        }
    }
    // A turn without text is still a turn; a message of results alone says nothing of its own.
    if all.is_empty() || !own.text.is_empty() || !own.attachments.is_empty() {
        all.push(own);
    }
    Ok(all)
}

fn is_trace(kind: &str) -> bool {
    let server = kind.starts_with("mcp_") || kind.ends_with("_tool_result");
    server || matches!(kind, "thinking" | "redacted_thinking" | "tool_use" | "server_tool_use")
}

/// A text, a picture or a document.
fn part(
    kind: &str,
    block: &mut JsonObject<'_>,
    into: &mut Message,
    ignored: &mut Vec<String>,
) -> Result<(), GatewayError> {
    match kind {
        "text" => transcript::add_line(&mut into.text, &block.need_text("text")?),
        "image" => into.attachments.push(source(block, FileKind::Image)?),
        "document" => into.attachments.push(source(block, FileKind::Document)?),
        // Of a newer protocol: its text is what can be passed to an app.
        kind => match block.take("text") {
            Some(Value::String(text)) => transcript::add_line(&mut into.text, &text),
            _ => json_object::pass_over(ignored, "messages.content", kind),
        },
    }
    Ok(())
}

fn tool_result(
    block: &mut JsonObject<'_>,
    ignored: &mut Vec<String>,
) -> Result<Message, GatewayError> {
    let mut result = Message { role: Role::Tool, ..Message::default() };
    let place = block.place("content");
    match block.part("content") {
        None => {}
        Some(Part::Text(text)) => result.text = text,
        Some(Part::List(parts)) => {
            for (at, inner) in items(parts).enumerate() {
                let mut inner = JsonObject::of_text(format!("{place}[{at}]"), inner)?;
                let kind = inner.need_text("type")?;
                part(&kind, &mut inner, &mut result, ignored)?;
            }
        }
        Some(_) => {
            return Err(json_object::wrong_type(&place, "a string or a list of content blocks"));
        }
    }
    Ok(result)
}

/// The file of an `image` or `document` block.
fn source(block: &mut JsonObject<'_>, kind: FileKind) -> Result<Attachment, GatewayError> {
    let title = block.text("title")?.filter(|title| !title.trim().is_empty());
    let mut source = block.need_fields("source")?;
    let form = source.need_text("type")?;
    match form.as_str() {
        "base64" => {
            let media_type = source.need_text("media_type")?.to_ascii_lowercase();
            let data = source.need_text("data")?;
            let bytes = data_url::base64(&data)
                .map_err(|error| json_object::wrong_value(&source.place("data"), error))?;
            let name = title.map(|title| file_name(&title, &media_type));
            if kind == FileKind::Image {
                return attachments::picture_of(name.as_deref(), &media_type, bytes).map_err(
                    |_| {
                        let why = "must begin with image/";
                        json_object::wrong_value(&source.place("media_type"), why)
                    },
                );
            }
            Ok(attachments::unsure(name.as_deref(), &media_type, bytes))
        }
        "url" => {
            let url = source.need_text("url")?;
            attachments::remote(kind, &url).map_err(|_| {
                json_object::wrong_value(&source.place("url"), "must be an http or https URL")
            })
        }
        "text" if kind == FileKind::Document => {
            let data = source.need_text("data")?;
            if data.is_empty() {
                return Err(json_object::wrong_value(&source.place("data"), "holds an empty file"));
            }
            let name = title.map(|title| file_name(&title, "text/plain"));
            Ok(attachments::file_of(name.as_deref(), "text/plain".to_owned(), data.into()))
        }
        "file" => {
            let why = "is not served, for the gateway keeps no files: send them as base64 or URL";
            Err(json_object::unsupported(&source.place("file_id"), why))
        }
        "content" if kind == FileKind::Document => {
            let why = "is not served for documents: send their text as a text source";
            Err(json_object::unsupported(&source.place("content"), why))
        }
        _ => Err(json_object::wrong_value(&source.place("type"), "must be base64, url or text")),
    }
}

/// A title is no file name: what stands after its last dot need not be an ending.
fn file_name(title: &str, media_type: &str) -> String {
    let end = attachments::ending(title).map(str::to_ascii_lowercase);
    match (media_type, end.as_deref()) {
        ("application/pdf", Some("pdf")) => title.to_owned(),
        ("application/pdf", _) => format!("{title}.pdf"),
        ("text/plain", Some("txt" | "md" | "csv" | "html" | "json" | "xml")) => title.to_owned(),
        ("text/plain", _) => format!("{title}.txt"),
        _ => title.to_owned(),
    }
}
