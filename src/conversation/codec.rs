//! The rows of the tables, as bytes. Each begins with its version and the second of its last use, so
//! that what is too old is found without reading more.

use uuid::Uuid;

use super::transcript_digest::{Digest, Thread};

/// The form of the rows.
const VERSION: u8 = 1;

/// Whether a conversation can be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversationState {
    /// Its last turn ended as it should.
    Clean,
    /// A turn is under way, or was cut.
    Open,
    /// Nothing is known of its turns.
    Imported,
}

impl ConversationState {
    /// Its name in lists.
    pub fn label(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Open => "open",
            Self::Imported => "imported",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Clean, Self::Open, Self::Imported].into_iter().find(|state| state.label() == name)
    }
}

/// What is known of a conversation of Dify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Dify's id.
    pub id: Uuid,
    /// Whose it is.
    pub thread: Thread,
    /// Dify's id of its last message.
    pub last_message: Option<Uuid>,
    /// How many turns ended as they should.
    pub turns: u32,
    /// When it was first known, in seconds since 1970.
    pub created_s: u32,
    /// When a turn began or ended last, in seconds since 1970.
    pub used_s: u32,
    /// Whether it can be resumed.
    pub state: ConversationState,
    /// The transcript after its last turn.
    pub tail: Digest,
    /// The last question and answer.
    pub(super) ending: Digest,
}

impl Conversation {
    /// Whether its key, app and user are those of a thread. The chat may be another.
    pub(super) fn is_of(&self, thread: &Thread) -> bool {
        let mine = |thread: &Thread| (thread.key.clone(), thread.app.clone(), thread.user.clone());
        mine(&self.thread) == mine(thread)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut row = begin(self.used_s);
        row.push(match self.state {
            ConversationState::Clean => 0,
            ConversationState::Open => 1,
            ConversationState::Imported => 2,
        });
        row.extend(self.created_s.to_be_bytes());
        row.extend(self.turns.to_be_bytes());
        row.extend(self.last_message.unwrap_or_default().as_bytes());
        row.extend(self.tail.0);
        row.extend(self.ending.0);
        let Thread { key, app, user, chat } = &self.thread;
        for text in [Some(key), Some(app), Some(user), chat.as_ref()].into_iter().flatten() {
            row.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            row.extend(text.as_bytes());
        }
        row
    }

    /// `None`: the row is none of this form.
    pub(super) fn read(id: Uuid, row: &[u8]) -> Option<Self> {
        let (used_s, mut rest) = used_s(row)?;
        let state = match take::<1>(&mut rest)? {
            [0] => ConversationState::Clean,
            [1] => ConversationState::Open,
            [2] => ConversationState::Imported,
            _ => return None,
        };
        let created_s = u32::from_be_bytes(take(&mut rest)?);
        let turns = u32::from_be_bytes(take(&mut rest)?);
        let last_message = Some(Uuid::from_bytes(take(&mut rest)?)).filter(|id| !id.is_nil());
        let (tail, ending) = (Digest(take(&mut rest)?), Digest(take(&mut rest)?));
        let [key, app, user] = [text(&mut rest)?, text(&mut rest)?, text(&mut rest)?];
        let chat = if rest.is_empty() { None } else { Some(text(&mut rest)?) };
        let thread = Thread { key, app, user, chat };
        let whole = rest.is_empty();
        whole.then_some(Self {
            id,
            thread,
            last_message,
            turns,
            created_s,
            used_s,
            state,
            tail,
            ending,
        })
    }
}

/// A row of the other tables: a conversation, and for an answer the transcript after it, for an
/// import the second it was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) used_s: u32,
    pub(super) conversation: Uuid,
    pub(super) more: Digest,
}

impl Pointer {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut row = begin(self.used_s);
        row.extend(self.conversation.as_bytes());
        row.extend(self.more.0);
        row
    }

    pub(super) fn read(row: &[u8]) -> Option<Self> {
        let (used_s, mut rest) = used_s(row)?;
        let conversation = Uuid::from_bytes(take(&mut rest)?);
        let more = Digest(take(&mut rest)?);
        rest.is_empty().then_some(Self { used_s, conversation, more })
    }
}

fn begin(used_s: u32) -> Vec<u8> {
    let mut row = vec![VERSION];
    row.extend(used_s.to_be_bytes());
    row
}

/// The second of a row's last use, and the rest of the row. `None`: another form.
pub(super) fn used_s(row: &[u8]) -> Option<(u32, &[u8])> {
    let mut rest = row;
    (take::<1>(&mut rest)? == [VERSION]).then_some(())?;
    Some((u32::from_be_bytes(take(&mut rest)?), rest))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
    use proptest::prop_assert_eq;
    use uuid::Uuid;

    use super::{Conversation, ConversationState, Pointer};
    use crate::conversation::transcript_digest::{Digest, Thread};

    fn conversations() -> impl Strategy<Value = Conversation> {
        let state = prop_oneof![
            Just(ConversationState::Clean),
            Just(ConversationState::Open),
            Just(ConversationState::Imported)
        ];
        let texts = ("\\PC{0,9}", "\\PC{0,9}", "\\PC{0,9}", prop::option::of("\\PC{0,9}"));
        let numbers = (any::<u32>(), any::<u32>(), any::<u32>());
        (any::<[[u8; 16]; 4]>(), texts, numbers, state).prop_map(
            |(ids, (key, app, user, chat), (turns, created_s, used_s), state)| Conversation {
                id: Uuid::from_bytes(ids[0]),
                thread: Thread { key, app, user, chat },
                last_message: Some(Uuid::from_bytes(ids[1])).filter(|id| !id.is_nil()),
                turns,
                created_s,
                used_s,
                state,
                tail: Digest(ids[2]),
                ending: Digest(ids[3]),
            },
        )
    }

    proptest! {
        #[test]
        fn a_conversation_is_read_as_it_was_written(one in conversations()) {
            prop_assert_eq!(Conversation::read(one.id, &one.write()), Some(one));
        }

        #[test]
        fn a_cut_row_is_none(one in conversations(), cut in any::<prop::sample::Index>()) {
            let row = one.write();
            let cut = &row[..cut.index(row.len())];
            // A cut before the chat makes a row without one.
            let read = Conversation::read(one.id, cut).filter(|read| read.thread.chat.is_some() || one.thread.chat.is_none());
            prop_assert_eq!(read, None);
        }

        #[test]
        fn any_bytes_are_a_row_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Conversation::read(Uuid::nil(), &bytes);
            if let Some(pointer) = Pointer::read(&bytes) {
                prop_assert_eq!(pointer.write(), bytes);
            }
        }
    }
}
