//! The fields of an object: texts, numbers and the like as values, objects and lists as text.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Reads the fields of an object.
pub(super) struct ObjectVisitor<'a>(pub Keep<'a>);

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Object<'de>, A::Error> {
        let Keep { named, mut others } = self.0;
        let mut object = Object::default();
        while let Some(name) = fields.next_key::<String>()? {
            let text: &RawValue = fields.next_value()?;
            if named.binary_search(&&*name).is_err() {
                if others > 0 && is_tellable(&name) && says_something(text) {
                    others -= 1;
                    object.map.insert(name, Value::Bool(true));
                }
                continue;
            }
            // Of fields of the same name, the last one counts.
            object.texts.remove(&name);
            let value = if text.get().starts_with(['{', '[']) {
                object.texts.insert(name.clone(), text);
                if says_something(text) { Value::Bool(true) } else { Value::Array(Vec::new()) }
            } else {
                serde_json::from_str(text.get()).map_err(A::Error::custom)?
            };
            object.map.insert(name, value);
        }
        Ok(object)
    }
}

/// Whether there is anything in a value: neither null nor an empty text, object or list.
fn says_something(text: &RawValue) -> bool {
    match text.get().as_bytes() {
        [b'{', within @ .., b'}'] | [b'[', within @ .., b']'] => !within.trim_ascii().is_empty(),
        text => !matches!(text, b"null" | b"\"\""),
    }
}

/// An object whose objects and lists are still text.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    /// Its fields. In the place of what is text stands `true`, or an empty list if nothing is in it.
    pub map: Map<String, Value>,
    /// Objects and lists, within the bounds.
    pub texts: HashMap<String, &'a RawValue>,
}

/// Which fields of an object are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep<'a> {
    /// These, in their order.
    pub named: &'a [&'a str],
    /// And so many of the others that say something; `true` stands for what they say.
    pub others: usize,
}

/// Whether a field's name may stand in a header.
pub(crate) fn is_tellable(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    name.len() <= MAX_IGNORED_NAME && name.bytes().all(is_plain)
}

/// The most bytes of such a name.
pub(crate) const MAX_IGNORED_NAME: usize = 64;
