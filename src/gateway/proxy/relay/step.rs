//! What comes of one step of a response.

use std::io;

use bytes::Bytes;
use http_body::Frame;

/// What comes of one step.
pub(super) enum Step {
    /// The next piece, or the end.
    Out(Option<io::Result<Frame<Bytes>>>),
    /// Nothing goes out yet.
    Again,
}
