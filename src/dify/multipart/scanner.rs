//! The push parser of a form.

use memchr::memmem::Finder;

use super::error::MultipartError;
use super::part_header::{self, Part};
use crate::dify::scan::{MAX_USER_CHARS, UserSlot};

/// The most bytes of headers in one part.
pub(super) const MAX_HEADERS: usize = 16 * 1024;

/// The most bytes of `user`: 255 characters of four bytes and the line end behind them.
const MAX_RAW: usize = 4 * MAX_USER_CHARS + 2;

/// The most blanks between a boundary and the end of its line.
const MAX_BLANKS: usize = 256;

/// How much of a chunk is added at a time to what the last one left over.
const STEP: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    /// In the headers of a part.
    Headers,
    /// In a part that is not wanted.
    Skip,
    /// In the first field `user`.
    User,
    Epilogue,
}

/// What follows the bytes of a boundary.
enum After {
    /// A part begins after this many bytes.
    Part(usize),
    /// `--`: the form is whole.
    Close,
    /// It is content that looks alike.
    Content,
    /// Not enough bytes to tell.
    Unsure,
}

/// The parser: [`feed`](Self::feed) it the body, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct MultipartScanner {
    /// `--` and the boundary.
    finder: Finder<'static>,
    state: State,
    /// The byte before the next one to be read; a line end at the start of a part's content.
    before: u8,
    /// A boundary's line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Bytes read but not understood: at most a boundary, its blanks and one [`STEP`].
    pub(super) carry: Vec<u8>,
    /// The headers of the part being read.
    headers: Vec<u8>,
    /// The value of `user` and the line end behind it.
    pub(super) value: Vec<u8>,
    user: Option<String>,
    /// Bytes that came before those being read.
    offset: u64,
    /// Where the first field `user` begins.
    user_begins: u64,
    slot: UserSlot,
    failed: Option<MultipartError>,
}

/// What a form says of who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormInfo {
    /// Its `user`; `None` if it is missing or empty.
    pub user: Option<String>,
    /// Where that stands, or can be put: before the boundary that closes the form.
    pub slot: UserSlot,
}

impl MultipartScanner {
    /// A parser for a body of this `Content-Type`.
    pub fn new(content_type: &str) -> Result<Self, MultipartError> {
        let boundary = part_header::boundary(content_type)?;
        Ok(Self {
            finder: Finder::new(&format!("--{boundary}")).into_owned(),
            state: State::Preamble,
            before: b'\n',
            after_cr: false,
            carry: Vec::new(),
            headers: Vec::new(),
            value: Vec::new(),
            user: None,
            offset: 0,
            user_begins: 0,
            slot: UserSlot::None,
            failed: None,
        })
    }

    /// Reads the next piece of the body. After an error every further call gives the same error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), MultipartError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let fed = self.run(chunk);
        self.failed = fed.err();
        fed
    }

    /// A part with this user, to be put before the closing boundary.
    pub fn part_of(content_type: &str, user: &str) -> Result<Vec<u8>, MultipartError> {
        let boundary = part_header::boundary(content_type)?;
        let part = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\n{user}\r\n"
        );
        Ok(part.into_bytes())
    }

    /// Ends the body and gives what it says. A body without any boundary says nothing.
    pub fn finish(self) -> Result<FormInfo, MultipartError> {
        match (self.failed, self.state) {
            (Some(error), _) => Err(error),
            (None, State::Preamble | State::Epilogue) => {
                let user = self.user.filter(|user| !user.is_empty());
                Ok(FormInfo { user, slot: self.slot })
            }
            _ => Err(MultipartError::Malformed("it ended before the closing boundary")),
        }
    }

    /// Joins what the last chunk left over with the start of this one, until that is understood.
    fn run(&mut self, chunk: &[u8]) -> Result<(), MultipartError> {
        let mut rest = chunk;
        while !self.carry.is_empty() && !rest.is_empty() {
            let old = self.carry.len();
            let (step, after) = rest.split_at(rest.len().min(STEP));
            let mut joined = std::mem::take(&mut self.carry);
            joined.extend_from_slice(step);
            let read = self.parse(&joined)?;
            if let Some(fresh) = read.checked_sub(old) {
                rest = &rest[fresh..];
                joined.clear();
            } else {
                rest = after;
                joined.drain(..read);
            }
            self.carry = joined;
        }
        let read = self.parse(rest)?;
        self.carry.extend_from_slice(&rest[read..]);
        Ok(())
    }

    /// Understands as much as it can of these bytes and gives how many that were.
    fn parse(&mut self, bytes: &[u8]) -> Result<usize, MultipartError> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (read, more) = match self.state {
                State::Epilogue => (rest.len(), false),
                State::Headers => (self.read_headers(rest)?, true),
                _ => self.read_content(rest)?,
            };
            at += read;
            self.offset += read as u64;
            if !more {
                break;
            }
        }
        Ok(at)
    }

    /// Reads content up to a boundary. Gives the bytes read, and whether there may be more to
    /// understand after them.
    fn read_content(&mut self, bytes: &[u8]) -> Result<(usize, bool), MultipartError> {
        let needle = self.finder.needle().len();
        let mut from = 0;
        while let Some(found) = self.finder.find(&bytes[from..]) {
            let place = from + found;
            let before = if place == 0 { self.before } else { bytes[place - 1] };
            let at_line_start = self.state == State::Preamble || matches!(before, b'\n' | b'\r');
            match what_follows(&bytes[place + needle..]) {
                After::Unsure if at_line_start => {
                    self.take(&bytes[..place])?;
                    return Ok((place, false));
                }
                After::Part(skipped) if at_line_start => {
                    self.end_of_part(&bytes[..place])?;
                    let end = place + needle + skipped;
                    self.after_cr = bytes[end - 1] == b'\r';
                    self.headers.clear();
                    self.state = State::Headers;
                    return Ok((end, true));
                }
                After::Close if at_line_start => {
                    self.end_of_part(&bytes[..place])?;
                    if self.user.is_none() {
                        self.slot = UserSlot::Before(self.offset + place as u64);
                    }
                    self.state = State::Epilogue;
                    return Ok((place + needle + 2, true));
                }
                _ => from = place + 1,
            }
        }
        // The last bytes may be the start of a boundary.
        let read = bytes.len().saturating_sub(needle - 1).max(from);
        self.take(&bytes[..read])?;
        Ok((read, false))
    }

    /// Reads the headers of a part up to their blank line.
    fn read_headers(&mut self, bytes: &[u8]) -> Result<usize, MultipartError> {
        let skipped = usize::from(std::mem::take(&mut self.after_cr) && bytes[0] == b'\n');
        for (place, &byte) in bytes.iter().enumerate().skip(skipped) {
            self.headers.push(byte);
            if matches!(byte, b'\n' | b'\r') && ends_with_blank_line(&self.headers) {
                let wanted = self.user.is_none() && part_header::part(&self.headers) == Part::User;
                self.state = if wanted { State::User } else { State::Skip };
                self.before = b'\n';
                self.value.clear();
                if wanted {
                    self.user_begins = self.offset + place as u64 + 1;
                }
                return Ok(place + 1);
            }
            if self.headers.len() >= MAX_HEADERS {
                return Err(MultipartError::Malformed(
                    "the headers of a part are larger than 16 KiB",
                ));
            }
        }
        Ok(bytes.len())
    }

    /// Content that is no boundary.
    fn take(&mut self, content: &[u8]) -> Result<(), MultipartError> {
        let Some(last) = content.last() else { return Ok(()) };
        self.before = *last;
        if self.state == State::User {
            if self.value.len() + content.len() > MAX_RAW {
                return Err(MultipartError::UserTooLong);
            }
            self.value.extend_from_slice(content);
        }
        Ok(())
    }

    /// The last content of a part, with the line end that belongs to the boundary.
    fn end_of_part(&mut self, content: &[u8]) -> Result<(), MultipartError> {
        self.take(content)?;
        if self.state == State::User {
            let value = self.value.strip_suffix(b"\n").map_or(&self.value[..], |value| value);
            let value = value.strip_suffix(b"\r").unwrap_or(value);
            // Without a line end the boundary would run into what is put there.
            if value.len() < self.value.len() {
                self.slot =
                    UserSlot::Value(self.user_begins..self.user_begins + value.len() as u64);
            }
            let user = String::from_utf8_lossy(value).into_owned();
            if user.chars().count() > MAX_USER_CHARS {
                return Err(MultipartError::UserTooLong);
            }
            self.user = Some(user);
        }
        Ok(())
    }
}

fn ends_with_blank_line(headers: &[u8]) -> bool {
    // The last two: a part without any header.
    headers.ends_with(b"\r\n\r\n")
        || headers.ends_with(b"\n\n")
        || headers.ends_with(b"\r\r")
        || headers == b"\r\n"
        || headers == b"\n"
}

/// What the bytes after a boundary make of it.
fn what_follows(bytes: &[u8]) -> After {
    match bytes {
        [b'-', b'-', ..] => return After::Close,
        [] | [b'-'] => return After::Unsure,
        _ => {}
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x0B | 0x0C);
    let blanks = bytes.iter().take_while(|byte| is_blank(byte)).count();
    match bytes.get(blanks..) {
        _ if blanks > MAX_BLANKS => After::Content,
        Some([b'\r', b'\n', ..]) => After::Part(blanks + 2),
        Some([b'\r' | b'\n', ..]) => After::Part(blanks + 1),
        Some([]) | None => After::Unsure,
        Some(_) => After::Content,
    }
}
