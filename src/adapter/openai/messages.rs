//! The messages of a chat: texts and files of each, and which of them are the question.
//!
//! System texts are taken out first, so that it does not matter where they stand. What is left is
//! the transcript; neighbours that both are the user's are one saying, as the question is, so that
//! a later request which repeats the transcript has the same sayings in it.

use serde_json::{Map, Value};

use super::fields::{ignore, missing, wrong_type, wrong_value};
use crate::adapter::ask::{Ask, Attachment, Role, Saying};
use crate::adapter::attached::{self, AttachError};
use crate::adapter::fault::Fault;

/// Where `role` says that a text belongs.
enum Place {
    System,
    Transcript(Role),
}

/// Reads `messages` into the system text, the transcript and the question.
pub(super) fn read(messages: Option<Value>, ask: &mut Ask) -> Result<(), Fault> {
    let messages = match messages {
        Some(Value::Array(messages)) => messages,
        Some(_) => return Err(wrong_type("messages", "an array")),
        None => return Err(missing("messages", "send the chat's messages")),
    };
    let mut systems: Vec<String> = Vec::new();
    let mut sayings: Vec<Saying> = Vec::new();
    let mut last = String::from("messages");
    for (place, message) in messages.iter().enumerate() {
        let at = format!("messages[{place}]");
        let Value::Object(message) = message else { return Err(wrong_type(&at, "an object")) };
        let role = role(message, &at)?;
        if message.get("name").is_some_and(|name| !name.is_null()) {
            ignore(ask, "messages.name");
        }
        let Saying { text, attachments, .. } = saying(message, &role, (&at, &mut *ask))?;
        match role {
            Place::System if text.trim().is_empty() => {}
            Place::System => systems.push(text),
            Place::Transcript(role) => {
                add(&mut sayings, Saying { role, text, attachments });
                last = at;
            }
        }
    }
    ask.system = (!systems.is_empty()).then(|| systems.join("\n\n"));
    (ask.before, ask.question) = question(sayings, &last)?;
    Ok(())
}

/// Neighbours that both are the user's are one saying.
fn add(sayings: &mut Vec<Saying>, saying: Saying) {
    match sayings.last_mut() {
        Some(last) if last.role == Role::User && saying.role == Role::User => join(last, saying),
        _ => sayings.push(saying),
    }
}

fn join(saying: &mut Saying, next: Saying) {
    if !saying.text.is_empty() && !next.text.is_empty() {
        saying.text.push_str("\n\n");
    }
    saying.text.push_str(&next.text);
    saying.attachments.extend(next.attachments);
}

/// Parts the transcript from the question: what the user, or a tool of the client, said last.
/// `last` is where the last message stands.
fn question(mut sayings: Vec<Saying>, last: &str) -> Result<(Vec<Saying>, Saying), Fault> {
    let answered = sayings.iter().rposition(|saying| saying.role == Role::Assistant);
    let asked = sayings.split_off(answered.map_or(0, |place| place + 1));
    if asked.is_empty() && answered.is_some() {
        let why = "must be `user`: an app cannot continue a message of the assistant's";
        return Err(wrong_value(&format!("{last}.role"), why));
    }
    let mut question = Saying::default();
    for saying in asked {
        join(&mut question, saying);
    }
    if question.text.trim().is_empty() && question.attachments.is_empty() {
        return Err(wrong_value("messages", "must end with a user's message that is not empty"));
    }
    Ok((sayings, question))
}

fn role(message: &Map<String, Value>, at: &str) -> Result<Place, Fault> {
    let at = format!("{at}.role");
    match message.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Ok(Place::System),
        Some("user") => Ok(Place::Transcript(Role::User)),
        Some("assistant") => Ok(Place::Transcript(Role::Assistant)),
        Some("tool" | "function") => Ok(Place::Transcript(Role::Tool)),
        _ => Err(wrong_value(&at, "must be system, developer, user, assistant or tool")),
    }
}

/// Texts and files of a message.
fn saying(
    message: &Map<String, Value>,
    place: &Place,
    (at, ask): (&str, &mut Ask),
) -> Result<Saying, Fault> {
    let at = format!("{at}.content");
    let mut said = Saying::default();
    let parts = match message.get("content") {
        Some(Value::String(text)) => return Ok(Saying { text: text.clone(), ..said }),
        Some(Value::Array(parts)) => parts,
        None | Some(Value::Null) if matches!(place, Place::Transcript(Role::Assistant)) => {
            // It called a tool of the client's.
            return Ok(said);
        }
        None | Some(Value::Null) => return Err(missing(&at, "write a text or parts")),
        Some(_) => return Err(wrong_type(&at, "a string or an array of parts")),
    };
    let mut texts: Vec<&str> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let at = format!("{at}[{number}]");
        let Value::Object(part) = part else { return Err(wrong_type(&at, "an object")) };
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        if matches!(place, Place::System) && kind != "text" {
            return Err(wrong_value(&format!("{at}.type"), "must be text in a system message"));
        }
        match kind {
            "text" | "refusal" => texts.push(text(part.get(kind), &format!("{at}.{kind}"))?),
            "image_url" => said.attachments.push(picture(part, &at, ask)?),
            "input_audio" => said.attachments.push(sound(part, &at)?),
            "file" => said.attachments.push(file(part, &at)?),
            _ => {
                let why = "must be text, image_url, input_audio or file";
                return Err(wrong_value(&format!("{at}.type"), why));
            }
        }
    }
    said.text = texts.join("\n");
    Ok(said)
}

/// `{"image_url": {"url", "detail"}}`; some clients write the URL without the object.
fn picture(part: &Map<String, Value>, at: &str, ask: &mut Ask) -> Result<Attachment, Fault> {
    let at = format!("{at}.image_url");
    let (url, at) = match part.get("image_url") {
        Some(Value::Object(picture)) => {
            let detail = picture.get("detail").and_then(Value::as_str).unwrap_or("auto");
            if detail != "auto" {
                ignore(ask, "messages.content.image_url.detail");
            }
            (picture.get("url"), format!("{at}.url"))
        }
        other => (other, at),
    };
    attached::picture(text(url, &at)?).map_err(|error| refused(&at, error))
}

/// `{"input_audio": {"data", "format"}}`
fn sound(part: &Map<String, Value>, at: &str) -> Result<Attachment, Fault> {
    let at = format!("{at}.input_audio");
    let sound = map(part.get("input_audio"), &at)?;
    let format = match sound.get("format").and_then(Value::as_str) {
        Some(format @ ("wav" | "mp3")) => format,
        _ => return Err(wrong_value(&format!("{at}.format"), "must be wav or mp3")),
    };
    let at = format!("{at}.data");
    attached::sound(text(sound.get("data"), &at)?, format).map_err(|error| refused(&at, error))
}

/// `{"file": {"file_data", "filename"}}`
fn file(part: &Map<String, Value>, at: &str) -> Result<Attachment, Fault> {
    let at = format!("{at}.file");
    let file = map(part.get("file"), &at)?;
    if file.get("file_id").is_some_and(|id| !id.is_null()) {
        let why = "This gateway keeps no files: send the file itself as `file_data`, a data URL, \
                   with a `filename`.";
        return Err(Fault::unsupported(&format!("{at}.file_id"), why));
    }
    let name = match file.get("filename") {
        None | Some(Value::Null) => None,
        name => Some(text(name, &format!("{at}.filename"))?),
    };
    let at = format!("{at}.file_data");
    attached::file(text(file.get("file_data"), &at)?, name).map_err(|error| refused(&at, error))
}

fn refused(at: &str, error: AttachError) -> Fault {
    wrong_value(at, &error.to_string())
}

fn map<'a>(value: Option<&'a Value>, at: &str) -> Result<&'a Map<String, Value>, Fault> {
    match value {
        Some(Value::Object(map)) => Ok(map),
        None | Some(Value::Null) => Err(missing(at, "write an object")),
        Some(_) => Err(wrong_type(at, "an object")),
    }
}

fn text<'a>(value: Option<&'a Value>, at: &str) -> Result<&'a str, Fault> {
    match value {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => Err(missing(at, "write a string")),
        Some(_) => Err(wrong_type(at, "a string")),
    }
}
