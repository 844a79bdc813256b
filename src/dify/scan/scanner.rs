//! The scanner: a state machine over the bytes of a body.

use super::body_info::{BodyInfo, Emptiness, UserValue};
use super::error::{JsonKind, ScanError};
use super::files::Files;
use super::nesting::{self, Nesting};
use super::text::{self, Field, Key};

/// Where the scanner stands between two bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Begin,
    /// Inside the byte order mark: one or two of its bytes were seen.
    Mark(u8),
    Open,
    /// After `{`: a key or `}`.
    FirstKey,
    /// After a comma: a key.
    NextKey,
    Key,
    Colon,
    Value,
    Text,
    Scalar,
    /// Inside an object or array value.
    Nested,
    /// After a value: a comma or `}`.
    Comma,
    End,
}

/// The scanner: [`feed`](Self::feed) it the body, then [`finish`](Self::finish).
///
/// It allocates only for the values of wanted fields, and at most 4 KiB at a time for that.
#[derive(Debug)]
pub struct BodyScanner {
    pub(super) state: State,
    /// Bytes in the chunks before this one.
    pub(super) offset: u64,
    pub(super) key: Key,
    /// Whose value is being read.
    pub(super) field: Field,
    /// Where the string being read begins in the body: at its quote.
    pub(super) begins: u64,
    /// The value of a wanted field as sent, without quotes; `MAX_RAW + 1` bytes mean "longer".
    pub(super) raw: Vec<u8>,
    /// The last chunk ended after a backslash inside a key or string.
    pub(super) escaped: bool,
    pub(super) nesting: Nesting,
    pub(super) user: UserValue,
    /// All but the user.
    pub(super) facts: BodyInfo,
    pub(super) files: Files,
    pub(super) failed: Option<ScanError>,
}

impl Default for BodyScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl BodyScanner {
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
            nesting: Nesting::default(),
            user: UserValue::Absent,
            facts: BodyInfo::default(),
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
    pub fn finish(self) -> Result<BodyInfo, ScanError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let what = match self.state {
            State::End => {
                let user = match self.user {
                    UserValue::Absent => None,
                    UserValue::TooLong => return Err(ScanError::UserTooLong),
                    UserValue::User(user) => Some(user),
                };
                return Ok(BodyInfo { user, ..self.facts });
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
                State::Key if self.key.is_empty() && !self.escaped => {
                    match self.read_members(rest, at)? {
                        0 => self.in_key(rest),
                        read => read,
                    }
                }
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
                if let Err(fault) = self.nesting.open(byte) {
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
        let end = match self.nesting.skip(rest) {
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
    fn fault(&mut self, fault: nesting::NestingError, at: usize) -> Option<usize> {
        match fault {
            nesting::NestingError::TooDeep => self.fail(ScanError::TooDeep),
            nesting::NestingError::Mismatch(place) => {
                self.malformed(at + place, "this bracket does not close the one that is open")
            }
        }
    }

    #[cold]
    pub(super) fn malformed<T>(&mut self, at: usize, what: &'static str) -> Option<T> {
        self.fail(ScanError::Malformed { offset: self.offset + at as u64, what })
    }

    fn fail<T>(&mut self, error: ScanError) -> Option<T> {
        self.failed = Some(error);
        None
    }
}

/// Reads a body that is in memory as a whole. The same as [`BodyScanner`] fed once.
pub fn scan_body(body: &[u8]) -> Result<BodyInfo, ScanError> {
    let mut scan = BodyScanner::new();
    scan.feed(body)?;
    scan.finish()
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Bytes of numbers and literals, with Python's `NaN` and `-Infinity`.
pub(super) fn is_scalar(byte: u8) -> bool {
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
