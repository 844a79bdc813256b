//! Finds the text field `user` of a multipart/form-data body while the body arrives.
//!
//! In an upload `user` may stand behind a file of 100 MiB. This push parser runs at the speed of a
//! substring search over the file and keeps only what may still turn out to be a boundary, the
//! headers of one part and the value of one field.
//!
//! It reads as Dify 1.5.0 does (Werkzeug's form parser):
//!
//! - of several fields `user` the **first** counts (`request.form.get`), also when it is empty,
//!   which means "absent"; a part with a `filename` is a file whatever its name;
//! - lines may end with CRLF, LF or CR; the first boundary may stand anywhere in the preamble, any
//!   other one only at the start of a line; blanks may follow a boundary;
//! - bytes that are not UTF-8 become U+FFFD;
//! - in quoted parameters only `\"` and `\\` are escapes.
//!
//! A body in which no boundary ever comes gives no user and no error: Dify 1.5.0 answers such a
//! body itself, with 400 `bad_request_key_error`.
//!
//! Limits: a boundary of 70 bytes (RFC 2046), 16 KiB of headers in a part, 255 characters of
//! `user`, 256 blanks after a boundary (more of them make it content).
//!
//! Deliberately absent: the `charset` of a part, `name*=` (RFC 7578 forbids it), transfer
//! encodings, and Dify's own limits on the number and size of parts.

mod error;
mod part_header;
mod scanner;

#[cfg(test)]
mod tests;

pub use self::error::MultipartError;
pub use self::scanner::{FormInfo, MultipartScanner};
