//! A JSON text within bounds, and the parts of it that somebody looks into.
//!
//! A tree of values takes up to a hundred times the memory of its text: `[1,1,1,…]` of 21 MB became 1.2
//! GB. So a body is never one. It is read once to its end, while its values are counted; then its parts
//! stay the text that they are until they are looked into, one by one, and what nobody looks into stays
//! text for good.

mod count;
mod object;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::HashMap;

use serde::de::{DeserializeSeed, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::count::Count;
use self::object::JsonObject;

/// The most values of a body: items of lists and fields of objects, at any depth.
pub const MAX_ELEMENTS: usize = 100_000;
/// The most objects and lists within each other.
pub const MAX_DEPTH: usize = 64;

/// Why no tree was made of a text.
#[derive(Debug)]
pub(super) enum ParseError {
    /// It is no JSON; where it stops being that.
    Syntax(serde_json::Error),
    /// It has more than [`MAX_ELEMENTS`].
    TooMany,
    /// It is deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// An object whose objects and lists are still text.
#[derive(Debug, Default)]
pub(super) struct Object<'a> {
    /// Its fields. In the place of what is text stands `true`, or an empty list if nothing is in it.
    pub map: Map<String, Value>,
    /// Objects and lists, within the bounds.
    pub texts: HashMap<String, &'a RawValue>,
}

/// Which fields of an object are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep<'a> {
    /// These, in their order.
    pub named: &'a [&'a str],
    /// And so many of the others that say something; `true` stands for what they say.
    pub others: usize,
}

/// Reads a body that is an object; none of any other value.
///
/// # Errors
/// The text is no JSON, or beyond the bounds.
pub(super) fn object<'a>(text: &'a [u8], keep: Keep<'_>) -> Result<Option<Object<'a>>, ParseError> {
    // Before anything is kept: what is beyond the bounds is read no further.
    count(text)?;
    let is_object = text.trim_ascii_start().first() == Some(&b'{');
    Ok(is_object.then(|| part(text, keep)))
}

/// Reads an object that was counted.
pub(super) fn part<'a>(text: &'a [u8], keep: Keep<'_>) -> Object<'a> {
    let mut json = serde_json::Deserializer::from_slice(text);
    // It was read once: no error is left in it.
    json.deserialize_map(JsonObject(keep)).unwrap_or_default()
}

/// The items of a list that was part of an object.
pub(super) fn items(text: &RawValue) -> Vec<&RawValue> {
    // It was read once: no error is left in it.
    serde_json::from_str(text.get()).unwrap_or_default()
}

/// The tree of a part.
pub(super) fn tree(text: &RawValue) -> Value {
    // It was read once: no error is left in it.
    serde_json::from_str(text.get()).unwrap_or_default()
}

/// Whether a text is one within the bounds.
fn count(text: &[u8]) -> Result<(), ParseError> {
    let budget = Budget { left: Cell::new(MAX_ELEMENTS), error: Cell::new(None) };
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = Count { budget: &budget, depth: 0 }.deserialize(&mut json);
    read.and_then(|()| json.end()).map_err(|error| match budget.error.take() {
        Some(Bound::Elements) => ParseError::TooMany,
        Some(Bound::Depth) => ParseError::TooDeep,
        None => ParseError::Syntax(error),
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
    error: Cell<Option<Bound>>,
}

impl Budget {
    fn exceeded<E: serde::de::Error>(&self, bound: Bound) -> E {
        self.error.set(Some(bound));
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
