//! What may be wrong with a JSON body.

use std::fmt;

use super::limits::MAX_USER_CHARS;
use super::nesting;

/// What a body is when it is not an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonKind {
    /// `[…]`. Dify 1.5.0 answers 500.
    Array,
    /// `null`. Dify 1.5.0 answers 500.
    Null,
    /// `"…"`.
    String,
    /// `12`.
    Number,
    /// `true` or `false`.
    Bool,
}

impl fmt::Display for JsonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Array => "an array",
            Self::Null => "`null`",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "a boolean",
        })
    }
}

/// Why no `user` can be read from a body. The messages are fit for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The first bytes are those of UTF-16 or UTF-32.
    #[error("The request body is JSON in UTF-16 or UTF-32: send it in UTF-8.")]
    Utf16,
    /// The body is JSON, but no object. Told by its first byte.
    #[error("The request body is {0}: send a JSON object.")]
    NotAnObject(JsonKind),
    /// The body is not JSON.
    #[error("The request body is not valid JSON: {what} (byte {offset}).")]
    Malformed {
        /// Where it was noticed, counted from 0 at the body's first byte.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// More than 512 brackets are open.
    #[error("The request body nests deeper than {} levels: flatten it.", nesting::MAX_DEPTH)]
    TooDeep,
    /// The `user` that counts has more than 255 characters.
    #[error("`user` is longer than {MAX_USER_CHARS} characters: shorten it.")]
    UserTooLong,
    /// No bytes at all, or only white space.
    #[error("The request body is empty: send a JSON object.")]
    Empty,
}
