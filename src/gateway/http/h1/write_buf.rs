//! Writing: as much as the socket takes at once, and the rest when it takes more.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use tokio::io::AsyncWrite;

use crate::gateway::http::client_conn::Rest;
use crate::gateway::http::tls::transport::Transport;

/// What a socket has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    rest: SmallVec<[Bytes; 2]>,
    /// TLS may hold what it has taken.
    held: bool,
}

impl Outflow {
    /// Writes the three one behind the other, after which nothing but [`poll_drain`](Self::poll_drain)
    /// may follow until that is ready.
    ///
    /// # Errors
    /// The other side is gone.
    pub(crate) fn send(
        &mut self,
        stream: &mut Transport,
        context: &mut Context<'_>,
        (first, large, last): (&[u8], Bytes, &'static [u8]),
    ) -> io::Result<usize> {
        let total = first.len() + large.len() + last.len();
        let slices = [IoSlice::new(first), IoSlice::new(&large), IoSlice::new(last)];
        self.held = matches!(stream, Transport::Tls(_));
        let done = match total == first.len() {
            true => Pin::new(&mut *stream).poll_write(context, first),
            false => Pin::new(&mut *stream).poll_write_vectored(context, &slices),
        };
        let mut written = match done {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        let sent = written;
        if written < total {
            // Copied only here: the usual write takes all.
            let pieces = [Bytes::copy_from_slice(first), large, Bytes::from_static(last)];
            for mut piece in pieces {
                let here = written.min(piece.len());
                written -= here;
                piece.advance(here);
                if !piece.is_empty() {
                    self.rest.push(piece);
                }
            }
        }
        Ok(sent)
    }

    /// Ready when nothing is left.
    ///
    /// # Errors
    /// The other side is gone.
    pub(crate) fn poll_drain(
        &mut self,
        stream: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut sent = 0;
        while !self.rest.is_empty() {
            let done = {
                let slices: SmallVec<[IoSlice<'_>; 3]> =
                    self.rest.iter().map(|piece| IoSlice::new(piece)).collect();
                Pin::new(&mut *stream).poll_write_vectored(context, &slices)
            };
            let mut written = match done {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Pending if sent > 0 => return Poll::Ready(Ok(sent)),
                done => ready!(done)?,
            };
            sent += written;
            self.rest.retain(|piece| {
                let here = written.min(piece.len());
                written -= here;
                piece.advance(here);
                !piece.is_empty()
            });
        }
        if self.held {
            ready!(Pin::new(stream).poll_flush(context))?;
            self.held = false;
        }
        Poll::Ready(Ok(sent))
    }

    /// Offers the next of what waits without being told that there is room. Gives what was taken.
    ///
    /// # Errors
    /// The other side is gone.
    pub(crate) fn push(&mut self, stream: &mut Transport) -> io::Result<usize> {
        let next = self.rest.first().map_or(&b""[..], |piece| piece);
        let pushed = stream.push(next)?;
        if matches!(stream, Transport::Plain(_))
            && let Some(piece) = self.rest.first_mut()
        {
            piece.advance(pushed);
            self.rest.retain(|piece| !piece.is_empty());
        }
        Ok(pushed)
    }

    /// Whether anything waits.
    pub(crate) fn rest(&self) -> Rest {
        if self.is_empty() { Rest::None } else { Rest::Waits }
    }

    /// Whether all was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty() && !self.held
    }
}
