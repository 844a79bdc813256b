//! The messages of a chat: texts and files of each. System texts are taken out, so that it does not
//! matter where they stand; what is left is the transcript.

use serde_json::{Map, Value};

use super::common::ignore;
use crate::adapter::ask::{Ask, Attachment, Role, Saying};
use crate::adapter::attached::{self, AttachError};
use crate::adapter::fields::{missing, pass_over, wrong_type, wrong_value};
use crate::adapter::transcript;
use crate::model::GatewayError;

/// Where `role` says that a text belongs.
enum Place {
    System,
    Transcript(Role),
}

/// Reads `messages` into the system text, the transcript and the question.
pub(super) fn read(messages: Value, ask: &mut Ask) -> Result<(), GatewayError> {
    let Value::Array(messages) = messages else { return Err(wrong_type("messages", "a list")) };
    let mut said: Vec<Saying> = Vec::new();
    let (mut last, mut trailing) = (String::new(), Vec::new());
    for (place, message) in messages.iter().enumerate() {
        let at = format!("messages[{place}]");
        let Value::Object(message) = message else { return Err(wrong_type(&at, "an object")) };
        let role = role(message, &at)?;
        if message.get("name").is_some_and(|name| !name.is_null()) {
            ignore(ask, "messages.name");
        }
        let saying = saying(message, &role, (&at, &mut *ask))?;
        match role {
            Place::System if saying.text.trim().is_empty() => {}
            Place::System => trailing.push(saying.text),
            Place::Transcript(role) => {
                for text in trailing.drain(..) {
                    transcript::add_system(&mut ask.system, &text);
                }
                transcript::add(&mut said, Saying { role, ..saying });
                last = at;
            }
        }
    }
    transcript::settle(ask, said, trailing, ("messages", &last))
}

fn role(message: &Map<String, Value>, at: &str) -> Result<Place, GatewayError> {
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
) -> Result<Saying, GatewayError> {
    let at = format!("{at}.content");
    let mut said = Saying::default();
    let parts = match message.get("content") {
        Some(Value::String(text)) => return Ok(Saying { text: text.clone(), ..said }),
        Some(Value::Array(parts)) => parts,
        None | Some(Value::Null)
            if matches!(place, Place::Transcript(Role::Assistant | Role::Tool)) =>
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
        if matches!(place, Place::System) && !matches!(kind, "" | "text") {
            pass_over(&mut ask.ignored, "messages.content", kind);
            continue;
        }
        match kind {
            "text" | "refusal" => texts.push(text(part.get(kind), &format!("{at}.{kind}"))?),
            "image_url" => said.attachments.push(picture(part, &at, ask)?),
            "input_audio" => said.attachments.push(sound(part, &at)?),
            "file" => said.attachments.push(file(part, &at)?),
            "" => {
                let why = "must be text, image_url, input_audio or file";
                return Err(wrong_value(&format!("{at}.type"), why));
            }
            // Of a newer protocol, or of another one: its text is what an app can be told.
            kind => match part.get("text") {
                Some(Value::String(text)) => texts.push(text),
                _ => pass_over(&mut ask.ignored, "messages.content", kind),
            },
        }
    }
    said.text = texts.join("\n");
    Ok(said)
}

/// `{"image_url": {"url", "detail"}}`; some clients write the URL without the object.
fn picture(part: &Map<String, Value>, at: &str, ask: &mut Ask) -> Result<Attachment, GatewayError> {
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
fn sound(part: &Map<String, Value>, at: &str) -> Result<Attachment, GatewayError> {
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
    attached::file(text(file.get("file_data"), &at)?, name).map_err(|error| refused(&at, error))
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
