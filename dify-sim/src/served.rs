//! The log of requests an instance received, for tests that ask what reached it.
//!
//! A bounded ring: the last 100,000 requests, each with the first 64 KiB of its body, and no more
//! than 256 MiB of bodies together.

use std::collections::VecDeque;
use std::time::Instant;
use tokio::sync::Notify;

/// Requests kept.
const LIMIT: usize = 100_000;
/// Bytes of bodies kept.
const BODIES_LIMIT: usize = 256 * 1024 * 1024;

/// One request as it was received, and the status it was answered with.
#[derive(Debug, Clone)]
pub struct Served {
    /// The method as sent.
    pub method: String,
    /// The path with its query, as sent.
    pub path: String,
    /// The key of `Authorization: Bearer <key>`, whether it is one of ours or not.
    pub key: Option<String>,
    /// The user the request was for, once it has been read: `DEFAULT-USER` where Dify assumes it.
    pub user: Option<String>,
    /// The status of the answer; 0 while there is none, and for good if there never was one.
    pub status: u16,
    /// The headers as received, in order.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body, without chunk framing. A request that was refused by its head alone is
    /// answered before its body is read: 0 until it has been swallowed.
    pub body_bytes: u64,
    /// The first 64 KiB of the body.
    pub body: Vec<u8>,
    /// When its head had been read.
    pub at: Instant,
    /// The number of its connection, counted from 1 in the order of acceptance.
    pub connection: u64,
}

/// The ring itself.
#[derive(Default)]
pub(crate) struct Log {
    #[expect(clippy::disallowed_types, reason = "a test instrument, held for a push or a copy")]
    ring: std::sync::Mutex<Ring>,
    grown: Notify,
}

#[derive(Default)]
struct Ring {
    /// The number of the first entry there is.
    first: u64,
    entries: VecDeque<Served>,
    /// Bytes of all their bodies.
    bodies: usize,
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.first += 1;
            self.bodies -= oldest.body.len();
        }
    }
}

impl Log {
    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes a request in and gives its number.
    pub(crate) fn push(&self, served: Served) -> u64 {
        let number = {
            let mut ring = self.ring();
            if ring.entries.len() == LIMIT {
                ring.drop_oldest();
            }
            ring.bodies += served.body.len();
            ring.entries.push_back(served);
            ring.first + ring.entries.len() as u64 - 1
        };
        self.grown.notify_waiters();
        number
    }

    /// Changes the entry of this number, if it is still there.
    pub(crate) fn update(&self, number: u64, change: impl FnOnce(&mut Served)) {
        let mut ring = self.ring();
        let at = number.checked_sub(ring.first).and_then(|at| usize::try_from(at).ok());
        if let Some(entry) = at.and_then(|at| ring.entries.get_mut(at)) {
            let before = entry.body.len();
            change(entry);
            let after = entry.body.len();
            ring.bodies = ring.bodies + after - before;
        }
        while ring.bodies > BODIES_LIMIT {
            ring.drop_oldest();
        }
    }

    pub(crate) fn all(&self) -> Vec<Served> {
        self.ring().entries.iter().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.ring().entries.len()
    }

    pub(crate) fn clear(&self) {
        let mut ring = self.ring();
        ring.first += ring.entries.len() as u64;
        ring.entries.clear();
        ring.bodies = 0;
    }

    /// Waits until there are at least so many entries.
    pub(crate) async fn reached(&self, count: usize) {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if self.len() >= count {
                return;
            }
            grown.await;
        }
    }
}
