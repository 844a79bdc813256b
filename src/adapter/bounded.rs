//! A JSON text within bounds, as a tree or as the text that it is.
//!
//! A tree takes up to a hundred times the memory of its text: `[1,1,1,…]` of 21 MB became 1.2 GB. So
//! the values are counted while the tree grows, and it is given up at the first one too many. What
//! the bounds leave room for takes some tens of megabytes at the worst, and long strings, which are
//! not counted, take their own size. That is much for a body of one megabyte, so what nobody has to look
//! into stays text: it is counted only.

mod count;
mod object;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::de::SliceRead;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::count::Count;
use self::object::{Fields, Keep};

/// The most values of a body: items of lists and fields of objects, at any depth.
pub const MAX_ELEMENTS: usize = 100_000;
/// The most objects and lists within each other.
pub const MAX_DEPTH: usize = 64;

/// Why no tree was made of a text.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is no JSON; where it stops being that.
    Syntax(serde_json::Error),
    /// It has more than [`MAX_ELEMENTS`].
    TooMany,
    /// It is deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// An object of which the larger parts may still be text.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// Its fields. In the place of a part that is text, and has something in it, stands `true`.
    pub map: Map<String, Value>,
    /// Objects and lists, within the bounds.
    pub texts: HashMap<String, Box<RawValue>>,
}

/// Reads an object; its objects and lists stay text but for the fields of `trees`. None of any other
/// value.
///
/// # Errors
/// The text is no JSON, or beyond the bounds.
pub(super) fn object(text: &[u8], trees: &[&str]) -> Result<Option<Object>, Broken> {
    let read = whole(text, |budget, json| {
        if !begins_with(text, b'{') {
            return Count { budget, depth: 0 }.deserialize(json).map(|()| None);
        }
        json.deserialize_map(Fields { budget, keep: Keep::All(trees) }).map(Some)
    });
    // Where a part that stays text is broken, its line is counted from its own beginning.
    read.map_err(|broken| match broken {
        Broken::Syntax(error) => count(text).err().unwrap_or(Broken::Syntax(error)),
        broken => broken,
    })
}

/// Reads the named fields of an object that was part of one, and so many of the others that say
/// something; in their place stands `true`.
pub(super) fn some_of(text: &str, named: &[&str], others: usize) -> Object {
    let read = whole(text.as_bytes(), |budget, json| {
        json.deserialize_map(Fields { budget, keep: Keep::Some(named, others) })
    });
    // It was read once: no error is left in it.
    read.unwrap_or_default()
}

/// The tree of a part that was text.
pub(super) fn tree(text: &RawValue) -> Value {
    // It was read once: no error is left in it.
    serde_json::from_str(text.get()).unwrap_or_default()
}

/// Whether a text is one within the bounds.
fn count(text: &[u8]) -> Result<(), Broken> {
    whole(text, |budget, json| Count { budget, depth: 0 }.deserialize(json))
}

/// Whether a JSON text begins with this.
fn begins_with(text: &[u8], byte: u8) -> bool {
    text.trim_ascii_start().first() == Some(&byte)
}

/// Reads all of a text.
fn whole<'a, T>(
    text: &'a [u8],
    read: impl FnOnce(
        &Budget,
        &mut serde_json::Deserializer<SliceRead<'a>>,
    ) -> Result<T, serde_json::Error>,
) -> Result<T, Broken> {
    let budget = Budget { left: Cell::new(MAX_ELEMENTS), fault: Cell::new(None) };
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = read(&budget, &mut json).and_then(|value| json.end().map(|()| value));
    read.map_err(|error| match budget.fault.take() {
        Some(Bound::Elements) => Broken::TooMany,
        Some(Bound::Depth) => Broken::TooDeep,
        None => Broken::Syntax(error),
    })
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Elements,
    Depth,
}

/// What is left of the bounds, and which was hit.
struct Budget {
    left: Cell<usize>,
    fault: Cell<Option<Bound>>,
}

impl Budget {
    fn exceeded<E: serde::de::Error>(&self, bound: Bound) -> E {
        self.fault.set(Some(bound));
        E::custom("beyond the bounds")
    }

    fn take_one<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.exceeded(Bound::Elements)),
        }
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Seed<'a> {
    budget: &'a Budget,
    /// Objects and lists around it.
    depth: usize,
}

impl Seed<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(Self { depth: self.depth + 1, ..self }),
            false => Err(self.budget.exceeded(Bound::Depth)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let (inner, mut list) = (self.inner()?, Vec::new());
        while let Some(item) = items.next_element_seed(inner)? {
            self.budget.take_one()?;
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let (inner, mut map) = (self.inner()?, Map::new());
        while let Some(name) = fields.next_key::<String>()? {
            self.budget.take_one()?;
            map.insert(name, fields.next_value_seed(inner)?);
        }
        Ok(map.into())
    }
}
