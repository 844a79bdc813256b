//! What goes wrong while types are read from a tree.

use std::fmt::{self, Display};
use std::ops::Range;

use serde::de::{self, Expected, Unexpected};

use super::tree::{Content, Entry, Piece};
use crate::config::diagnostic::DiagnosticBuilder;
use crate::config::key_table::shown_key;
use crate::config::spelling::{intended, intended_value, is_former};

/// An error on its way from the value to the entry that is set aside for it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: What,
    pub(super) hint: Option<String>,
    pub(super) at: Option<Range<usize>>,
    /// What to set aside before reading again: the id of a key or of a list's item.
    pub(super) drop: Option<u32>,
    /// Whether it only follows from something that was noted before.
    pub(super) silent: bool,
    in_list: bool,
}

#[derive(Debug)]
pub(super) enum What {
    /// "must be …", still without its subject.
    Predicate(String),
    /// The whole message.
    Sentence(String),
    /// A key that must be there is not.
    Missing(&'static str),
    /// The two spellings of one key are both there.
    Twice(&'static str),
}

impl Fault {
    pub(super) fn new(what: What) -> Self {
        Self { what, hint: None, at: None, drop: None, silent: false, in_list: false }
    }

    pub(super) fn predicate(text: impl Into<String>) -> Self {
        Self::new(What::Predicate(text.into()))
    }

    /// Gives it a place, unless it has one.
    pub(super) fn at(mut self, span: &Range<usize>) -> Self {
        self.at.get_or_insert_with(|| span.clone());
        self
    }

    /// Concerns a key itself.
    pub(super) fn in_key(mut self, entry: &Entry) -> Self {
        self.drop = Some(entry.key_id);
        self.at(&entry.key_span)
    }

    /// Passes an item of a list.
    pub(super) fn in_item(mut self, id: u32, span: &Range<usize>) -> Self {
        if self.drop.is_none() {
            self.drop = Some(id);
            self.in_list = matches!(self.what, What::Predicate(_));
        }
        self.at(span)
    }

    /// Follows from what has been noted already.
    pub(super) fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Passes an entry of a map, which gives a predicate its subject.
    pub(super) fn in_entry(mut self, entry: &Entry) -> Self {
        self.drop.get_or_insert(entry.key_id);
        if entry.key == "weight" && is_zero(&entry.value) {
            let hint = "`drain: true` keeps its conversations and gives it nothing new; or remove the instance";
            self.hint = Some(hint.to_owned());
        }
        if let What::Predicate(predicate) = &self.what {
            let key = shown_key(&entry.key).map_or("this value".to_owned(), |k| format!("`{k}`"));
            let of = if self.in_list { "each item of " } else { "" };
            self.what = What::Sentence(format!("{of}{key} {predicate}"));
        }
        let span = if entry.value.span.is_empty() { &entry.key_span } else { &entry.value.span };
        self.at(span)
    }

    /// What the operator is told.
    pub(super) fn draft(self) -> DiagnosticBuilder {
        let message = match self.what {
            What::Predicate(predicate) => format!("the configuration {predicate}"),
            What::Sentence(message) => message,
            What::Missing(key) => format!("`{key}` is missing"),
            What::Twice(key) => format!("`{key}` is written twice, under two names"),
        };
        let draft = DiagnosticBuilder::error(self.at.unwrap_or(0..0), message);
        match self.hint {
            Some(hint) => draft.hint(hint),
            None => draft,
        }
    }
}

fn is_zero(piece: &Piece) -> bool {
    matches!(&piece.content, Content::Text { text, expanded: false, .. } if text == "0")
}

/// Which key was meant, or which ones there are.
pub(super) fn key_hint(key: &str, fields: &'static [&'static str]) -> String {
    match intended(key, fields) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let fields = fields.iter().filter(|field| !is_former(field));
            let names: Vec<_> = fields.map(|field| format!("`{field}`")).collect();
            format!("the keys here are {}", names.join(", "))
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be read")
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    /// The first line is a predicate, the second its hint.
    fn custom<T: Display>(text: T) -> Self {
        let text = text.to_string();
        let (predicate, hint) = match text.split_once('\n') {
            Some((predicate, hint)) => (predicate, Some(hint.to_owned())),
            None => (text.as_str(), None),
        };
        Self { hint, ..Self::predicate(predicate) }
    }

    /// The unexpected value is not repeated: it may be a secret.
    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::predicate(format!("must be {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::predicate(format!("must be {expected}"))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::predicate(format!("must be {expected}"))
    }

    fn unknown_variant(word: &str, expected: &'static [&'static str]) -> Self {
        let names: Vec<_> = expected.iter().map(|name| format!("`{name}`")).collect();
        let meant = intended_value(word, expected);
        let hint = meant.map(|meant| format!("did you mean `{meant}`?"));
        Self { hint, ..Self::predicate(format!("must be {}", names.join(" or "))) }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let message = shown_key(field).map(|key| format!("unknown key `{key}`"));
        let what = What::Sentence(message.unwrap_or("unknown key".to_owned()));
        Self { hint: Some(key_hint(field, expected)), ..Self::new(what) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(What::Twice(field))
    }
}
