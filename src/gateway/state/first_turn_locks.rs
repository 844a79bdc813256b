//! Where first turns of a user at an instance wait for each other.
//!
//! A first turn has one of two places, and says there whose it is: users wait for their own first turns
//! and for nobody else's, which may be at an instance that hangs. No lock, and nothing to clean up.
//!
//! Limits: a thousand places. Who finds both of its places taken by others goes on, and nobody waits for
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

/// How many first turns there are at a time that others can wait for, at most.
const PLACES: usize = 1 << 10;

/// The places of first turns.
pub(crate) struct FirstTurnLocks(Arc<[FirstTurnSlot]>);

struct FirstTurnSlot {
    free: Arc<Semaphore>,
    /// Whose turn it is. [`NOBODY`] for a moment after it was taken and before it is given back.
    whose: AtomicU64,
}

const NOBODY: u64 = 0;

/// A turn at its place, which is given back when dropped.
pub(crate) struct FirstTurnGuard {
    places: Arc<[FirstTurnSlot]>,
    at: usize,
    _permit: OwnedSemaphorePermit,
}

impl Drop for FirstTurnGuard {
    fn drop(&mut self) {
        // The permit goes after this.
        self.places[self.at].whose.store(NOBODY, Ordering::Release);
    }
}

/// What a first turn finds.
pub(crate) enum Lookup {
    /// A place.
    Free(FirstTurnGuard),
    /// A turn of the same user, at this place.
    Before(usize),
    /// Others' turns at both places.
    Others,
}

impl Default for FirstTurnLocks {
    fn default() -> Self {
        let place =
            || FirstTurnSlot { free: Arc::new(Semaphore::new(1)), whose: AtomicU64::new(NOBODY) };
        Self((0..PLACES).map(|_| place()).collect())
    }
}

impl FirstTurnLocks {
    /// Takes a place, or finds the user's own turn. The second place first: a turn is there only while
    /// another's was at the first.
    pub(crate) fn find(&self, user: Uuid) -> Lookup {
        let [first, second] = places(user);
        if self.whose(second) == mark(user) {
            return Lookup::Before(second);
        }
        for at in [first, second] {
            if let Ok(permit) = Arc::clone(&self.0[at].free).try_acquire_owned() {
                return Lookup::Free(self.taken(user, at, permit));
            }
            if [NOBODY, mark(user)].contains(&self.whose(at)) {
                return Lookup::Before(at);
            }
        }
        Lookup::Others
    }

    /// The next turn at a place. None if the one before did not end in time.
    pub(crate) async fn take(
        &self,
        user: Uuid,
        at: usize,
        patience: Duration,
    ) -> Option<FirstTurnGuard> {
        let permit = Arc::clone(&self.0[at].free).acquire_owned();
        let permit = timeout(patience, permit).await.ok()?.ok()?;
        Some(self.taken(user, at, permit))
    }

    fn taken(&self, user: Uuid, at: usize, permit: OwnedSemaphorePermit) -> FirstTurnGuard {
        self.0[at].whose.store(mark(user), Ordering::Release);
        FirstTurnGuard { places: Arc::clone(&self.0), at, _permit: permit }
    }

    fn whose(&self, at: usize) -> u64 {
        self.0[at].whose.load(Ordering::Acquire)
    }
}

/// The two places of a user at an instance, which are not the same one.
fn places(user: Uuid) -> [usize; 2] {
    let (high, low) = user.as_u64_pair();
    let (first, second) = (low as usize % PLACES, high as usize % PLACES);
    [first, if second == first { (first + 1) % PLACES } else { second }]
}

/// Never [`NOBODY`].
fn mark(user: Uuid) -> u64 {
    let (high, low) = user.as_u64_pair();
    (high.rotate_left(32) ^ low) | 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::{FirstTurnLocks, Lookup, PLACES, places};

    /// Of a user whose places are these.
    fn user(first: usize, second: usize, other: u64) -> Uuid {
        let size = PLACES as u64;
        Uuid::from_u64_pair(second as u64 + other * size, first as u64 + other * size * 3)
    }

    fn free(turns: &FirstTurnLocks, user: Uuid) -> super::FirstTurnGuard {
        match turns.find(user) {
            Lookup::Free(turn) => turn,
            Lookup::Before(_) | Lookup::Others => panic!("{user} found no place"),
        }
    }

    #[tokio::test]
    async fn users_wait_for_their_own_first_turns_and_for_no_others() {
        let turns = FirstTurnLocks::default();
        let [one, two, three] = [1, 2, 3].map(|other| user(7, 9, other));
        let first = free(&turns, one);
        assert!(matches!(turns.find(one), Lookup::Before(7)));
        let second = free(&turns, two);
        assert!(matches!(turns.find(two), Lookup::Before(9)) && second.at == 9);
        assert!(matches!(turns.find(three), Lookup::Others));
        // Its own turn is found where it is, though the other place is free again.
        drop(first);
        assert!(matches!(turns.find(two), Lookup::Before(9)));
        let next = turns.take(two, 9, Duration::from_secs(60));
        tokio::pin!(next);
        assert!(is_pending(next.as_mut()).await, "the first is still there");
        drop(second);
        let next = next.await.unwrap();
        assert!(matches!(turns.find(two), Lookup::Before(9)), "it is the next one's now");
        drop(next);
        drop(free(&turns, two));
    }

    /// Whether it is not ready yet.
    async fn is_pending<F: Future + Unpin>(mut future: F) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(context).is_pending())
        })
        .await
    }

    #[test]
    fn a_user_has_two_places() {
        assert_eq!(places(user(3, 5, 1)), [3, 5]);
        assert_eq!(places(user(PLACES - 1, PLACES - 1, 4)), [PLACES - 1, 0]);
    }
}
