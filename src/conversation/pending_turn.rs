//! What the store needs of a transcript: digests, and no text.
//!
//! Making them hashes every text, tens of milliseconds for tens of megabytes. So it is done where the
//! caller has the texts, which need not be the thread that asks the store.

use super::lookup::Transcript;
use super::transcript_digest::{Digest, Thread, TranscriptHash, Turn};

/// A transcript as it is looked for.
#[derive(Clone, Debug)]
pub struct TranscriptQuery(pub(super) Option<Box<Transcript>>);

impl TranscriptQuery {
    /// No transcript: a new conversation.
    pub const NOTHING: Self = Self(None);

    /// What was said in this thread. `before` has neither system messages nor the user's new turn.
    pub fn new(thread: Thread, before: &[Turn<'_>]) -> Self {
        if before.is_empty() {
            return Self::NOTHING;
        }
        let root = TranscriptHash::root(&thread);
        let (at, ending) = (root.through(before), TranscriptHash::ending(before));
        Self(Some(Box::new(Transcript { thread: thread.kept(), root, at, ending })))
    }
}

/// What was before a turn.
#[derive(Clone, Copy, Debug)]
pub enum PriorTurns<'a> {
    /// The transcript that the client sent, which may be empty.
    Transcript(&'a [Turn<'a>]),
    /// The client named the conversation of this tail, or its last answer, and sent no transcript.
    Named(Digest),
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
    /// What the `user` asks in this thread.
    pub fn new(thread: Thread, before: PriorTurns<'_>, user: &Turn<'_>) -> Self {
        let root = TranscriptHash::root(&thread);
        let start = match before {
            PriorTurns::Transcript(turns) => root.through(turns),
            PriorTurns::Named(tail) => TranscriptHash::after(&thread, tail),
        };
        let (tail, ending) = (start.and(user), TranscriptHash::ending_with(Some(user)));
        Self { thread: thread.kept(), root, tail, ending }
    }
}
