//! Limits of what is read of a body.

/// The longest `user` in characters (Unicode scalar values): Dify's column holds 255.
pub const MAX_USER_CHARS: usize = 255;

/// The longest text of a `user` before unescaping, in bytes: 255 characters as surrogate pairs are
/// 3,060.
pub(super) const MAX_RAW: usize = 4096;

/// The most file ids kept of a body. One is enough to find the owner; the rest are for the case
/// that it is unknown.
pub const MAX_FILES: usize = 16;
