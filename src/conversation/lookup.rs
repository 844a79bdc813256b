//! Which conversation a transcript continues. Reads the store and decides; writes nothing.

use uuid::Uuid;

use super::codec::{Conversation, ConversationState, Pointer};
use super::transcript_digest::{Digest, MacKey, Thread, TranscriptHash};
use crate::store::{Store, StoreError, Table};

/// What a transcript leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TranscriptMatch {
    /// There is nothing before the user's turn: a new conversation.
    New,
    /// The transcript ends where this conversation does.
    Resume(Conversation),
    /// The transcript is known, but Dify cannot go on from there: it has gone on already, or a turn
    /// was cut. A new conversation, seeded with the transcript.
    Branch,
    /// The transcript is not known. A new conversation, seeded with it.
    Unknown,
}

/// What an id of a conversation that a client names leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationMatch {
    /// The conversation is of the same key, app and user; the chat may be another.
    Owned(Conversation),
    /// It is somebody else's.
    Foreign,
    /// No door of this gateway has seen it.
    Unknown,
}

/// What an id of a message that a client names leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerMatch {
    /// It is the last answer of this conversation, which can be resumed.
    Tail(Conversation),
    /// The conversation has gone on since, or a turn was cut.
    Past(Conversation, Uuid),
    /// There is no such answer, or not for this key, app and user.
    Unknown,
}

/// A transcript that is not empty.
#[derive(Clone, Debug)]
pub(super) struct Transcript {
    pub(super) thread: Thread,
    pub(super) root: TranscriptHash,
    pub(super) at: TranscriptHash,
    pub(super) ending: Option<TranscriptHash>,
}

/// The store, and what is needed to understand it.
#[derive(Clone, Copy)]
pub(super) struct StoreView<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) key: MacKey,
    /// What was used before this second is too old.
    pub(super) oldest_s: u32,
}

impl StoreView<'_> {
    pub(super) fn find(&self, asked: &Transcript) -> Result<TranscriptMatch, StoreError> {
        let at = self.key.digest(asked.at);
        if let Some(found) = self.pointed(Table::Turns, at)? {
            let fits = found.tail == at && found.state == ConversationState::Clean;
            return Ok(if fits { TranscriptMatch::Resume(found) } else { TranscriptMatch::Branch });
        }
        let Some(chat) = &asked.thread.chat else { return Ok(TranscriptMatch::Unknown) };
        let Some(newest) = self.pointed(Table::Chats, self.key.digest(asked.root))? else {
            return self.imported(&asked.thread, chat);
        };
        let ending = asked.ending.map(|ending| self.key.digest(ending));
        let fits = match newest.state {
            ConversationState::Clean => Some(newest.ending) == ending,
            ConversationState::Imported => true,
            ConversationState::Open => false,
        };
        Ok(if fits { TranscriptMatch::Resume(newest) } else { TranscriptMatch::Unknown })
    }

    pub(super) fn by_id(&self, thread: &Thread, id: Uuid) -> Result<ConversationMatch, StoreError> {
        Ok(match self.conversation(id)? {
            Some(found) if found.is_of(thread) => ConversationMatch::Owned(found),
            Some(_) => ConversationMatch::Foreign,
            None => ConversationMatch::Unknown,
        })
    }

    pub(super) fn by_answer(&self, thread: &Thread, id: Uuid) -> Result<AnswerMatch, StoreError> {
        let Some(answer) = self.pointer(Table::Answers, id.as_bytes())? else {
            return Ok(AnswerMatch::Unknown);
        };
        Ok(match self.conversation(answer.conversation)? {
            Some(found) if !found.is_of(thread) => AnswerMatch::Unknown,
            Some(found) if found.tail == answer.more && found.state == ConversationState::Clean => {
                AnswerMatch::Tail(found)
            }
            Some(found) => AnswerMatch::Past(found, id),
            None => AnswerMatch::Unknown,
        })
    }

    /// A row that is not too old.
    pub(super) fn conversation(&self, id: Uuid) -> Result<Option<Conversation>, StoreError> {
        let row = self.store.get(Table::Conversations, id.as_bytes())?;
        let found = row.and_then(|row| Conversation::read(id, &row));
        Ok(found.filter(|found| found.used_s >= self.oldest_s))
    }

    /// The conversation that a row of another table leads to.
    fn pointed(&self, table: Table, at: Digest) -> Result<Option<Conversation>, StoreError> {
        match self.pointer(table, &at.0)? {
            Some(pointer) => self.conversation(pointer.conversation),
            None => Ok(None),
        }
    }

    fn pointer(&self, table: Table, key: &[u8]) -> Result<Option<Pointer>, StoreError> {
        let row = self.store.get(table, key)?;
        let found = row.and_then(|row| Pointer::read(&row));
        Ok(found.filter(|found| found.used_s >= self.oldest_s))
    }

    /// What another gateway knew of the chat. It does not say whose it was: Dify does, which knows
    /// the conversation for its own user alone.
    fn imported(&self, thread: &Thread, chat: &str) -> Result<TranscriptMatch, StoreError> {
        let at = self.key.digest(TranscriptHash::imported(&thread.app, chat));
        let Some(pointer) = self.pointer(Table::Imported, &at.0)? else {
            return Ok(TranscriptMatch::Unknown);
        };
        Ok(TranscriptMatch::Resume(pointer.begun(thread)))
    }
}

impl Pointer {
    /// The conversation of a row of `Table::Imported`, now that somebody asks for it.
    pub(super) fn begun(&self, thread: &Thread) -> Conversation {
        let [a, b, c, d, ..] = self.more.0;
        Conversation {
            id: self.conversation,
            thread: thread.clone(),
            last_message: None,
            turns: 0,
            created_s: u32::from_be_bytes([a, b, c, d]),
            used_s: self.used_s,
            state: ConversationState::Imported,
            tail: Digest::default(),
            ending: Digest::default(),
        }
    }

    /// A row of `Table::Imported`.
    pub(super) fn imported(conversation: Uuid, created_s: u32, used_s: u32) -> Self {
        let mut more = Digest::default();
        more.0[..4].copy_from_slice(&created_s.to_be_bytes());
        Self { used_s, conversation, more }
    }
}
