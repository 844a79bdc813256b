//! What a turn changes, as steps for the store. Reads the store; writes nothing itself.

use uuid::Uuid;

use super::codec::{Conversation, ConversationState, Pointer};
use super::lookup::StoreView;
use super::transcript_digest::{Thread, TranscriptHash};
use crate::store::{Change, ConditionalWrite, Guard, StoreError, Table};

/// A change that somebody waits for. Without a text, so that it may be kept.
#[derive(Clone, Debug)]
pub(super) enum WriteOp {
    Begin(Conversation),
    Finish(Box<EndedTurn>),
    /// A turn was refused before Dify did anything.
    Release(Conversation),
    /// Dify does not have the conversation.
    Forget(Uuid),
    /// Nothing is to be known later: whether the store can be written to.
    Check,
}

/// So long is the row that is written to see whether the store can be: it takes room of its own, as what
/// is stored does. A full disk may still have some for a few bytes.
const CHECK_BYTES: usize = 4096;

/// A turn that has ended as it should.
#[derive(Clone, Debug)]
pub(super) struct EndedTurn {
    pub(super) thread: Thread,
    pub(super) root: TranscriptHash,
    pub(super) tail: TranscriptHash,
    pub(super) ending: Option<TranscriptHash>,
    pub(super) conversation: Uuid,
    pub(super) message: Option<Uuid>,
    pub(super) at_s: u32,
}

impl WriteOp {
    /// The step that makes the change; `None` if it cannot be made.
    pub(super) fn step(
        &self,
        view: &StoreView<'_>,
        now_s: u32,
    ) -> Result<Option<ConditionalWrite>, StoreError> {
        match self {
            Self::Begin(found) => begin(view, found, now_s),
            Self::Finish(ended) => finish(view, ended).map(Some),
            Self::Release(begun) => release(view, begun),
            Self::Forget(id) => {
                let key = id.as_bytes().to_vec();
                let gone = Change { table: Table::Conversations, key, value: None };
                Ok(Some(ConditionalWrite { guard: None, changes: vec![gone] }))
            }
            Self::Check => Ok(Some(ConditionalWrite { guard: None, changes: vec![check()] })),
        }
    }
}

/// A change that says whether the store can be written to.
pub(super) fn check() -> Change {
    let (key, value) = (b"tried".to_vec(), Some(vec![0; CHECK_BYTES]));
    Change { table: Table::Keys, key, value }
}

fn begin(
    view: &StoreView<'_>,
    found: &Conversation,
    now_s: u32,
) -> Result<Option<ConditionalWrite>, StoreError> {
    let Some(row) = view.store.get(Table::Conversations, found.id.as_bytes())? else {
        return claim(view, found, now_s);
    };
    let Some(now) = Conversation::read(found.id, &row) else { return Ok(None) };
    if now.state == ConversationState::Open || now.tail != found.tail {
        return Ok(None);
    }
    let open = Conversation { state: ConversationState::Open, used_s: now_s, ..now };
    Ok(Some(guarded(Table::Conversations, found.id.as_bytes(), row, vec![put(&open)])))
}

/// What was imported becomes a conversation of whoever continues it first.
fn claim(
    view: &StoreView<'_>,
    found: &Conversation,
    now_s: u32,
) -> Result<Option<ConditionalWrite>, StoreError> {
    let thread = &found.thread;
    let (ConversationState::Imported, Some(chat)) = (found.state, &thread.chat) else {
        return Ok(None);
    };
    let at = view.key.digest(TranscriptHash::imported(&thread.app, chat));
    let Some(row) = view.store.get(Table::Imported, &at.0)? else { return Ok(None) };
    if Pointer::read(&row).is_none_or(|pointer| pointer.conversation != found.id) {
        return Ok(None);
    }
    let open = Conversation { state: ConversationState::Open, used_s: now_s, ..found.clone() };
    let gone = Change { table: Table::Imported, key: at.0.to_vec(), value: None };
    let chat = point(view, Table::Chats, TranscriptHash::root(thread), &open);
    Ok(Some(guarded(Table::Imported, &at.0, row, vec![gone, put(&open), chat])))
}

fn finish(view: &StoreView<'_>, ended: &EndedTurn) -> Result<ConditionalWrite, StoreError> {
    let old = view.store.get(Table::Conversations, ended.conversation.as_bytes())?;
    let old = old.and_then(|row| Conversation::read(ended.conversation, &row));
    let tail = view.key.digest(ended.tail);
    let done = Conversation {
        id: ended.conversation,
        thread: ended.thread.clone(),
        last_message: ended.message,
        turns: old.as_ref().map_or(0, |old| old.turns).saturating_add(1),
        created_s: old.map_or(ended.at_s, |old| old.created_s),
        used_s: ended.at_s,
        state: ConversationState::Clean,
        tail,
        ending: ended.ending.map(|ending| view.key.digest(ending)).unwrap_or_default(),
    };
    let mut changes = vec![put(&done), point(view, Table::Turns, ended.tail, &done)];
    if ended.thread.chat.is_some() {
        changes.push(point(view, Table::Chats, ended.root, &done));
    }
    if let Some(message) = ended.message {
        changes.push(answer(message, &done));
    }
    Ok(ConditionalWrite { guard: None, changes })
}

fn release(
    view: &StoreView<'_>,
    begun: &Conversation,
) -> Result<Option<ConditionalWrite>, StoreError> {
    let Some(row) = view.store.get(Table::Conversations, begun.id.as_bytes())? else {
        return Ok(None);
    };
    let now = Conversation::read(begun.id, &row);
    let open = now.filter(|now| now.state == ConversationState::Open && now.tail == begun.tail);
    Ok(open.map(|open| {
        let back = Conversation { state: begun.state, ..open };
        guarded(Table::Conversations, begun.id.as_bytes(), row, vec![put(&back)])
    }))
}

fn guarded(table: Table, key: &[u8], row: Vec<u8>, changes: Vec<Change>) -> ConditionalWrite {
    ConditionalWrite { guard: Some(Guard { table, key: key.to_vec(), value: Some(row) }), changes }
}

pub(super) fn put(conversation: &Conversation) -> Change {
    Change {
        table: Table::Conversations,
        key: conversation.id.as_bytes().to_vec(),
        value: Some(conversation.write()),
    }
}

/// Sets a row of the answers.
pub(super) fn answer(message: Uuid, conversation: &Conversation) -> Change {
    let (used_s, more) = (conversation.used_s, conversation.tail);
    let pointer = Pointer { used_s, conversation: conversation.id, more };
    Change { table: Table::Answers, key: message.as_bytes().to_vec(), value: Some(pointer.write()) }
}

/// Sets a row that leads to a conversation.
fn point(
    view: &StoreView<'_>,
    table: Table,
    at: TranscriptHash,
    conversation: &Conversation,
) -> Change {
    let pointer = Pointer {
        used_s: conversation.used_s,
        conversation: conversation.id,
        more: conversation.tail,
    };
    let key = view.key.digest(at).0.to_vec();
    Change { table, key, value: Some(pointer.write()) }
}
