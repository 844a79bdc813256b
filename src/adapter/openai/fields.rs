//! The fields of a request, and what becomes of each.
//!
//! Every door has a table of [`Rule`]s. A field that no table names is ignored and told of, like
//! one that means nothing to Dify; a null counts as absent everywhere.
//!
//! Errors name the place of what is wrong and never quote it.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::adapter::ask::{Ask, Hints};
use crate::adapter::fault::{Fault, Kind};

/// The most names that are told of as ignored: they travel in one header.
const MAX_IGNORED: usize = 40;

/// The most characters of such a name.
const MAX_IGNORED_CHARS: usize = 64;

/// The most texts of `stop`.
const MAX_STOP: usize = 4;

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// The door reads it.
    Mapped,
    /// It means nothing to Dify: the client is told by `x-difygate-ignored`.
    Ignored,
    /// Values that change nothing pass, all others are refused with this text.
    Refused(fn(&Value) -> bool, &'static str),
}

/// A door's table.
pub(super) type Rules = [(&'static str, Rule)];

/// The fields that a door reads, after its table was applied to all.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body. What is ignored is noted in `ask`.
    pub(super) fn read(body: &[u8], rules: &Rules, ask: &mut Ask) -> Result<Self, Fault> {
        let mut mapped = Map::new();
        for (name, value) in object(body)? {
            if value.is_null() {
                continue;
            }
            let rule = rules.iter().find(|(known, _)| *known == name).map(|(_, rule)| rule);
            match rule {
                Some(Rule::Mapped) => {
                    mapped.insert(name, value);
                }
                Some(Rule::Refused(passes, why)) => {
                    if !passes(&value) {
                        return Err(Fault::unsupported(&name, *why));
                    }
                }
                Some(Rule::Ignored) | None if is_empty(&value) => {}
                Some(Rule::Ignored) | None => ignore(ask, &name),
            }
        }
        Ok(Self(mapped))
    }

    /// A field's value, which it no longer has then.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(name, "a string")),
        }
    }

    /// True or false; false where it is absent.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Fault> {
        flag(self.take(name).as_ref(), name)
    }

    /// An object; empty where it is absent.
    pub(super) fn map(&mut self, name: &str) -> Result<Map<String, Value>, Fault> {
        match self.take(name) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(wrong_type(name, "an object")),
        }
    }

    /// What has to be there and not empty.
    pub(super) fn model(&mut self) -> Result<String, Fault> {
        let model = self.text("model")?.filter(|model| !model.is_empty());
        model.ok_or_else(|| missing("model", "name one that GET /v1/models lists"))
    }

    /// `stop`: a text or up to four.
    pub(super) fn stop(&mut self) -> Result<Vec<String>, Fault> {
        let texts = match self.take("stop") {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(list)) => {
                let texts = list.into_iter().enumerate().map(|(place, value)| match value {
                    Value::String(text) => Ok(text),
                    _ => Err(wrong_type(&format!("stop[{place}]"), "a string")),
                });
                texts.collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong_type("stop", "a string or an array of strings")),
        };
        if texts.len() > MAX_STOP {
            let message = format!("`stop` may hold at most {MAX_STOP} texts.");
            return Err(Fault::invalid("array_above_max_length", "stop", message));
        }
        Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
    }

    /// `stream` and `stream_options`: whether the answer is streamed, and with usage at its end.
    pub(super) fn streaming(&mut self, ask: &mut Ask) -> Result<bool, Fault> {
        ask.streamed = self.flag("stream")?;
        let options = self.map("stream_options")?;
        for (name, value) in &options {
            let changes = !matches!(value, Value::Null | Value::Bool(false));
            if name != "include_usage" && changes {
                ignore(ask, &format!("stream_options.{name}"));
            }
        }
        flag(options.get("include_usage"), "stream_options.include_usage")
    }

    /// The end user: `user`, then `safety_identifier`, then what the metadata say.
    pub(super) fn user(&mut self, metadata: Option<String>) -> Result<Option<String>, Fault> {
        let mut user = None;
        for name in ["user", "safety_identifier"] {
            let value = self.take(name);
            let said = value.as_ref().map_or(Ok(None), |value| word(value, name))?;
            user = user.or(said);
        }
        Ok(user.or(metadata))
    }

    /// `metadata`, `conversation` and `conversation_id`: which conversation it is, whose, and
    /// whether it is only a side task. Gives the user of the metadata.
    pub(super) fn continuity(&mut self, ask: &mut Ask) -> Result<Option<String>, Fault> {
        let metadata = self.map("metadata")?;
        let said = |name: &str| match metadata.get(name) {
            Some(value) => word(value, &format!("metadata.{name}")),
            None => Ok(None),
        };
        const READ: [&str; 4] = ["chat_id", "conversation_id", "user_id", "task"];
        if metadata.keys().any(|name| !READ.contains(&name.as_str())) {
            ignore(ask, "metadata");
        }
        ask.is_task = said("task")?.is_some();
        let (conversation, id) = (self.take("conversation"), self.take("conversation_id"));
        let explicit = match &conversation {
            Some(Value::Object(named)) => conversation_id(named.get("id"), "conversation.id")?,
            other => conversation_id(other.as_ref(), "conversation")?,
        };
        let by_id = conversation_id(id.as_ref(), "conversation_id")?;
        let by_metadata =
            conversation_id(metadata.get("conversation_id"), "metadata.conversation_id")?;
        let conversation = explicit.or(by_id).or(by_metadata);
        ask.hints = Hints { conversation, previous_response: None, chat: said("chat_id")? };
        said("user_id")
    }
}

/// The object that a body is.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    let (code, message) = match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => return Ok(map),
        Ok(_) => ("invalid_type", "The request body must be a JSON object.".to_owned()),
        // The parser's own text could quote the body.
        Err(error) => (
            "invalid_json",
            format!(
                "The request body is not valid JSON (line {}, column {}).",
                error.line(),
                error.column()
            ),
        ),
    };
    Err(Fault::new(400, Kind::InvalidRequest, code, message))
}

/// Notes that a field was ignored, once, and in characters that a header may hold.
pub(super) fn ignore(ask: &mut Ask, name: &str) {
    let fits = name.len() <= MAX_IGNORED_CHARS
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    let name = if fits { name } else { "others" };
    if ask.ignored.len() < MAX_IGNORED && !ask.ignored.iter().any(|known| known == name) {
        ask.ignored.push(name.to_owned());
    }
}

/// A field of another type than it may have.
pub(super) fn wrong_type(param: &str, expected: &str) -> Fault {
    Fault::invalid("invalid_type", param, format!("`{param}` must be {expected}."))
}

/// A field that has to be there.
pub(super) fn missing(param: &str, mend: &str) -> Fault {
    Fault::invalid("missing_required_parameter", param, format!("`{param}` is required: {mend}."))
}

/// A field whose value is not one that it may have; `why` continues a sentence.
pub(super) fn wrong_value(param: &str, why: &str) -> Fault {
    Fault::invalid("invalid_value", param, format!("`{param}` {why}."))
}

fn flag(value: Option<&Value>, name: &str) -> Result<bool, Fault> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(set)) => Ok(*set),
        Some(_) => Err(wrong_type(name, "true or false")),
    }
}

/// An identifier: a string, or the text of a number or truth value, as Dify takes users. Empty is
/// absent.
fn word(value: &Value, name: &str) -> Result<Option<String>, Fault> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err(wrong_type(name, "a string")),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A conversation of Dify's, with or without our prefix.
fn conversation_id(value: Option<&Value>, name: &str) -> Result<Option<String>, Fault> {
    let Some(value) = value else { return Ok(None) };
    let Some(text) = word(value, name)? else { return Ok(None) };
    let bare = text.strip_prefix("conv_").unwrap_or(&text);
    match Uuid::try_parse(bare) {
        Ok(id) => Ok(Some(id.to_string())),
        Err(_) => Err(wrong_value(name, "must be the id of a conversation, as answers give it")),
    }
}

/// A value that says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
