//! What an import gives, and what it says of places in the Lua text.

use std::collections::BTreeSet;

use super::places::Places;

/// Something about a place in the Lua text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// From 1; 0 if it is about the whole text.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong or was left out. No secret.
    pub message: String,
    /// How to mend it.
    pub hint: Option<&'static str>,
}

/// What an import gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The configuration, with the secrets in it.
    pub yaml: String,
    /// What has no counterpart and was left out, and what was made otherwise.
    pub ignored: Vec<Remark>,
    /// The environment variables that the configuration refers to without a default.
    pub variables: BTreeSet<String>,
    /// Which places of the Lua text the configuration was made of.
    pub places: Places,
}

pub(crate) fn whole(message: &str, hint: &'static str) -> Remark {
    Remark { line: 0, column: 0, message: message.to_owned(), hint: Some(hint) }
}
