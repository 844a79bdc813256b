//! Takes a body in: in memory up to a limit, beyond it in a file.

use std::io;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::{spawn_blocking, yield_now};

use super::kept::{GATHERED_BYTES, Kept, PIECE_BYTES, TURN_BYTES};
use super::spool::Spool;
use crate::gateway::http::body_memory::{Held, Room};

/// Smaller pieces after the first are gathered: each would keep a whole read buffer alive.
const SMALL_BYTES: usize = 4096;
/// So much of a body is not counted among what all bodies hold: it is no more than a connection's
/// other buffers.
const UNCOUNTED_BYTES: u64 = 16 * 1024;

/// Takes a body in, piece by piece.
pub(crate) struct Keeper<'a> {
    memory_bytes: u64,
    spool_dir: &'a Path,
    room: &'a Room,
    /// What the pieces here have of the room for all bodies, once they are worth counting.
    held: Option<Held>,
    /// Not yet written to the spool.
    pending: Vec<Bytes>,
    /// Small pieces that come after `pending`.
    gathered: BytesMut,
    pending_bytes: u64,
    spool: Option<Spool>,
    len: u64,
    /// At this length it is the others' turn.
    turn_ends: u64,
}

impl<'a> Keeper<'a> {
    /// Keeps up to `memory_bytes` in memory and the rest in `spool_dir`.
    pub(crate) fn new(memory_bytes: u64, spool_dir: &'a Path, room: &'a Room) -> Self {
        Self {
            memory_bytes,
            spool_dir,
            room,
            held: None,
            pending: Vec::new(),
            gathered: BytesMut::new(),
            pending_bytes: 0,
            spool: None,
            len: 0,
            turn_ends: TURN_BYTES as u64,
        }
    }

    /// Bytes taken in so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// The spool could not be made or written to, or there is no room in memory.
    pub(crate) async fn push(&mut self, piece: Bytes) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.len += piece.len() as u64;
        self.pending_bytes += piece.len() as u64;
        if self.pending_bytes > UNCOUNTED_BYTES {
            self.held.get_or_insert_with(|| self.room.hold()).resize(self.pending_bytes)?;
        }
        if piece.len() < SMALL_BYTES && !self.pending.is_empty() {
            self.gathered.extend_from_slice(&piece);
            if self.gathered.len() >= GATHERED_BYTES {
                self.close_gathered();
            }
        } else {
            self.close_gathered();
            self.pending.push(piece);
        }
        let bound = match self.spool {
            Some(_) => PIECE_BYTES as u64,
            None => self.memory_bytes,
        };
        if self.pending_bytes > bound {
            self.spill().await?;
        } else if self.len >= self.turn_ends {
            // A client that is quick enough has always more of it ready.
            self.turn_ends = self.len + TURN_BYTES as u64;
            yield_now().await;
        }
        Ok(())
    }

    /// The whole body.
    ///
    /// # Errors
    /// The spool could not be written to.
    pub(crate) async fn finish(mut self) -> io::Result<Kept> {
        self.close_gathered();
        if self.spool.is_some() {
            self.spill().await?;
        }
        Ok(match (self.spool, self.pending.len()) {
            (Some(file), _) => Kept::Spooled { file: Arc::new(file), len: self.len },
            (None, 0) => Kept::EMPTY,
            (None, 1) if self.held.is_none() => Kept::Piece(self.pending.swap_remove(0)),
            (None, _) => {
                let held = self.held.map(Arc::new);
                Kept::Memory { pieces: self.pending.into(), len: self.len, held }
            }
        })
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.pending.push(self.gathered.split().freeze());
        }
    }

    async fn spill(&mut self) -> io::Result<()> {
        self.close_gathered();
        let pieces = mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let file = match self.spool.take() {
            Some(file) => Ok(file),
            None => Err(self.spool_dir.to_owned()),
        };
        let written = spawn_blocking(move || -> io::Result<Spool> {
            let mut file = match file {
                Ok(file) => file,
                Err(folder) => Spool::new(&folder)?,
            };
            pieces.iter().try_for_each(|piece| file.write(piece))?;
            Ok(file)
        });
        self.spool = Some(written.await.map_err(io::Error::other)??);
        self.held = None;
        Ok(())
    }
}
