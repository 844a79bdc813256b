//! A serde deserializer over the tree that collects findings instead of stopping at the first.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::{Fault, What, key_hint};
use super::tree::{Content, Entry, Piece, Tree};
use crate::background;
use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink, MAX_FINDINGS};
use crate::config::key_table::shown_key;
use crate::config::spelling::intended;

/// What has been noted and set aside so far.
#[derive(Debug, Default)]
struct Aside {
    drafts: RefCell<Vec<DiagnosticBuilder>>,
    dropped: RefCell<HashSet<u32>>,
}

impl Aside {
    /// Whether an entry takes no part any more.
    fn has(&self, entry: &Entry) -> bool {
        matches!(entry.value.content, Content::Faulty)
            || self.dropped.borrow().contains(&entry.key_id)
    }

    /// Whether an item of a list takes no part any more.
    fn has_item(&self, item: &Piece) -> bool {
        matches!(item.content, Content::Faulty) || self.dropped.borrow().contains(&item.id)
    }
}

/// Reads a `T`, noting every fault. `None` if so much had to be set aside that nothing is left; the
/// set holds the ids of what does not take part.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(
    tree: &Tree,
    sink: &mut DiagnosticSink,
) -> (Option<T>, HashSet<u32>) {
    let aside = Aside::default();
    let mut value = None;
    // Each round sets at least one more entry aside, so this ends.
    for _ in 0..MAX_FINDINGS {
        let reader = Reader { piece: &tree.root, aside: &aside, root: true };
        match T::deserialize(reader) {
            Ok(read) => {
                value = Some(read);
                break;
            }
            Err(fault) => {
                let drop = fault.drop;
                if !fault.silent {
                    aside.drafts.borrow_mut().push(fault.draft());
                }
                let Some(id) = drop else { break };
                aside.dropped.borrow_mut().insert(id);
            }
        }
    }
    for draft in aside.drafts.into_inner() {
        sink.add(draft);
    }
    (value, aside.dropped.into_inner())
}

/// Reads one piece.
#[derive(Clone, Copy)]
struct Reader<'a> {
    piece: &'a Piece,
    aside: &'a Aside,
    root: bool,
}

impl<'a> Reader<'a> {
    fn text(self, wanted: &str) -> Result<&'a str, Fault> {
        match &self.piece.content {
            Content::Text { text, .. } => Ok(text),
            _ => Err(self.wrong(wanted)),
        }
    }

    fn wrong(self, wanted: &str) -> Fault {
        self.unless_unset(Fault::predicate(format!("must be {wanted}"))).at(&self.piece.span)
    }

    /// Nothing is wrong with what is not known.
    fn unless_unset(self, mut fault: Fault) -> Fault {
        fault.silent |= matches!(self.piece.content, Content::Text { unset: true, .. });
        fault
    }

    /// Finishes a fault of this piece: its place, and no hint that might repeat the environment.
    fn placed(self, mut fault: Fault) -> Fault {
        if matches!(self.piece.content, Content::Text { expanded: true, .. }) {
            fault.hint = None;
        }
        self.unless_unset(fault).at(&self.piece.span)
    }

    fn entries(self, wanted: &str) -> Result<&'a [Entry], Fault> {
        match &self.piece.content {
            Content::Map(entries) => Ok(entries),
            Content::Null => Ok(&[]),
            _ => Err(self.wrong(wanted)),
        }
    }

    fn items(self) -> Result<Items<'a>, Fault> {
        match &self.piece.content {
            Content::List(items) => Ok(Items::new(items, self.aside)),
            Content::Null => Ok(Items::new(&[], self.aside)),
            _ => {
                let mut fault = self.wrong("a list");
                fault.hint = Some("write `- ` in front of each item, or `[…]` around them".into());
                Err(fault)
            }
        }
    }

    /// Sets every key aside that is not one of `fields` and notes them all at once, but for those
    /// that begin with `x-` at the top: they are there to hold anchors.
    fn refuse_unknown(self, entries: &[Entry], fields: &'static [&'static str]) {
        for entry in entries {
            let known = fields.contains(&entry.key.as_str());
            if known || self.aside.has(entry) {
                continue;
            }
            if !(self.root && entry.key.starts_with("x-")) {
                let draft = unknown_key(entry, fields, self.root);
                self.aside.drafts.borrow_mut().push(draft);
            }
            self.aside.dropped.borrow_mut().insert(entry.key_id);
        }
    }

    /// A missing key is no news if what stood there has been set aside.
    fn known_already(self, entries: &[Entry], fault: &Fault) -> bool {
        let What::Missing(key) = fault.what else { return false };
        entries.iter().any(|entry| entry.key == key && self.aside.has(entry))
    }
}

fn unknown_key(entry: &Entry, fields: &'static [&'static str], root: bool) -> DiagnosticBuilder {
    // A key without a value may be a secret that has lost its own key.
    let bare = matches!(entry.value.content, Content::Null) && entry.value.span.is_empty();
    let shown = shown_key(&entry.key);
    let intended = intended(&entry.key, fields);
    let message = match shown {
        Some(key) if !bare || intended.is_some() => format!("unknown key `{key}`"),
        _ => "unknown key".to_owned(),
    };
    let mut hint = key_hint(&entry.key, fields);
    if root && intended.is_none() {
        hint.push_str("; what begins with `x-` is ignored");
    }
    DiagnosticBuilder::error(entry.key_span.clone(), message).hint(hint)
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.piece.content {
            Content::Null => visitor.visit_unit(),
            Content::Text { .. } => self.deserialize_str(visitor),
            Content::Faulty => Err(self.wrong("a value").silent()),
            Content::List(_) => self.deserialize_seq(visitor),
            Content::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text("`true` or `false`")? {
            "true" | "True" | "TRUE" => visitor.visit_bool(true),
            "false" | "False" | "FALSE" => visitor.visit_bool(false),
            _ => Err(self.wrong("`true` or `false`")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.text("a single value")?;
        visitor.visit_str(text).map_err(|fault: Fault| self.placed(fault))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.piece.content {
            Content::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.items()?).map_err(|fault| self.placed(fault))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let entries = self.entries("a map of names to their settings")?;
        let at = Cell::new(0);
        let access = Entries::new(entries, self.aside, &at, true);
        visitor.visit_map(access).map_err(|fault| self.placed(fault))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        background::give_way();
        let entries = self.entries("a map of keys")?;
        self.refuse_unknown(entries, fields);
        let at = Cell::new(0);
        let access = Entries::new(entries, self.aside, &at, false);
        visitor.visit_map(access).map_err(|mut fault| {
            if let (What::Twice(_), Some(entry)) = (&fault.what, entries.get(at.get())) {
                fault.drop = Some(entry.key_id);
                return fault.at(&entry.key_span);
            }
            fault.silent |= self.known_already(entries, &fault);
            self.placed(fault)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let names: Vec<_> = variants.iter().map(|name| format!("`{name}`")).collect();
        let text: StrDeserializer<'_, Fault> = self.text(&names.join(" or "))?.into_deserializer();
        visitor.visit_enum(text).map_err(|fault| self.placed(fault))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    // Numbers are read from text in `units`, so that their limits stand in the message.
    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct identifier
    }
}

/// The entries of a map.
struct Entries<'a> {
    entries: &'a [Entry],
    aside: &'a Aside,
    /// The entry whose key was handed out last, for who looks after a fault.
    at: &'a Cell<usize>,
    next: usize,
    /// Whether entries without a value are handed out; in a struct they count as not written.
    with_null: bool,
}

impl<'a> Entries<'a> {
    fn new(entries: &'a [Entry], aside: &'a Aside, at: &'a Cell<usize>, with_null: bool) -> Self {
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
struct Items<'a> {
    items: std::slice::Iter<'a, Rc<Piece>>,
    aside: &'a Aside,
}

impl<'a> Items<'a> {
    fn new(items: &'a [Rc<Piece>], aside: &'a Aside) -> Self {
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
