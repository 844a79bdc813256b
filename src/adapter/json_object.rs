//! The fields of a JSON body: taken one by one; what nobody takes means nothing to Dify.
//!
//! Every fault names the place of the field (`messages[2].content[0].type`) and quotes nothing of
//! the request. A field that is `null` is absent.

use serde_json::{Map, Value};

use super::bounded::{self, MAX_DEPTH, MAX_ELEMENTS, ParseError};
use crate::model::{ErrorKind, GatewayError};

/// The most names that are reported as ignored.
const MAX_IGNORED: usize = 32;
/// The most bytes of such a name.
const MAX_IGNORED_NAME: usize = 64;

/// The most bytes of an identifier. Nobody's is nearly as long; one as large as a body would be copied
/// and hashed again and again.
const MAX_WORD: usize = 4096;

/// The fields of one JSON object.
#[derive(Debug)]
pub struct JsonObject {
    /// Where the object stands, empty for the body itself.
    place: String,
    map: Map<String, Value>,
}

impl JsonObject {
    /// The fields of a body, which is given back before anything is made of them.
    pub fn of_body(body: impl AsRef<[u8]>) -> Result<Self, GatewayError> {
        let value = bounded::parse(body.as_ref()).map_err(broken)?;
        drop(body);
        match value {
            Value::Object(map) => Ok(Self { place: String::new(), map }),
            _ => {
                let message = "the body must be a JSON object";
                Err(GatewayError::new(400, ErrorKind::InvalidRequest, "invalid_json", message))
            }
        }
    }

    /// The fields of an object at a place.
    pub fn of(place: impl Into<String>, value: Value) -> Result<Self, GatewayError> {
        let place = place.into();
        match value {
            Value::Object(map) => Ok(Self { place, map }),
            _ => Err(wrong_type(&place, "an object")),
        }
    }

    /// Where a field of this object stands in the body.
    pub fn place(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// A field's value. Each can be taken once.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.get_mut(name).map(Value::take).filter(|value| !value.is_null())
    }

    /// The same, which must be there.
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

    /// An object; absent is empty.
    pub fn fields(&mut self, name: &str) -> Result<Self, GatewayError> {
        let place = self.place(name);
        Self::of(place, self.take(name).unwrap_or_else(|| Map::new().into()))
    }

    /// The places of the fields that nobody took, added to `ignored`.
    ///
    /// They go out in a header, so only plain names are sent, and not too many.
    pub fn leave(&self, ignored: &mut Vec<String>) {
        for (name, _) in self.map.iter().filter(|(_, value)| !says_nothing(value)) {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if ignored.len() == MAX_IGNORED {
                return;
            }
            if name.len() <= MAX_IGNORED_NAME && name.bytes().all(is_plain) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> JsonObject {
        JsonObject::of("a", value).unwrap()
    }

    #[test]
    fn a_broken_body_is_told_by_line_and_column_and_not_quoted() {
        let error = JsonObject::of_body(b"{\"secret\":\n tru}").unwrap_err();
        assert!(error.message.contains("line 2, column"), "{}", error.message);
        assert!(!error.message.contains("secret"));
        assert_eq!((error.status, &*error.code), (400, "invalid_json"));
        for body in ["", "[]", "null", "\"a\"", "{} {}", "\u{feff}{}"] {
            assert_eq!(
                JsonObject::of_body(body.as_bytes()).unwrap_err().code,
                "invalid_json",
                "{body}"
            );
        }
    }

    #[test]
    fn faults_name_the_place() {
        let mut all = fields(json!({"s": 1, "b": "x", "l": {}, "o": [], "n": null}));
        let place = |error: GatewayError| (error.code.into_owned(), error.param.unwrap());
        assert_eq!(place(all.text("s").unwrap_err()), ("invalid_type".into(), "a.s".into()));
        assert_eq!(place(all.flag("b").unwrap_err()), ("invalid_type".into(), "a.b".into()));
        assert_eq!(place(all.list("l").unwrap_err()), ("invalid_type".into(), "a.l".into()));
        assert_eq!(place(all.fields("o").unwrap_err()), ("invalid_type".into(), "a.o".into()));
        let mut long = fields(json!({"a": "x".repeat(MAX_WORD), "b": "x".repeat(MAX_WORD + 1)}));
        assert!(long.word("a").is_ok_and(|word| word.is_some()));
        assert_eq!(long.word("b").unwrap_err().param.as_deref(), Some("a.b"));
        let missing = all.need_text("n").unwrap_err();
        assert_eq!(place(missing), ("missing_required_parameter".into(), "a.n".into()));
    }

    #[test]
    fn what_nobody_takes_is_left_in_the_order_of_the_request() {
        let mut all =
            fields(json!({"z": 1, "taken": 2, "null": null, "b\r\nx: y": 1, "e": [], "c": [0]}));
        all.take("taken");
        let mut ignored = vec!["before".to_owned()];
        all.leave(&mut ignored);
        assert_eq!(ignored, ["before", "a.z", "a.c"]);
    }

    #[test]
    fn what_is_left_is_bounded() {
        let many = (0..100).map(|i| (format!("f{i}"), json!(1))).collect::<Map<_, _>>();
        let mut ignored = Vec::new();
        fields(many.into()).leave(&mut ignored);
        fields(json!({"x".repeat(65): 1})).leave(&mut ignored);
        assert_eq!(ignored.len(), MAX_IGNORED);
    }
}
