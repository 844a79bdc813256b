//! Walking the entries of a map and the items of a list, past what has been set aside.

use std::cell::Cell;
use std::rc::Rc;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess};

use super::fault::Fault;
use super::reader::{Aside, Reader};
use super::tree::{Content, Entry, Piece};

/// The entries of a map.
pub(super) struct Entries<'a> {
    entries: &'a [Entry],
    aside: &'a Aside,
    /// The entry whose key was handed out last, for who looks after a fault.
    at: &'a Cell<usize>,
    next: usize,
    /// Whether entries without a value are handed out; in a struct they count as not written.
    with_null: bool,
}

impl<'a> Entries<'a> {
    pub(super) fn new(
        entries: &'a [Entry],
        aside: &'a Aside,
        at: &'a Cell<usize>,
        with_null: bool,
    ) -> Self {
        Self { entries, aside, at, next: 0, with_null }
    }

    fn skipped(&self, entry: &Entry) -> bool {
        let null = matches!(entry.value.content, Content::Null);
        self.aside.has(entry) || (null && !self.with_null)
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        while let Some(entry) = self.entries.get(self.next) {
            self.at.set(self.next);
            self.next += 1;
            if self.skipped(entry) {
                continue;
            }
            let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
            return seed.deserialize(key).map(Some).map_err(|fault| fault.in_key(entry));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(entry) = self.entries.get(self.at.get()) else {
            return Err(Fault::predicate("must have a value"));
        };
        seed.deserialize(Reader { piece: &entry.value, aside: self.aside, root: false })
            .map_err(|fault| fault.in_entry(entry))
    }
}

/// The items of a list.
pub(super) struct Items<'a> {
    items: std::slice::Iter<'a, Rc<Piece>>,
    aside: &'a Aside,
}

impl<'a> Items<'a> {
    pub(super) fn new(items: &'a [Rc<Piece>], aside: &'a Aside) -> Self {
        Self { items: items.iter(), aside }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.find(|item| !self.aside.has_item(item)) else {
            return Ok(None);
        };
        seed.deserialize(Reader { piece: item, aside: self.aside, root: false })
            .map(Some)
            .map_err(|fault| fault.in_item(item.id, &item.span))
    }
}
