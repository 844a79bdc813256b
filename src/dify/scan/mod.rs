//! Finds the top-level `user` of a JSON request body, and Dify's ids in it, while the body arrives.
//!
//! The gateway needs a few fields of a body that may hold 100 MiB. Building a tree would cost more
//! than all the rest of a request, so this is a push scanner: bytes go in as they come, in pieces
//! of any size, and what is kept is one key, one value and one bit per open bracket.
//!
//! It reads as Dify 1.5.0 does (Python's `json` on the raw bytes, then `str()` of the value):
//!
//! - strings are unescaped; numbers, `true` and `false` count by their text; an object or array
//!   counts by its text as sent (Dify prints it its own way; the text is only a stable name here);
//! - of duplicate keys the last wins, also when it is `null` or `""`, which mean "absent";
//! - only the key at the top counts, however it is escaped;
//! - a UTF-8 byte order mark is skipped. Dify takes UTF-16 and UTF-32 too; those are refused here,
//!   because the answer is to send UTF-8 and not to carry a second scanner;
//! - `conversation_id`, `message_id` and `workflow_id` count at the top, as UUIDs in any form that
//!   Python's `uuid.UUID` takes; what is none is Dify's to refuse, and no error here;
//! - `response_mode` says whether the answer is streamed;
//! - `upload_file_id` counts at any depth: chat apps have it in `files`, workflows in `inputs`.
//!
//! Limits: 512 open brackets (Python gives up near 1,000 with a 500), 255 characters of `user` (a
//! longer one is a 500 in Dify), 4 KiB of text before unescaping, 16 files.
//!
//! Deliberately absent: validation of what is skipped. The text of strings other than `user`,
//! numbers, literals and the commas and colons of nested values are Dify's to check. Noticed are:
//! an end inside a value, a missing colon or comma at the top, brackets that do not match, and
//! text after the object. A nested key `upload_file_id` with escapes in it is not found: nobody
//! writes it so, and the price of a miss is one more question to an instance.

mod body_info;
mod error;
mod fast_path;
mod files;
mod limits;
mod nesting;
mod scanner;
mod text;
mod values;

#[cfg(test)]
mod tests;

pub use self::body_info::{BodyInfo, UserSlot};
pub use self::error::{JsonKind, ScanError};
pub use self::limits::{MAX_FILES, MAX_USER_CHARS};
pub use self::scanner::{BodyScanner, scan_body};
pub(in crate::dify) use self::text::{end as string_end, near as near_string};
