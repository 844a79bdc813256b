//! A whole body, in memory or in a file, that can be sent more than once.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::spawn_blocking;

use super::spool::Spool;
use crate::gateway::http::body_memory::Held;

/// How much of small pieces is gathered at a time.
pub(crate) const GATHERED_BYTES: usize = 64 * 1024;
/// How much is written to or read from the spool at a time.
///
/// Larger ones would mean fewer switches of threads, and more memory for each upload.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;
/// How much of a body is dealt with before others on the worker's thread have their turn: about a tenth
/// of a millisecond.
pub(crate) const TURN_BYTES: usize = 256 * 1024;

/// A whole body. Cloning it copies nothing.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// In the pieces it came in.
    Memory {
        /// In order; none is empty.
        pieces: Arc<[Bytes]>,
        /// Their sum.
        len: u64,
        /// What they have of the memory for all bodies.
        held: Option<Arc<Held>>,
    },
    /// The usual case of one piece, without an allocation of its own; empty for no body.
    Piece(Bytes),
    /// In an unnamed file, which goes away with the last clone.
    Spooled {
        /// The file, from its beginning.
        file: Arc<Spool>,
        /// How many bytes are in it.
        len: u64,
    },
    /// The same, with a part of it replaced.
    Spliced(Arc<Splice>),
}

impl Kept {
    /// No body at all.
    pub(crate) const EMPTY: Self = Self::Piece(Bytes::new());

    /// One that is in memory, of pieces of which none is empty.
    pub(crate) fn of_pieces(mut pieces: Vec<Bytes>) -> Self {
        match pieces.len() {
            0 => Self::EMPTY,
            1 => Self::Piece(pieces.swap_remove(0)),
            _ => {
                let len = pieces.iter().map(|piece| piece.len() as u64).sum();
                Self::Memory { pieces: pieces.into(), len, held: None }
            }
        }
    }

    /// Its size in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Piece(piece) => piece.len() as u64,
            Self::Memory { len, .. } | Self::Spooled { len, .. } => *len,
            Self::Spliced(splice) => splice.len(),
        }
    }

    /// The same with the bytes at `place` replaced by however many others.
    pub(crate) fn spliced(self, place: Range<u64>, with: &[u8]) -> Self {
        let (pieces, held) = match self {
            Self::Spooled { file, len } => {
                let with = Bytes::copy_from_slice(with);
                return Self::Spliced(Arc::new(Splice { file, len, place, with }));
            }
            // Nothing is replaced twice.
            Self::Spliced(_) => return self,
            Self::Piece(piece) => (vec![piece], None),
            Self::Memory { pieces, held, .. } => (pieces.to_vec(), held),
        };
        let mut out = Vec::with_capacity(pieces.len() + 2);
        let mut offset = 0;
        for piece in pieces {
            let size = piece.len() as u64;
            let cut = |at: u64| (at.clamp(offset, offset + size) - offset) as usize;
            let (before, after) = (cut(place.start), cut(place.end));
            let begins_here = (offset..offset + size).contains(&place.start);
            out.push(piece.slice(..before));
            if begins_here {
                out.push(Bytes::copy_from_slice(with));
            }
            out.push(piece.slice(after.max(before)..));
            offset += size;
        }
        out.retain(|piece| !piece.is_empty());
        let len = out.iter().map(|piece| piece.len() as u64).sum();
        // One piece is sent in one write with the head.
        match usize::try_from(len) {
            Ok(small) if small <= GATHERED_BYTES => Self::Piece(out.concat().into()),
            _ => Self::Memory { pieces: out.into(), len, held },
        }
    }

    /// The same with the bytes at `place` replaced by as many others. What was sent before is not
    /// changed; what is being sent must not be.
    ///
    /// # Errors
    /// The spool could not be written to.
    pub(crate) async fn overwritten(self, place: Range<u64>, with: Vec<u8>) -> io::Result<Self> {
        match self {
            Self::Spooled { file, len } => {
                let spool = Arc::clone(&file);
                let write = spawn_blocking(move || spool.file()?.write_all_at(&with, place.start));
                write.await.map_err(io::Error::other)??;
                Ok(Self::Spooled { file, len })
            }
            Self::Spliced(splice) => {
                let (file, begin) = (Arc::clone(&splice.file), splice.in_file(place.start));
                let write = spawn_blocking(move || file.file()?.write_all_at(&with, begin));
                write.await.map_err(io::Error::other)??;
                Ok(Self::Spliced(splice))
            }
            Self::Piece(piece) => Ok(Self::Piece(patched(&piece, 0, &place, &with))),
            Self::Memory { pieces, len, held } => {
                let mut offset = 0;
                let pieces = pieces.iter().map(|piece| {
                    let begin = offset;
                    offset += piece.len() as u64;
                    patched(piece, begin, &place, &with)
                });
                Ok(Self::Memory { pieces: pieces.collect(), len, held })
            }
        }
    }

    /// All of it in one piece of memory, of which `held` has the size in the end. Reading the spool
    /// blocks.
    ///
    /// # Errors
    /// The spool could not be read, or there is no room in memory.
    pub(crate) fn into_bytes(self, held: &mut Held) -> io::Result<Bytes> {
        match self {
            Self::Piece(piece) => Ok(piece),
            Self::Memory { pieces, len, held: before } => {
                drop(before);
                held.resize(len)?;
                Ok(pieces.concat().into())
            }
            Self::Spooled { file, len } => {
                held.resize(len)?;
                let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
                file.file()?.read_exact_at(&mut bytes, 0)?;
                Ok(Bytes::from(bytes))
            }
            Self::Spliced(splice) => {
                let Splice { file, len, place, with } = &*splice;
                let whole = Self::Spooled { file: Arc::clone(file), len: *len };
                let bytes = whole.into_bytes(held)?;
                let cut =
                    |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
                let (before, after) = (&bytes[..cut(place.start)], &bytes[cut(place.end)..]);
                Ok([before, with, after].concat().into())
            }
        }
    }

    /// Whether it is in a file.
    pub(crate) fn is_spooled(&self) -> bool {
        matches!(self, Self::Spooled { .. } | Self::Spliced(_))
    }

    /// Whether there is no byte in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A spooled body with a part of it replaced: the file stays as it was written.
#[derive(Debug)]
pub(crate) struct Splice {
    pub(super) file: Arc<Spool>,
    /// How many bytes are in the file.
    len: u64,
    /// What of it does not count.
    place: Range<u64>,
    /// What stands there instead.
    with: Bytes,
}

impl Splice {
    fn len(&self) -> u64 {
        self.len - (self.place.end - self.place.start) + self.with.len() as u64
    }

    /// Where in the file a byte of the body stands, which is none of those put in.
    fn in_file(&self, at: u64) -> u64 {
        if at < self.place.start { at } else { at - self.with.len() as u64 + self.file_gap() }
    }

    fn file_gap(&self) -> u64 {
        self.place.end - self.place.start
    }

    /// What comes after so many bytes of the body: bytes at hand, or a part of the file.
    pub(super) fn next(&self, sent: u64) -> Next {
        let after = self.place.start + self.with.len() as u64;
        if sent < self.place.start {
            Next::File { offset: sent, left: self.place.start - sent }
        } else if sent < after {
            Next::Bytes(self.with.slice((sent - self.place.start) as usize..))
        } else {
            Next::File { offset: self.in_file(sent), left: self.len() - sent }
        }
    }
}

/// What of a body comes next.
pub(crate) enum Next {
    Bytes(Bytes),
    File { offset: u64, left: u64 },
}

/// A piece that begins at `offset` of its body, with what lies at `place` replaced by `with`.
pub(crate) fn patched(piece: &Bytes, offset: u64, place: &Range<u64>, with: &[u8]) -> Bytes {
    let end = offset + piece.len() as u64;
    if place.end <= offset || end <= place.start {
        return piece.clone();
    }
    let mut bytes = BytesMut::from(&piece[..]);
    for at in place.start.max(offset)..place.end.min(end) {
        let (to, from) = ((at - offset) as usize, (at - place.start) as usize);
        if let Some(byte) = with.get(from) {
            bytes[to] = *byte;
        }
    }
    bytes.freeze()
}
