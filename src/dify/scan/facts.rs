//! What a body says, as it is found out value by value.

use std::ops::Range;

use smallvec::SmallVec;
use uuid::Uuid;

use super::text::{self, Field};
use super::{MAX_RAW, MAX_USER_CHARS, UserScan, files};

/// The most file ids kept of a body. One is enough to find the owner; the rest are for the case
/// that it is unknown.
pub const MAX_FILES: usize = 16;

/// What a body says about who asks, and which ids tie the request to an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// The `user`; `None` if it is missing, `null` or empty.
    pub user: Option<String>,
    /// Where the value of `user` stands, or can be put.
    pub user_slot: UserSlot,
    /// The `conversation_id`, if it is a UUID.
    pub conversation_id: Option<Uuid>,
    /// Where the value of the last `conversation_id` stands, in bytes of the body, quotes included;
    /// `None` if it is no string.
    pub conversation_place: Option<Range<u64>>,
    /// The `message_id`, if it is a UUID.
    pub message_id: Option<Uuid>,
    /// The `workflow_id`, if it is a UUID: the version of a chatflow, after 1.5.0.
    pub workflow_id: Option<Uuid>,
    /// Whether the `response_mode` is `streaming`; anything else is blocking to Dify, or refused.
    pub is_streamed: bool,
    /// Every other `upload_file_id` that is a UUID, each once, at most [`MAX_FILES`].
    pub files: SmallVec<[Uuid; 2]>,
}

/// Where a body says its user, in bytes of the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UserSlot {
    /// It has no place for one: no body, or one of another type.
    #[default]
    None,
    /// The value that counts, whatever its type, quotes included. In a form: the text of the field.
    Value(Range<u64>),
    /// There is none: one can be put here, before the end of an object or of a form.
    Before(u64),
    /// The same, and nothing else stands in the object.
    Only(u64),
}

/// The last `user` so far.
#[derive(Debug)]
pub(super) enum Found {
    Absent,
    TooLong,
    User(String),
}

/// Whether anything stands in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptiness {
    Empty,
    HasMembers,
}

/// Reads what was sent; `None` for what counts as absent.
type Reader = fn(&[u8]) -> Result<Option<String>, &'static str>;

impl Found {
    fn new(user: Option<String>) -> Self {
        match user {
            None => Self::Absent,
            // Letters are only counted where there are bytes enough for too many of them.
            Some(user) if user.len() > MAX_USER_CHARS && user.chars().count() > MAX_USER_CHARS => {
                Self::TooLong
            }
            Some(user) => Self::User(user),
        }
    }
}

impl UserScan {
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
        let user = if raw.len() > MAX_RAW { Ok(Found::TooLong) } else { read(raw).map(Found::new) };
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
