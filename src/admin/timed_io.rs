//! A socket that ends when its client takes too long, or when its place is given to another.
//!
//! axum has no time limits of its own, so they are kept where the bytes pass: from its end on, reading
//! and writing fail, and whoever waits for either is woken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::conn_state::ConnState;

/// A client's connection to the admin listener.
pub(super) struct TimedIo {
    stream: TcpStream,
    state: Arc<ConnState>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    /// When to ask again how much time is left: never later than there is some.
    timer: Pin<Box<Sleep>>,
    is_over: bool,
}

impl TimedIo {
    pub(super) fn new(stream: TcpStream, state: Arc<ConnState>) -> Self {
        let closed = Box::pin(state.closed());
        let timer = Box::pin(sleep(state.left(Instant::now())));
        Self { stream, state, closed, timer, is_over: false }
    }

    pub(super) fn state(&self) -> &Arc<ConnState> {
        &self.state
    }

    /// Fails from the end on. Until then, the end wakes the caller's task.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.is_over {
            let why = if self.closed.as_mut().poll(context).is_ready() {
                "its place was needed"
            } else if self.has_timed_out(context) {
                "the client took too long"
            } else {
                return Ok(());
            };
            tracing::debug!("an operator's connection ended: {why}");
            self.is_over = true;
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Each phase has a time limit of its own, so the timer follows from poll to poll.
    fn has_timed_out(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let now = Instant::now();
            let left = self.state.left(now);
            if left.is_zero() {
                return true;
            }
            if now + left < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(now + left);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return false;
            }
        }
    }
}

impl AsyncRead for TimedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.state.bytes_read();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TimedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.state.bytes_written();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
