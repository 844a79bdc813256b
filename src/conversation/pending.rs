//! What the book needs of a transcript: digests, and no text.
//!
//! Making them hashes every text, tens of milliseconds for tens of megabytes. So it is done where the
//! caller has the texts, which need not be the thread that asks the book.

use super::Before;
use super::chain::{Chain, Thread, Turn};
use super::look::Transcript;

/// A transcript as it is looked for.
#[derive(Clone, Debug)]
pub struct Sought(pub(super) Option<Box<Transcript>>);

impl Sought {
    /// No transcript: a new conversation.
    pub const NOTHING: Self = Self(None);

    /// What was said in this thread. `before` has neither system messages nor the user's new turn.
    pub fn new(thread: Thread, before: &[Turn<'_>]) -> Self {
        if before.is_empty() {
            return Self::NOTHING;
        }
        let root = Chain::root(&thread);
        let (at, ending) = (root.through(before), Chain::ending(before));
        Self(Some(Box::new(Transcript { thread: thread.kept(), root, at, ending })))
    }
}

/// A question whose answer is still to come, with what was before it.
#[derive(Clone, Debug)]
pub struct Pending {
    pub(super) thread: Thread,
    pub(super) root: Chain,
    pub(super) tail: Chain,
    pub(super) ending: Chain,
}

impl Pending {
    /// What the `user` asks in this thread.
    pub fn new(thread: Thread, before: Before<'_>, user: &Turn<'_>) -> Self {
        let root = Chain::root(&thread);
        let start = match before {
            Before::Transcript(turns) => root.through(turns),
            Before::Named(tail) => Chain::after(&thread, tail),
        };
        let (tail, ending) = (start.and(user), Chain::ending_with(Some(user)));
        Self { thread: thread.kept(), root, tail, ending }
    }
}
