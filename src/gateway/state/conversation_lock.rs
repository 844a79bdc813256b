//! One turn at a time in each conversation, where an app asks for it: Dify runs two turns of one
//! conversation side by side, and each then misses what the other said.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

/// How many turns there can be side by side before two conversations may share a place.
const PLACES: usize = 1 << 14;

/// Who may speak, by conversation.
///
/// Conversations share a fixed number of places: it needs no lock and no cleaning up, and two
/// conversations that meet in one place only wait for each other. Among a hundred turns under way,
/// the next one meets another's with a chance of 0.6 %.
#[derive(Debug)]
pub struct ConversationLocks(Box<[Arc<Semaphore>]>);

/// The right to speak, given back when dropped.
#[derive(Debug)]
pub struct ConversationGuard(
    #[expect(dead_code, reason = "held for its end")] OwnedSemaphorePermit,
);

impl Default for ConversationLocks {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Arc::new(Semaphore::new(1))).collect())
    }
}

impl ConversationLocks {
    /// The next turn of a conversation; first come, first served. None if the one before did not end
    /// within `patience`.
    pub async fn take(&self, conversation: Uuid, patience: Duration) -> Option<ConversationGuard> {
        let permit = Arc::clone(self.place(conversation)).acquire_owned();
        Some(ConversationGuard(timeout(patience, permit).await.ok()?.ok()?))
    }

    fn place(&self, conversation: Uuid) -> &Arc<Semaphore> {
        // The bits of a random UUID are as good as a hash.
        &self.0[conversation.as_u128() as usize % self.0.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::ConversationLocks;

    #[tokio::test]
    async fn a_second_turn_waits_for_the_first_and_another_conversation_does_not() {
        let turns = ConversationLocks::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let patience = Duration::from_millis(20);
        let first = turns.take(one, patience).await;
        assert!(first.is_some() && turns.take(one, patience).await.is_none());
        assert!(turns.take(other, patience).await.is_some());
        drop(first);
        assert!(turns.take(one, patience).await.is_some());
    }
}
