//! A JSON text within bounds, and the parts of it that somebody looks into.
//!
//! A tree of values takes up to a hundred times the memory of its text: `[1,1,1,…]` of 21 MB became 1.2
//! GB. So a body is never one. It is read once to its end, while its values are counted; then its parts
//! stay the text that they are until they are looked into, one by one, and what nobody looks into stays
//! text for good.

mod budget;
mod count;
mod object;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use serde::de::{DeserializeSeed, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use self::budget::{Bound, Budget};
pub(crate) use self::budget::{MAX_DEPTH, MAX_ELEMENTS};
use self::count::Count;
use self::object::ObjectVisitor;
pub(super) use self::object::{Keep, MAX_IGNORED_NAME, Object, is_tellable};

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
    json.deserialize_map(ObjectVisitor(keep)).unwrap_or_default()
}

/// The items of a list that was part of an object, found one after another: there may be tens of thousands.
pub(super) fn items(text: &RawValue) -> Items<'_> {
    Items { rest: text.get().trim_start().strip_prefix('[').unwrap_or_default() }
}

/// What is left of a list.
#[derive(Clone, Default)]
pub struct Items<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a RawValue;

    fn next(&mut self) -> Option<&'a RawValue> {
        let rest = self.rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        let mut values = serde_json::Deserializer::from_str(rest).into_iter();
        // It was read once: what is no value is the end of the list.
        let item = values.next()?.ok()?;
        self.rest = rest.get(values.byte_offset()..)?;
        Some(item)
    }
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
