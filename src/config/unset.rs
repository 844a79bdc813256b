//! What a configuration names and is not there: variables and files.
//!
//! A gateway cannot do without them. `difygate check --allow-missing-env` can, and `difygate plan` as far as
//! they are secrets: a text with a variable that is not set then stays as it is written, and nothing is
//! found wrong with it.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::model::Token;

/// What becomes of a variable or a file that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// It is an error.
    #[default]
    Refused,
    /// It is one unless a secret is missing.
    Secrets,
    /// It is none.
    Allowed,
}

/// What was not there, where that is allowed.
#[derive(Clone, Debug, Default)]
pub struct Unset {
    /// Variables and files, as they are written.
    pub names: BTreeSet<String>,
    /// What stands in the place of secrets.
    pub secrets: Vec<Token>,
}

/// A text of the document that is not known.
#[derive(Debug)]
pub(super) struct UnsetText {
    pub(super) span: Range<usize>,
    /// The variable or the file.
    pub(super) name: String,
    /// What stands in its place, if a secret is wanted there.
    pub(super) secret: Option<Token>,
}
