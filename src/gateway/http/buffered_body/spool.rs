//! The part of a body that is not kept in memory: an unnamed file, which goes away when it is closed.
//!
//! To close it gives back what is in it, a millisecond of the kernel's work for about eight megabytes.
//! So a large one is closed on a thread of the runtime's pool.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tokio::runtime::Handle;

/// What is smaller is closed where it is dropped.
const LARGE_BYTES: u64 = 1 << 20;

/// A file of its own. Making it and writing to it blocks.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Until it is closed.
    file: Option<File>,
    len: u64,
}

impl Spool {
    /// An empty one.
    ///
    /// # Errors
    /// No file can be made there.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: Some(tempfile::tempfile_in(folder)?), len: 0 })
    }

    /// Adds to its end.
    ///
    /// # Errors
    /// It cannot be written to.
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.len += piece.len() as u64;
        let mut file = self.file()?;
        file.write_all(piece)
    }

    /// The file, from its beginning.
    ///
    /// # Errors
    /// It was closed.
    pub(super) fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(file) = self.file.take()
            && self.len > LARGE_BYTES
        {
            drop_elsewhere(file);
        }
    }
}

/// Drops something on a thread of the runtime's pool, where there is one.
fn drop_elsewhere(value: impl Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn_blocking(move || drop(value));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{self, ThreadId};

    use super::drop_elsewhere;

    struct Dropped(Sender<ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[tokio::test]
    async fn what_takes_long_to_close_is_closed_on_another_thread() {
        let (sender, dropped) = channel();
        drop_elsewhere(Dropped(sender));
        assert_ne!(dropped.recv().unwrap(), thread::current().id());
    }
}
