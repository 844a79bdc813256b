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

mod error;
mod facts;
mod files;
mod nest;
mod text;
mod usual;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use self::error::{JsonKind, ScanError};
pub use self::facts::{BodyFacts, MAX_FILES, UserSlot};
use self::facts::{Emptiness, Found};
use self::files::Files;
use self::nest::Nest;
use self::text::{Field, Key};
pub(in crate::dify) use self::text::{end as string_end, near as near_string};

/// The longest `user` in characters (Unicode scalar values): Dify's column holds 255.
pub const MAX_USER_CHARS: usize = 255;

/// The longest text of a `user` before unescaping, in bytes: 255 characters as surrogate pairs are
/// 3,060.
const MAX_RAW: usize = 4096;

/// Where the scanner stands between two bytes.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the first byte.
    Begin,
    /// Inside the byte order mark: one or two of its bytes were seen.
    Mark(u8),
    /// Before the object.
    Open,
    /// After `{`: a key or `}`.
    FirstKey,
    /// After a comma: a key.
    NextKey,
    /// Inside a key.
    Key,
    /// After a key.
    Colon,
    /// After a colon.
    Value,
    /// Inside a string value.
    Text,
    /// Inside a number or literal.
    Scalar,
    /// Inside an object or array value.
    Nested,
    /// After a value: a comma or `}`.
    Comma,
    /// After the object.
    End,
}

/// The scanner: [`feed`](Self::feed) it the body, then [`finish`](Self::finish).
///
/// It allocates only for the values of wanted fields, and at most 4 KiB at a time for that.
#[derive(Debug)]
pub struct UserScan {
    state: State,
    /// Bytes in the chunks before this one.
    offset: u64,
    key: Key,
    /// Whose value is being read.
    field: Field,
    /// Where the string being read begins in the body: at its quote.
    begins: u64,
    /// The value of a wanted field as sent, without quotes; `MAX_RAW + 1` bytes mean "longer".
    raw: Vec<u8>,
    /// The last chunk ended after a backslash inside a key or string.
    escaped: bool,
    nest: Nest,
    user: Found,
    /// All but the user.
    facts: BodyFacts,
    files: Files,
    failed: Option<ScanError>,
}

impl Default for UserScan {
    fn default() -> Self {
        Self::new()
    }
}

impl UserScan {
    /// A scanner before the first byte.
    pub fn new() -> Self {
        Self {
            state: State::Begin,
            offset: 0,
            key: Key::default(),
            field: Field::Other,
            begins: 0,
            raw: Vec::new(),
            escaped: false,
            nest: Nest::default(),
            user: Found::Absent,
            facts: BodyFacts::default(),
            files: Files::default(),
            failed: None,
        }
    }

    /// Reads the next piece of the body. After an error every further call gives the same error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), ScanError> {
        if self.failed.is_none() && self.run(chunk).is_some() {
            self.offset += chunk.len() as u64;
        }
        self.failed.map_or(Ok(()), Err)
    }

    /// Ends the body and gives what it says.
    pub fn finish(self) -> Result<BodyFacts, ScanError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let what = match self.state {
            State::End => {
                let user = match self.user {
                    Found::Absent => None,
                    Found::TooLong => return Err(ScanError::UserTooLong),
                    Found::User(user) => Some(user),
                };
                return Ok(BodyFacts { user, ..self.facts });
            }
            State::Begin | State::Open => return Err(ScanError::Empty),
            State::Mark(_) => "it ends inside a byte order mark",
            State::Key | State::Text => "it ends inside a string",
            State::Nested => "it ends inside a nested value",
            State::Scalar | State::FirstKey | State::NextKey => "it ends inside the object",
            State::Colon | State::Value | State::Comma => "it ends inside the object",
        };
        Err(ScanError::Malformed { offset: self.offset, what })
    }

    /// `None`, here and below, if the scan has failed.
    fn run(&mut self, chunk: &[u8]) -> Option<()> {
        if self.offset < 2 {
            self.refuse_wide_encodings(chunk)?;
        }
        let mut at = 0;
        if let (State::Begin, [b'{', b'"', ..]) = (self.state, chunk) {
            self.state = State::Key;
            at = 2;
        }
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.state {
                State::Key if self.key.is_empty() && !self.escaped => match self.usual(rest, at)? {
                    0 => self.in_key(rest),
                    read => read,
                },
                State::Key => self.in_key(rest),
                State::Text => self.in_text(rest, at)?,
                State::Scalar => self.in_scalar(rest, at)?,
                State::Nested => self.in_nested(rest, at)?,
                _ => self.between(rest, at)?,
            };
        }
        Some(())
    }

    /// As Python does: a NUL among the first two bytes can only be a wider encoding of JSON.
    fn refuse_wide_encodings(&mut self, chunk: &[u8]) -> Option<()> {
        let mark = self.offset == 0 && matches!(chunk.first(), Some(0xFE | 0xFF));
        let begin = usize::try_from(2 - self.offset).unwrap_or(0).min(chunk.len());
        if mark || chunk[..begin].contains(&0) {
            return self.fail(ScanError::Utf16);
        }
        Some(())
    }

    /// Skips white space and reads one byte between tokens. Gives the number of bytes read.
    fn between(&mut self, rest: &[u8], at: usize) -> Option<usize> {
        if let State::Begin | State::Mark(_) = self.state {
            return self.before(rest[0], at);
        }
        let Some(skipped) = rest.iter().position(|byte| !is_blank(*byte)) else {
            return Some(rest.len());
        };
        let byte = rest[skipped];
        let at = at + skipped;
        self.state = match (self.state, byte) {
            (State::Open, b'{') => State::FirstKey,
            (State::Open, _) => return self.not_an_object(byte, at),
            (State::FirstKey, b'}') => {
                self.object_ends(at, Emptiness::Empty);
                State::End
            }
            (State::Comma, b'}') => {
                self.object_ends(at, Emptiness::HasMembers);
                State::End
            }
            (State::FirstKey | State::NextKey, b'"') => {
                self.key.clear();
                State::Key
            }
            (State::Colon, b':') => State::Value,
            (State::Value, _) => return self.value(byte, at).map(|read| skipped + read),
            (State::Comma, b',') => State::NextKey,
            (state, _) => return self.malformed(at, expected(state)),
        };
        Some(skipped + 1)
    }

    /// The first byte, or one of the byte order mark.
    fn before(&mut self, byte: u8, at: usize) -> Option<usize> {
        self.state = match (self.state, byte) {
            (State::Begin, 0xEF) => State::Mark(1),
            (State::Mark(1), 0xBB) => State::Mark(2),
            (State::Mark(2), 0xBF) => State::Open,
            (State::Mark(_), _) => return self.malformed(at, "a broken byte order mark"),
            _ => {
                self.state = State::Open;
                return Some(0);
            }
        };
        Some(1)
    }

    /// The first byte of a value.
    fn value(&mut self, byte: u8, at: usize) -> Option<usize> {
        self.begin(self.field, at);
        self.state = match byte {
            b'"' => State::Text,
            b'{' | b'[' => {
                if let Err(fault) = self.nest.open(byte) {
                    return self.fault(fault, at);
                }
                self.keep(&[byte]);
                State::Nested
            }
            _ if is_scalar(byte) => {
                self.state = State::Scalar;
                return Some(0);
            }
            _ => return self.malformed(at, "expected a value after the colon"),
        };
        Some(1)
    }

    fn in_key(&mut self, rest: &[u8]) -> usize {
        match text::end(rest, &mut self.escaped) {
            Some(end) => {
                self.field = self.key.ends_with(&rest[..end - 1]);
                self.state = State::Colon;
                end
            }
            None => {
                self.key.push(rest);
                rest.len()
            }
        }
    }

    fn in_text(&mut self, rest: &[u8], at: usize) -> Option<usize> {
        let Some(end) = self.text(rest, at)? else { return Some(rest.len()) };
        self.state = State::Comma;
        Some(end)
    }

    fn in_scalar(&mut self, rest: &[u8], at: usize) -> Option<usize> {
        let Some(end) = rest.iter().position(|byte| !is_scalar(*byte)) else {
            self.keep(rest);
            return Some(rest.len());
        };
        self.state = State::Comma;
        self.settle_scalar(&rest[..end], at + end)?;
        Some(end)
    }

    fn in_nested(&mut self, rest: &[u8], at: usize) -> Option<usize> {
        let end = match self.nest.skip(rest) {
            Ok(end) => end,
            Err(fault) => return self.fault(fault, at),
        };
        let read = end.unwrap_or(rest.len());
        if end.is_none() || self.files.may_end_in(read) {
            self.files.feed(&rest[..read], &mut self.facts.files);
        }
        if end.is_none() {
            self.keep(rest);
            return Some(read);
        }
        self.files.reset();
        self.state = State::Comma;
        self.settle_nested(&rest[..read], at + read)?;
        Some(read)
    }

    #[cold]
    fn not_an_object(&mut self, byte: u8, at: usize) -> Option<usize> {
        let kind = match byte {
            b'[' => JsonKind::Array,
            b'n' => JsonKind::Null,
            b'"' => JsonKind::String,
            b't' | b'f' => JsonKind::Bool,
            b'-' | b'0'..=b'9' => JsonKind::Number,
            _ => return self.malformed(at, "expected a JSON object"),
        };
        self.fail(ScanError::NotAnObject(kind))
    }

    #[cold]
    fn fault(&mut self, fault: nest::Fault, at: usize) -> Option<usize> {
        match fault {
            nest::Fault::TooDeep => self.fail(ScanError::TooDeep),
            nest::Fault::Mismatch(place) => {
                self.malformed(at + place, "this bracket does not close the one that is open")
            }
        }
    }

    #[cold]
    fn malformed<T>(&mut self, at: usize, what: &'static str) -> Option<T> {
        self.fail(ScanError::Malformed { offset: self.offset + at as u64, what })
    }

    fn fail<T>(&mut self, error: ScanError) -> Option<T> {
        self.failed = Some(error);
        None
    }
}

/// Reads a body that is in memory as a whole. The same as [`UserScan`] fed once.
pub fn facts_of(body: &[u8]) -> Result<BodyFacts, ScanError> {
    let mut scan = UserScan::new();
    scan.feed(body)?;
    scan.finish()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Bytes of numbers and literals, with Python's `NaN` and `-Infinity`.
fn is_scalar(byte: u8) -> bool {
    const SCALARS: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            table[byte as usize] =
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
            byte += 1;
        }
        table
    };
    SCALARS[usize::from(byte)]
}

fn expected(state: State) -> &'static str {
    match state {
        State::FirstKey => "expected a key in double quotes or `}`",
        State::NextKey => "expected a key in double quotes",
        State::Colon => "expected a colon after the key",
        State::Comma => "expected a comma or `}` after the value",
        State::End => "text after the end of the object",
        _ => "unexpected byte",
    }
}
