//! The fields of an object: what is small as values, the rest as text.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::count::Count;
use super::{Budget, Object, Seed};
use crate::adapter::fields::is_tellable;

/// Reads the fields of an object.
pub(super) struct Fields<'a> {
    pub budget: &'a Budget,
    pub keep: Keep<'a>,
}

/// What is kept of them.
#[derive(Clone, Copy)]
pub(super) enum Keep<'a> {
    /// All, these as trees.
    All(&'a [&'a str]),
    /// These, and so many of the others that say something.
    Some(&'a [&'a str], usize),
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Object, A::Error> {
        let (budget, mut object) = (self.budget, Object::default());
        let (tree, count) = (Seed { budget, depth: 1 }, Count { budget, depth: 1 });
        while let Some(name) = fields.next_key::<String>()? {
            budget.take_one()?;
            object.texts.remove(&name);
            if matches!(self.keep, Keep::All(trees) if trees.contains(&&*name)) {
                object.map.insert(name, fields.next_value_seed(tree)?);
                continue;
            }
            let text: &RawValue = fields.next_value()?;
            let mut json = serde_json::Deserializer::from_str(text.get());
            if let Keep::Some(named, others) = &mut self.keep
                && !named.contains(&&*name)
            {
                count.deserialize(&mut json).map_err(A::Error::custom)?;
                if *others > 0 && is_tellable(&name) && says_something(text) {
                    *others -= 1;
                    object.map.insert(name, Value::Bool(true));
                }
            } else if text.get().starts_with(['{', '[']) && says_something(text) {
                count.deserialize(&mut json).map_err(A::Error::custom)?;
                object.texts.insert(name.clone(), text.to_owned());
                object.map.insert(name, Value::Bool(true));
            } else {
                let value = tree.deserialize(&mut json).map_err(A::Error::custom)?;
                object.map.insert(name, value);
            }
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
