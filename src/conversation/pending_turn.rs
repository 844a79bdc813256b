//! What the store needs of a transcript: digests, and no text.
//!
//! Making them hashes every text, tens of milliseconds for tens of megabytes. So it is done where the
//! caller has the texts, which need not be the thread that asks the store.

use std::borrow::Borrow;

use super::lookup::Transcript;
use super::transcript_digest::{Digest, Thread, TranscriptHash, Turn};

/// A transcript as it is looked for.
#[derive(Clone, Debug)]
pub struct TranscriptQuery(pub(super) Option<Box<Transcript>>);

impl TranscriptQuery {
    /// No transcript: a new conversation.
    pub const NOTHING: Self = Self(None);

    /// What was said in this thread. `before` has neither system messages nor the user's new turn; its
    /// turns are made one after another, since there may be tens of thousands.
    pub fn new<'a, T: Borrow<Turn<'a>>>(
        thread: Thread,
        before: impl IntoIterator<Item = T, IntoIter: DoubleEndedIterator> + Clone,
    ) -> Self {
        let root = TranscriptHash::root(&thread);
        let at = root.through(before.clone());
        if at == root {
            return Self::NOTHING;
        }
        let ending = TranscriptHash::ending(before);
        Self(Some(Box::new(Transcript { thread: thread.kept(), root, at, ending })))
    }
}

/// A question whose answer is still to come, with what was before it.
#[derive(Clone, Debug)]
pub struct PendingTurn {
    pub(super) thread: Thread,
    pub(super) root: TranscriptHash,
    pub(super) tail: TranscriptHash,
    pub(super) ending: TranscriptHash,
}

impl PendingTurn {
    /// What the `user` asks in this thread after the transcript that the client sent, which may be empty.
    pub fn new<'a, T: Borrow<Turn<'a>>>(
        thread: Thread,
        before: impl IntoIterator<Item = T>,
        user: &Turn<'_>,
    ) -> Self {
        let root = TranscriptHash::root(&thread);
        Self::at(thread, root, root.through(before), user)
    }

    /// The same where the client named the conversation of this tail, or its last answer, and sent no
    /// transcript.
    pub fn after(thread: Thread, tail: Digest, user: &Turn<'_>) -> Self {
        let root = TranscriptHash::root(&thread);
        let start = TranscriptHash::after(&thread, tail);
        Self::at(thread, root, start, user)
    }

    fn at(thread: Thread, root: TranscriptHash, start: TranscriptHash, user: &Turn<'_>) -> Self {
        let (tail, ending) = (start.and(user), TranscriptHash::ending_with(Some(user)));
        Self { thread: thread.kept(), root, tail, ending }
    }
}
