//! What a body says, as it is found out value by value.

use std::ops::Range;

use smallvec::SmallVec;
use uuid::Uuid;

use super::text::{self, Field};
use super::{MAX_RAW, MAX_USER_CHARS, ScanError, UserScan, files};

/// The most file ids kept of a body. One is enough to find the owner; the rest are for the case
/// that it is unknown.
pub const MAX_FILES: usize = 16;

/// What a body says about who asks, and which ids tie the request to an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// The `user`; `None` if it is missing, `null` or empty.
    pub user: Option<String>,
    /// The `conversation_id`, if it is a UUID.
    pub conversation_id: Option<Uuid>,
    /// Where the value of the last `conversation_id` stands, in bytes of the body, quotes included;
    /// `None` if it is no string.
    pub conversation_place: Option<Range<u64>>,
    /// The `message_id`, if it is a UUID.
    pub message_id: Option<Uuid>,
    /// Every other `upload_file_id` that is a UUID, each once, at most [`MAX_FILES`].
    pub files: SmallVec<[Uuid; 2]>,
}

/// The last `user` so far.
#[derive(Debug)]
pub(super) enum Found {
    Absent,
    TooLong,
    User(String),
}

impl UserScan {
    /// Adds to the value of a wanted field, up to one byte beyond the limit.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.field != Field::Other {
            let room = (MAX_RAW + 1).saturating_sub(self.raw.len());
            self.raw.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// The value of `user` is whole: it replaces what was found before.
    pub(super) fn settle(
        &mut self,
        at: usize,
        read: fn(Vec<u8>) -> Result<Option<String>, &'static str>,
    ) -> Result<(), ScanError> {
        self.field = Field::Other;
        let raw = std::mem::take(&mut self.raw);
        self.user = if raw.len() > MAX_RAW {
            Found::TooLong
        } else {
            match read(raw).map_err(|what| self.malformed(at, what))? {
                None => Found::Absent,
                Some(user) if user.chars().count() > MAX_USER_CHARS => Found::TooLong,
                Some(user) => Found::User(user),
            }
        };
        Ok(())
    }

    /// The string of an id is whole and ends before `end`: it replaces what was found before.
    pub(super) fn settle_id(&mut self, end: u64) {
        let id = text::id(std::mem::take(&mut self.raw));
        match std::mem::take(&mut self.field) {
            Field::Conversation => {
                self.facts.conversation_id = id;
                self.facts.conversation_place = Some(self.begins..end);
            }
            Field::Message => self.facts.message_id = id,
            Field::File => files::add(&mut self.facts.files, id),
            Field::User | Field::Other => {}
        }
    }

    /// The value of an id is no string.
    pub(super) fn settle_no_id(&mut self) {
        match std::mem::take(&mut self.field) {
            Field::Conversation => {
                self.facts.conversation_id = None;
                self.facts.conversation_place = None;
            }
            Field::Message => self.facts.message_id = None,
            Field::File | Field::User | Field::Other => {}
        }
    }
}
