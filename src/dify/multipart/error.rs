//! Why a form is refused.

use crate::dify::scan::MAX_USER_CHARS;

/// Why no `user` can be read from a form. The messages are fit for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The content type is another one.
    #[error("The Content-Type is not multipart/form-data: send the form as that.")]
    NotMultipart,
    /// No `boundary`, or none of 1 to 70 visible characters.
    #[error("The Content-Type needs a `boundary` of 1 to 70 characters.")]
    Boundary,
    /// The body is no form of that boundary.
    #[error("The request body is not valid multipart/form-data: {0}.")]
    Malformed(&'static str),
    /// The `user` that counts has more than 255 characters.
    #[error("`user` is longer than {MAX_USER_CHARS} characters: shorten it.")]
    UserTooLong,
}
