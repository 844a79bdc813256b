//! Finds `upload_file_id` in nested values.
//!
//! The key is looked for as text, `"upload_file_id"`, at the speed of a substring search. In JSON
//! that is enough: inside a string its quotes would have backslashes before them, and between a
//! string that happens to say the same and a key the colon decides.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::memrchr;
use smallvec::SmallVec;
use uuid::Uuid;

use super::limits::{MAX_FILES, MAX_RAW};
use super::text;

const KEY: &[u8] = b"\"upload_file_id\"";

/// The key without its quotes.
pub(super) const NAME: &[u8] = b"upload_file_id";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Search,
    Colon,
    Value,
    Text,
}

/// Where the search stands between two pieces of a nested value.
#[derive(Debug, Default)]
pub(super) struct Files {
    state: State,
    /// How many bytes of the key the last piece ended with.
    matched: usize,
    /// The last piece ended with a backslash.
    after_backslash: bool,
    /// Inside the string: the last piece ended after a backslash that takes the next byte with it.
    escaped: bool,
    raw: Vec<u8>,
}

impl Files {
    /// Whether an id can end within this many bytes. Most nested values are `{}` and `[]`.
    pub(super) fn may_end_in(&self, len: usize) -> bool {
        len > KEY.len() || self.matched > 0 || self.state != State::Search
    }

    /// Reads the next piece and adds the ids whose strings end in it.
    pub(super) fn feed(&mut self, piece: &[u8], out: &mut SmallVec<[Uuid; 2]>) {
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.state {
                State::Search => self.search(rest),
                State::Colon => self.expect(b':', State::Value, rest),
                State::Value => self.expect(b'"', State::Text, rest),
                State::Text => self.text(rest, out),
            };
        }
    }

    pub(super) fn reset(&mut self) {
        (self.state, self.matched, self.after_backslash) = (State::Search, 0, false);
    }

    /// Looks for the key. Gives the bytes read: all, or those up to the key's end.
    fn search(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        // What the last piece began.
        while let Some(&byte) = bytes.get(at).filter(|_| self.matched > 0 || at == 0) {
            at += 1;
            self.step(byte);
            if self.state == State::Colon {
                return at;
            }
        }
        let rest = &bytes[at..];
        if rest.is_empty() {
            return at;
        }
        let mut from = 0;
        while rest.len() - from >= KEY.len()
            && let Some(found) = FINDER.find(&rest[from..])
        {
            let place = from + found;
            let before = if place == 0 { bytes[at - 1] } else { rest[place - 1] };
            if before != b'\\' {
                self.found();
                return at + place + KEY.len();
            }
            from = place + 1;
        }
        // A key may begin in the last bytes, with their last quote.
        let tail = rest.len().saturating_sub(KEY.len() - 1).max(from);
        let begin = memrchr(b'"', &rest[tail..]).map_or(rest.len() - 1, |quote| tail + quote);
        self.after_backslash = match begin.checked_sub(1) {
            Some(before) => rest[before] == b'\\',
            None => bytes[at - 1] == b'\\',
        };
        rest[begin..].iter().for_each(|byte| self.step(*byte));
        bytes.len()
    }

    /// One byte of the search.
    fn step(&mut self, byte: u8) {
        let fits = KEY[self.matched] == byte && !(self.matched == 0 && self.after_backslash);
        self.matched = match byte {
            _ if fits => self.matched + 1,
            b'"' if !self.after_backslash => 1,
            _ => 0,
        };
        self.after_backslash = byte == b'\\';
        if self.matched == KEY.len() {
            self.found();
        }
    }

    fn found(&mut self) {
        (self.state, self.matched, self.after_backslash) = (State::Colon, 0, false);
    }

    /// Skips white space up to a byte that must follow. Another one is left to the search.
    fn expect(&mut self, wanted: u8, then: State, bytes: &[u8]) -> usize {
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        let blanks = bytes.iter().take_while(blank).count();
        match bytes.get(blanks) {
            None => blanks,
            Some(byte) if *byte == wanted => {
                self.state = then;
                self.raw.clear();
                blanks + 1
            }
            Some(_) => {
                self.state = State::Search;
                blanks
            }
        }
    }

    fn text(&mut self, bytes: &[u8], out: &mut SmallVec<[Uuid; 2]>) -> usize {
        let end = text::end(bytes, &mut self.escaped);
        let read = end.unwrap_or(bytes.len());
        let content = &bytes[..read - usize::from(end.is_some())];
        let room = MAX_RAW.saturating_sub(self.raw.len());
        self.raw.extend_from_slice(&content[..content.len().min(room)]);
        if end.is_some() {
            add(out, text::id(&std::mem::take(&mut self.raw)));
            self.reset();
        }
        read
    }
}

/// Adds an id that is new.
pub(super) fn add(out: &mut SmallVec<[Uuid; 2]>, id: Option<Uuid>) {
    if let Some(id) = id
        && out.len() < MAX_FILES
        && !out.contains(&id)
    {
        out.push(id);
    }
}
