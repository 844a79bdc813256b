//! Sends a body that was kept, from wherever it is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::buffer::spare_capacity;
use rustix::io::pread;
use tokio::task::{JoinHandle, spawn_blocking};

use super::kept::{Kept, Next, PIECE_BYTES, TURN_BYTES};
use super::spool::Spool;
use crate::gateway::http::send_state::Progress;

/// A kept body on its way to an instance.
#[derive(Debug)]
pub(crate) struct Replay {
    kept: Kept,
    /// Bytes handed out.
    sent: u64,
    /// Pieces handed out, for a body in memory.
    piece: usize,
    /// How many bytes of the next one were.
    within: usize,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Told when the last byte was handed out.
    progress: Progress,
}

impl Replay {
    /// The body from its beginning.
    pub(crate) fn new(kept: Kept, progress: Progress) -> Self {
        if kept.is_empty() {
            progress.body_taken();
        }
        Self { kept, sent: 0, piece: 0, within: 0, reading: None, progress }
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.sent == this.kept.len() {
            return Poll::Ready(None);
        }
        let (file, next) = match &this.kept {
            Kept::Piece(piece) => (None, Next::Bytes(part(piece, &mut this.within))),
            Kept::Memory { pieces, .. } => {
                let piece = &pieces[this.piece];
                let data = part(piece, &mut this.within);
                if this.within == piece.len() {
                    (this.piece, this.within) = (this.piece + 1, 0);
                }
                (None, Next::Bytes(data))
            }
            Kept::Spooled { file, len } => {
                (Some(file), Next::File { offset: this.sent, left: len - this.sent })
            }
            Kept::Spliced(splice) => (Some(&splice.file), splice.next(this.sent)),
        };
        let data = match (file, next) {
            (_, Next::Bytes(bytes)) => bytes,
            (None, Next::File { .. }) => return Poll::Ready(None),
            (Some(file), Next::File { offset, left }) => {
                let reading =
                    this.reading.get_or_insert_with(|| read(Arc::clone(file), offset, left));
                let read = ready!(Pin::new(reading).poll(context));
                this.reading = None;
                read.map_err(io::Error::other)??
            }
        };
        this.sent += data.len() as u64;
        if this.sent == this.kept.len() {
            this.progress.body_taken();
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.kept.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.kept.len() - self.sent)
    }
}

/// The next of a piece, of which so much was before: not so much at once that others wait for it to be
/// written.
fn part(piece: &Bytes, within: &mut usize) -> Bytes {
    if piece.len() <= TURN_BYTES {
        *within = piece.len();
        return piece.clone();
    }
    let from = *within;
    *within = (from + TURN_BYTES).min(piece.len());
    piece.slice(from..*within)
}

fn read(spool: Arc<Spool>, offset: u64, left: u64) -> JoinHandle<io::Result<Bytes>> {
    let size = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
    spawn_blocking(move || {
        let (file, mut piece) = (spool.file()?, Vec::with_capacity(size));
        while piece.len() < size {
            let begin = offset + piece.len() as u64;
            if pread(file, spare_capacity(&mut piece), begin)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        piece.truncate(size);
        Ok(Bytes::from(piece))
    })
}
