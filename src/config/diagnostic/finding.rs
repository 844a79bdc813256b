//! One thing that is wrong with a configuration.

use std::ops::Range;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, and probably does not do what was meant.
    Warning,
    /// It is as it should be; an earlier version did otherwise with it.
    Note,
}

impl Severity {
    /// `error`, `warning` or `note`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line with its secrets masked.
    pub(super) shown: String,
    /// The bytes of `shown` that are meant.
    pub(super) marked: Range<usize>,
}

/// A second place that belongs to a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Where.
    pub place: Place,
    /// What is there, such as "first written here".
    pub label: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` if it is not about a place in the text, such as a file that cannot be read.
    pub at: Option<Place>,
    /// What is wrong. Lower case, no full stop, never a value from the environment or a secret.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// Where else to look.
    pub related: Option<Related>,
}

/// With or without colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// ASCII alone.
    Plain,
    /// With ANSI escapes; a stream of `anstream` takes them out where they do not belong.
    Colour,
}
