//! Takes the values of wanted fields, one by one as they end.

use super::body_info::{Emptiness, UserSlot, UserValue};
use super::files;
use super::limits::MAX_RAW;
use super::scanner::BodyScanner;
use super::text::{self, Field};

/// Reads what was sent; `None` for what counts as absent.
type Reader = fn(&[u8]) -> Result<Option<String>, &'static str>;

impl BodyScanner {
    /// A value of this field begins.
    pub(super) fn begin(&mut self, field: Field, at: usize) {
        self.field = field;
        self.begins = self.offset + at as u64;
        self.raw.clear();
    }

    /// Adds to the value of a wanted field, up to one byte beyond the limit.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.field != Field::Other {
            let room = (MAX_RAW + 1).saturating_sub(self.raw.len());
            self.raw.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Reads a string up to its end, of which the place is given, or keeps what there is of it.
    /// `None` outside if the scan has failed.
    pub(super) fn text(&mut self, rest: &[u8], at: usize) -> Option<Option<usize>> {
        let end = text::end(rest, &mut self.escaped);
        match end {
            Some(end) => self.settle_text(&rest[..end - 1], at + end)?,
            None => self.keep(rest),
        }
        Some(end)
    }

    /// A string is whole with these last bytes and ends before `end`.
    pub(super) fn settle_text(&mut self, last: &[u8], end: usize) -> Option<()> {
        match self.field {
            Field::Other => {}
            Field::User => self.settle(last, end, text::unescape)?,
            Field::Mode => self.settle_mode(last),
            _ => self.settle_id(last, self.offset + end as u64),
        }
        Some(())
    }

    /// The same of a number or literal.
    pub(super) fn settle_scalar(&mut self, last: &[u8], end: usize) -> Option<()> {
        self.settle_no_text(last, end, text::scalar)
    }

    /// The same of an object or array.
    pub(super) fn settle_nested(&mut self, last: &[u8], end: usize) -> Option<()> {
        self.settle_no_text(last, end, text::nested)
    }

    fn settle_no_text(&mut self, last: &[u8], end: usize, read: Reader) -> Option<()> {
        match self.field {
            Field::Other => {}
            Field::User => self.settle(last, end, read)?,
            _ => self.settle_no_id(),
        }
        Some(())
    }

    /// The value of `user` is whole with these last bytes: it replaces what was found before.
    fn settle(&mut self, last: &[u8], at: usize, read: Reader) -> Option<()> {
        let raw = self.whole(last);
        let user = if raw.len() > MAX_RAW {
            Ok(UserValue::TooLong)
        } else {
            read(raw).map(UserValue::new)
        };
        match user {
            Ok(user) => {
                self.user = user;
                self.facts.user_slot = UserSlot::Value(self.begins..self.offset + at as u64);
            }
            Err(what) => return self.malformed(at, what),
        }
        self.field = Field::Other;
        Some(())
    }

    /// The object ends at this place of the piece. If it has no `user`, that is where one can be put.
    pub(super) fn object_ends(&mut self, at: usize, is_empty: Emptiness) {
        if self.facts.user_slot == UserSlot::None {
            let end = self.offset + at as u64;
            self.facts.user_slot = match is_empty {
                Emptiness::Empty => UserSlot::Only(end),
                Emptiness::HasMembers => UserSlot::Before(end),
            };
        }
    }

    /// The string of an id is whole with these last bytes and ends before `end`: it replaces what
    /// was found before.
    fn settle_id(&mut self, last: &[u8], end: u64) {
        let id = text::id(self.whole(last));
        match std::mem::take(&mut self.field) {
            Field::Conversation => {
                self.facts.conversation_id = id;
                self.facts.conversation_place = Some(self.begins..end);
            }
            Field::Message => self.facts.message_id = id,
            Field::Workflow => self.facts.workflow_id = id,
            Field::File => files::add(&mut self.facts.files, id),
            Field::User | Field::Mode | Field::Other => {}
        }
    }

    /// The string of the response mode is whole with these last bytes.
    fn settle_mode(&mut self, last: &[u8]) {
        let mode = text::unescape(self.whole(last));
        self.facts.is_streamed = matches!(mode, Ok(Some(mode)) if mode == "streaming");
        self.field = Field::Other;
    }

    /// What was kept of a value and its last bytes. Most values come in one piece and are not
    /// copied.
    fn whole<'a>(&'a mut self, last: &'a [u8]) -> &'a [u8] {
        if self.raw.is_empty() {
            return last;
        }
        self.keep(last);
        &self.raw
    }

    /// The value of an id is no string.
    fn settle_no_id(&mut self) {
        match std::mem::take(&mut self.field) {
            Field::Conversation => {
                self.facts.conversation_id = None;
                self.facts.conversation_place = None;
            }
            Field::Message => self.facts.message_id = None,
            Field::Workflow => self.facts.workflow_id = None,
            Field::Mode => self.facts.is_streamed = false,
            Field::File | Field::User | Field::Other => {}
        }
    }
}
