//! What a body says.

use std::ops::Range;

use smallvec::SmallVec;
use uuid::Uuid;

use super::limits::MAX_USER_CHARS;

/// What a body says about who asks, and which ids tie the request to an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyInfo {
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
    /// Every other `upload_file_id` that is a UUID, each once, at most [`MAX_FILES`](super::limits::MAX_FILES).
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
pub(super) enum UserValue {
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

impl UserValue {
    pub(super) fn new(user: Option<String>) -> Self {
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
