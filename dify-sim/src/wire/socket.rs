//! One accepted connection: buffered reads, whole writes, and the faults that act on bytes.
//!
//! While the instance is silent nothing is read or written. A cut answer ends in a FIN after
//! exactly the bytes asked for.

use crate::setup::Fault;
use crate::state::Condition;
use bytes::BytesMut;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Bytes read at a time.
const READ_SIZE: usize = 64 * 1024;

pub(crate) struct Wire {
    stream: TcpStream,
    condition: watch::Receiver<Condition>,
    /// What was read and not used yet.
    pub(crate) buffer: BytesMut,
    /// Bytes that may still be written before the connection is cut.
    cut: Option<u64>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, condition: watch::Receiver<Condition>) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, condition, buffer: BytesMut::new(), cut: None }
    }

    /// The fault in force.
    pub(crate) fn fault(&self) -> Fault {
        self.condition.borrow().fault
    }

    /// Whether new requests are no longer wanted on this connection.
    pub(crate) fn closing(&self) -> bool {
        self.condition.borrow().closing
    }

    /// Waits until the instance is neither frozen nor in a black hole.
    pub(crate) async fn thawed(&mut self) {
        if self.fault().is_silent() {
            let _ = self.condition.wait_for(|now| !now.fault.is_silent()).await;
        }
    }

    /// A receiver that sees the next change of condition.
    pub(crate) fn watch(&self) -> watch::Receiver<Condition> {
        let mut condition = self.condition.clone();
        condition.mark_unchanged();
        condition
    }

    /// Waits `wait`, then until thawed.
    pub(crate) async fn pause(&mut self, wait: Duration) {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.thawed().await;
    }

    /// Reads some more bytes; 0 is the end. Cancelling loses nothing.
    pub(crate) async fn read(&mut self) -> io::Result<usize> {
        self.thawed().await;
        if self.buffer.capacity() - self.buffer.len() < 4096 {
            // A small first read keeps thousands of idle connections cheap.
            let more = if self.buffer.is_empty() { 8 * 1024 } else { READ_SIZE };
            self.buffer.reserve(more);
        }
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Cuts the connection after so many more bytes.
    pub(crate) fn cut_after(&mut self, bytes: u64) {
        self.cut = Some(bytes);
    }

    /// Writes all of it with one call, as far as the kernel takes it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.thawed().await;
        match &mut self.cut {
            None => self.stream.write_all(bytes).await,
            Some(left) => {
                let some = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= some as u64;
                let ended = *left == 0;
                self.stream.write_all(&bytes[..some]).await?;
                if ended { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
            }
        }
    }

    /// Makes the close of this connection an RST.
    pub(crate) fn reset_on_close(&self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Sends the end of the answer (FIN) and swallows what the client still sends, for a short
    /// time, so that the close is not turned into an RST that destroys the answer.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
        let _ = tokio::time::timeout(Duration::from_millis(500), async {
            loop {
                self.buffer.clear();
                match self.read().await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        })
        .await;
    }
}
