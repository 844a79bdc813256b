//! How much memory the bodies of all requests take together, and what one of them has of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all bodies hold, of all workers. It survives a reload.
#[derive(Debug, Default)]
pub struct Bodies {
    held: AtomicU64,
}

impl Bodies {
    /// Bytes that are held now.
    pub fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

/// What bodies may have: where it is counted, and the limit of a configuration.
#[derive(Clone, Debug)]
pub struct Room {
    /// What all hold.
    pub bodies: Arc<Bodies>,
    /// What they may hold, in bytes.
    pub limit: u64,
}

impl Room {
    /// Nothing yet.
    pub(crate) fn hold(&self) -> Held {
        Held { room: self.clone(), bytes: 0 }
    }
}

/// What one body has. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    room: Room,
    bytes: u64,
}

impl Held {
    /// Takes or gives back, so that it has `bytes`.
    ///
    /// # Errors
    /// [`io::ErrorKind::QuotaExceeded`]: all bodies would have more than they may. What it had it
    /// keeps.
    pub(crate) fn resize(&mut self, bytes: u64) -> io::Result<()> {
        let held = &self.room.bodies.held;
        match bytes.checked_sub(self.bytes) {
            None => {
                held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            }
            Some(more) => {
                let before = held.fetch_add(more, Ordering::Relaxed);
                if before.saturating_add(more) > self.room.limit {
                    held.fetch_sub(more, Ordering::Relaxed);
                    return Err(io::ErrorKind::QuotaExceeded.into());
                }
            }
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.bodies.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn what_is_given_back_can_be_taken_by_others() {
        let room = Room { bodies: Default::default(), limit: 100 };
        let (mut one, mut other) = (room.hold(), room.hold());
        one.resize(60).unwrap();
        assert!(other.resize(41).is_err());
        other.resize(40).unwrap();
        assert!(one.resize(61).is_err());
        one.resize(10).unwrap();
        other.resize(90).unwrap();
        drop(other);
        assert_eq!(room.bodies.held_bytes(), 10);
        drop(one);
        assert_eq!(room.bodies.held_bytes(), 0);
    }
}
