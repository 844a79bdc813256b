//! The fields of a JSON body: taken one by one; what nobody takes means nothing to Dify.
//!
//! Every fault names the place of the field (`messages[2].content[0].type`) and quotes nothing of
//! the request. A field that is `null` is absent.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::bounded::{self, Items, Keep, MAX_DEPTH, MAX_ELEMENTS, Object, ParseError};
use super::object_text::ObjectText;
use crate::adapter::bounded::{MAX_IGNORED_NAME, is_tellable};
use crate::model::{ErrorKind, GatewayError};

/// The most names that are reported as ignored.
const MAX_IGNORED: usize = 32;

/// The most bytes of an identifier. Nobody's is nearly as long; one as large as a body would be copied
/// and hashed again and again.
const MAX_WORD: usize = 4096;

/// All names of fields, at any depth, that a door takes. Of others the first few are known by name.
const NAMES: &[&str] = &[
    "audio",
    "background",
    "best_of",
    "chat_id",
    "container",
    "content",
    "conversation",
    "conversation_id",
    "data",
    "detail",
    "display",
    "echo",
    "file",
    "file_data",
    "file_id",
    "file_url",
    "filename",
    "format",
    "function_call",
    "id",
    "image_url",
    "include",
    "include_obfuscation",
    "include_usage",
    "input",
    "input_audio",
    "inputs",
    "instructions",
    "logprobs",
    "max_tokens",
    "mcp_servers",
    "media_type",
    "messages",
    "metadata",
    "modalities",
    "mode",
    "model",
    "n",
    "name",
    "output",
    "output_config",
    "output_format",
    "previous_response_id",
    "prompt",
    "refusal",
    "response_format",
    "role",
    "safety_identifier",
    "source",
    "stop",
    "stop_sequences",
    "store",
    "stream",
    "stream_format",
    "stream_options",
    "suffix",
    "system",
    "task",
    "text",
    "thinking",
    "title",
    "tool_choice",
    "tools",
    "top_logprobs",
    "type",
    "url",
    "user",
    "user_id",
    "voice",
];

const KEEP: Keep<'_> = Keep { named: NAMES, others: MAX_IGNORED };

/// The fields of one JSON object.
#[derive(Debug)]
pub struct JsonObject<'a> {
    /// Where the object stands, empty for the body itself.
    place: String,
    map: Map<String, Value>,
    /// Objects and lists that nobody has looked into.
    texts: HashMap<String, &'a RawValue>,
}

/// A field's value, of which nothing is looked into yet.
#[derive(Debug)]
pub enum Part<'a> {
    /// A string.
    Text(String),
    /// The text of a list.
    List(&'a RawValue),
    /// The text of an object.
    Object(&'a RawValue),
    /// A number or a boolean.
    Other,
}

impl<'a> Part<'a> {
    /// A text that was part of a body.
    pub fn of(text: &'a RawValue) -> Self {
        match text.get().as_bytes().first() {
            Some(b'{') => Self::Object(text),
            Some(b'[') => Self::List(text),
            _ => match bounded::tree(text) {
                Value::String(text) => Self::Text(text),
                _ => Self::Other,
            },
        }
    }
}

/// The items of a list.
pub fn items(list: &RawValue) -> Items<'_> {
    bounded::items(list)
}

impl<'a> JsonObject<'a> {
    /// The fields of a body.
    pub fn of_body(body: &'a [u8]) -> Result<Self, GatewayError> {
        match bounded::object(body, KEEP).map_err(broken)? {
            Some(Object { map, texts }) => Ok(Self { place: String::new(), map, texts }),
            None => {
                let message = "the body must be a JSON object";
                Err(GatewayError::new(400, ErrorKind::InvalidRequest, "invalid_json", message))
            }
        }
    }

    /// The fields of an object at a place, of which nothing is text.
    pub fn of(place: impl Into<String>, map: Map<String, Value>) -> Self {
        Self { place: place.into(), map, texts: HashMap::new() }
    }

    /// The fields of a part of a body, which must be an object.
    pub fn of_text(place: impl Into<String>, text: &'a RawValue) -> Result<Self, GatewayError> {
        let place = place.into();
        match text.get().starts_with('{') {
            true => Ok(Self::of_object(place, text.get())),
            false => Err(wrong_type(&place, "an object")),
        }
    }

    /// The fields of an object that was part of a body.
    pub fn of_object(place: impl Into<String>, object: &'a str) -> Self {
        let Object { map, texts } = bounded::part(object.as_bytes(), KEEP);
        Self { place: place.into(), map, texts }
    }

    /// Where a field of this object stands in the body.
    pub fn place(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// A field's value as a tree. Each can be taken once.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        debug_assert!(NAMES.binary_search(&name).is_ok(), "`{name}` is missing in NAMES");
        let value = self.map.get_mut(name).map(Value::take).filter(|value| !value.is_null())?;
        Some(self.texts.remove(name).map_or(value, bounded::tree))
    }

    /// The same, not looked into.
    pub fn part(&mut self, name: &str) -> Option<Part<'a>> {
        debug_assert!(NAMES.binary_search(&name).is_ok(), "`{name}` is missing in NAMES");
        let value = self.map.get_mut(name).map(Value::take).filter(|value| !value.is_null())?;
        Some(match (self.texts.remove(name), value) {
            (Some(text), _) => Part::of(text),
            (None, Value::String(text)) => Part::Text(text),
            (None, _) => Part::Other,
        })
    }

    /// The same, which must be there.
    pub fn need_part(&mut self, name: &str) -> Result<Part<'a>, GatewayError> {
        self.part(name).ok_or_else(|| missing(&self.place(name)))
    }

    /// An object as the text that it is; absent is empty.
    pub fn object_text(&mut self, name: &str) -> Result<ObjectText, GatewayError> {
        match self.part(name) {
            None => Ok(ObjectText::default()),
            Some(Part::Object(text)) => Ok(ObjectText::new(text)),
            Some(_) => Err(wrong_type(&self.place(name), "an object")),
        }
    }

    /// The same as a tree, which must be there.
    pub fn need(&mut self, name: &str) -> Result<Value, GatewayError> {
        self.take(name).ok_or_else(|| missing(&self.place(name)))
    }

    /// A string.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(&self.place(name), "a string")),
        }
    }

    /// An identifier: a string, or the text of a number or boolean, as Dify takes users. Empty is
    /// absent.
    pub fn word(&mut self, name: &str) -> Result<Option<String>, GatewayError> {
        let text = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text,
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            Some(_) => return Err(wrong_type(&self.place(name), "a string")),
        };
        if text.len() > MAX_WORD {
            let why = format!("must have at most {MAX_WORD} bytes");
            return Err(wrong_value(&self.place(name), why));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The same, which must be there.
    pub fn need_text(&mut self, name: &str) -> Result<String, GatewayError> {
        self.text(name)?.ok_or_else(|| missing(&self.place(name)))
    }

    /// A boolean; absent is false.
    pub fn flag(&mut self, name: &str) -> Result<bool, GatewayError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(wrong_type(&self.place(name), "a boolean")),
        }
    }

    /// A list; absent is empty.
    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, GatewayError> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(wrong_type(&self.place(name), "a list")),
        }
    }

    /// The items of a list; absent is empty.
    pub fn items(&mut self, name: &str) -> Result<Items<'a>, GatewayError> {
        match self.part(name) {
            None => Ok(Items::default()),
            Some(Part::List(list)) => Ok(items(list)),
            Some(_) => Err(wrong_type(&self.place(name), "a list")),
        }
    }

    /// An object; absent is empty.
    pub fn fields(&mut self, name: &str) -> Result<JsonObject<'a>, GatewayError> {
        let place = self.place(name);
        match self.part(name) {
            None => Ok(Self::of(place, Map::new())),
            Some(Part::Object(text)) => Self::of_text(place, text),
            Some(_) => Err(wrong_type(&place, "an object")),
        }
    }

    /// The same, which must be there.
    pub fn need_fields(&mut self, name: &str) -> Result<JsonObject<'a>, GatewayError> {
        match self.need_part(name)? {
            Part::Object(text) => Self::of_text(self.place(name), text),
            _ => Err(wrong_type(&self.place(name), "an object")),
        }
    }

    /// The places of the fields that nobody took, added to `ignored`.
    ///
    /// They go out in a header, so only plain names are sent, and not too many.
    pub fn leave(&self, ignored: &mut Vec<String>) {
        for (name, _) in self.map.iter().filter(|(_, value)| !says_nothing(value)) {
            if ignored.len() == MAX_IGNORED {
                return;
            }
            if is_tellable(name) {
                ignored.push(self.place(name));
            }
        }
    }
}

/// Notes once that a part of this kind at a place is passed over.
pub fn pass_over(ignored: &mut Vec<String>, place: &str, kind: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let kind = if kind.bytes().all(is_plain) { kind } else { "other" };
    let name = format!("{place}.{kind}");
    if kind.len() <= MAX_IGNORED_NAME && ignored.len() < MAX_IGNORED && !ignored.contains(&name) {
        ignored.push(name);
    }
}

fn broken(broken: ParseError) -> GatewayError {
    let too_complex = |message: String| {
        GatewayError::new(400, ErrorKind::InvalidRequest, "body_too_complex", message)
    };
    match broken {
        ParseError::Syntax(error) => {
            // The parser's own text might quote the body.
            let (line, column) = (error.line(), error.column());
            let message = format!("the body is not valid JSON (line {line}, column {column})");
            GatewayError::new(400, ErrorKind::InvalidRequest, "invalid_json", message)
        }
        ParseError::TooMany => {
            too_complex(format!("the body has more than {MAX_ELEMENTS} fields and list items"))
        }
        ParseError::TooDeep => {
            too_complex(format!("the body has objects or lists more than {MAX_DEPTH} deep"))
        }
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// A field that must be there is not.
pub fn missing(place: &str) -> GatewayError {
    GatewayError::invalid("missing_required_parameter", place, format!("`{place}` is required"))
}

/// A field is of another JSON type than it must be.
pub fn wrong_type(place: &str, wanted: &str) -> GatewayError {
    GatewayError::invalid("invalid_type", place, format!("`{place}` must be {wanted}"))
}

/// A field has a value that it cannot have; `why` continues "`field` …".
pub fn wrong_value(place: &str, why: impl std::fmt::Display) -> GatewayError {
    GatewayError::invalid("invalid_value", place, format!("`{place}` {why}"))
}

/// A field asks for what no app of Dify does; `why` continues "`field` …".
pub fn unsupported(place: &str, why: impl std::fmt::Display) -> GatewayError {
    GatewayError::unsupported(place, format!("`{place}` {why}"))
}
