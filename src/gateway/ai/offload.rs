//! What takes long because a body is large is done on a thread of its own, a few at a time in the whole
//! process, so that others on the worker's thread do not wait for it.
//!
//! A millisecond is long: it is about what a megabyte of JSON takes to be read or written. What is
//! smaller stays on the worker's thread, where it costs no change of threads.
//!
//! Such a thread gives way to the workers, and is used once; for such a body that is little.

use std::mem;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use crate::background;
use crate::gateway::ai::errors;
use crate::model::GatewayError;

/// What comes of a larger body is not worked on by the worker's thread.
pub(super) const LARGE_BYTES: u64 = 1 << 20;

/// How many bodies are worked on beside the workers at a time: each takes a core meanwhile, and up to
/// three times its size in memory.
static PERMITS: Semaphore = Semaphore::const_new(2);

/// The name of such a thread.
const THREAD: &str = "large body";

/// Does something that takes long on another thread, once there is one for it.
///
/// # Errors
/// It panicked, or there is no thread.
pub(super) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GatewayError> {
    // The semaphore is never closed. Who waits may go away while the work goes on, and its permit stays.
    let permit = PERMITS.acquire().await.ok();
    let (done, answer) = oneshot::channel();
    let begun = background::spawn(THREAD, move || {
        let _permit = permit;
        // Who waited may have gone.
        let _ = done.send(work());
    });
    begun.map_err(|error| errors::internal(&error))?;
    answer.await.map_err(|error| errors::internal(&error))
}

/// What a body was read into. Of a large one it is worked on, and given up, away from the worker's
/// thread.
pub(super) struct Payload<T: Default + Send + 'static> {
    value: T,
    bytes: u64,
}

impl<T: Default + Send + 'static> Payload<T> {
    /// Of a body of so many bytes.
    pub(super) fn new(value: T, bytes: u64) -> Self {
        Self { value, bytes }
    }

    /// Does something with all of it.
    ///
    /// # Errors
    /// It panicked on another thread, or there is none.
    pub(super) async fn work<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, GatewayError> {
        if self.bytes <= LARGE_BYTES {
            return Ok(work(&mut self.value));
        }
        let mut value = mem::take(&mut self.value);
        let both = offload(move || {
            let done = work(&mut value);
            (value, done)
        });
        let done;
        (self.value, done) = both.await?;
        Ok(done)
    }
}

impl<T: Default + Send + 'static> Deref for Payload<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default + Send + 'static> DerefMut for Payload<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default + Send + 'static> Drop for Payload<T> {
    /// Tens of thousands of parts take milliseconds to be freed.
    fn drop(&mut self) {
        if self.bytes > LARGE_BYTES {
            let value = mem::take(&mut self.value);
            // Where there is no thread, it is dropped here.
            let _ = background::spawn(THREAD, move || drop(value));
        }
    }
}

impl AsRef<[u8]> for Payload<Vec<u8>> {
    fn as_ref(&self) -> &[u8] {
        &self.value
    }
}

/// What was written, for an instance. To give 30 MB back to the system takes two to three milliseconds,
/// which is not done on the worker's thread.
pub(super) fn into_bytes(written: Vec<u8>) -> Bytes {
    let len = written.len() as u64;
    if len <= LARGE_BYTES { written.into() } else { Bytes::from_owner(Payload::new(written, len)) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{self, ThreadId};

    use super::{LARGE_BYTES, Payload, into_bytes};

    /// Says on which thread it was dropped.
    #[derive(Default)]
    struct Dropped(Option<Sender<ThreadId>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            if let Some(sender) = self.0.take() {
                sender.send(thread::current().id()).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn what_is_large_is_worked_on_and_dropped_on_another_thread() {
        let here = thread::current().id();
        for (bytes, stays) in [(LARGE_BYTES, true), (LARGE_BYTES + 1, false)] {
            let (sender, dropped) = channel();
            let mut payload = Payload::new((7, Dropped(Some(sender))), bytes);
            let worked = payload.work(|(number, _)| {
                *number += 1;
                thread::current().id()
            });
            assert_eq!(worked.await.unwrap() == here, stays, "{bytes}");
            assert_eq!(payload.0, 8, "it is the same value afterwards");
            drop(payload);
            assert_eq!(dropped.recv().unwrap() == here, stays, "{bytes}");
        }
    }

    #[test]
    fn bytes_are_what_was_written_however_they_are_given_up() {
        for len in [0, LARGE_BYTES, LARGE_BYTES + 1] {
            let written = vec![7; usize::try_from(len).unwrap()];
            let address = written.as_ptr();
            let bytes = into_bytes(written);
            assert!(bytes.len() as u64 == len && bytes.iter().all(|byte| *byte == 7), "{len}");
            assert!(len == 0 || bytes.as_ptr() == address, "{len}: it is not copied");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_that_request() {
        let mut payload = Payload::new(String::from("x"), LARGE_BYTES + 1);
        let failed = payload.work(|_| panic!("as a test")).await;
        assert_eq!(failed.unwrap_err().status, 500);
    }
}
