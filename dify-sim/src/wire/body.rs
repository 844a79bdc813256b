//! Request bodies as a stream of pieces, by length or chunked.
//!
//! At most one read is held in memory; the first 64 KiB are copied aside for the log of served
//! requests.

use super::head::Framing;
use super::socket::Wire;
use bytes::Bytes;
use std::io;

/// Bytes of a body that are kept in the log.
pub(crate) const KEPT: usize = 64 * 1024;
/// Bytes of a chunk head; longer ones are malformed.
const CHUNK_HEAD_LIMIT: usize = 4096;

/// What is left of the body of one request.
pub(crate) struct Body {
    left: Left,
    /// Bytes read so far.
    pub(crate) bytes: u64,
    /// The first bytes of it.
    pub(crate) kept: Vec<u8>,
}

enum Left {
    Length(u64),
    ChunkHead,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Nothing,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(0) => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::ChunkHead,
        };
        Self { left, bytes: 0, kept: Vec::new() }
    }

    /// Whether all of it has been read.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.left, Left::Nothing)
    }

    /// The next piece; `None` is the end. A client that goes away in the middle is an error.
    pub(crate) async fn piece(&mut self, wire: &mut Wire) -> io::Result<Option<Bytes>> {
        loop {
            match self.left {
                Left::Nothing => return Ok(None),
                Left::Length(left) => {
                    let piece = take(wire, left).await?;
                    let left = left - piece.len() as u64;
                    self.left = if left == 0 { Left::Nothing } else { Left::Length(left) };
                    return Ok(Some(self.note(piece)));
                }
                Left::ChunkHead => {
                    let size = chunk_size(&line(wire).await?)?;
                    self.left = if size == 0 { Left::Trailers } else { Left::Chunk(size) };
                }
                Left::Chunk(left) => {
                    let piece = take(wire, left).await?;
                    let left = left - piece.len() as u64;
                    self.left = if left == 0 { Left::ChunkEnd } else { Left::Chunk(left) };
                    return Ok(Some(self.note(piece)));
                }
                Left::ChunkEnd => {
                    if !line(wire).await?.is_empty() {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    self.left = Left::ChunkHead;
                }
                Left::Trailers => {
                    if line(wire).await?.is_empty() {
                        self.left = Left::Nothing;
                    }
                }
            }
        }
    }

    /// Reads the rest and forgets it.
    pub(crate) async fn swallow(&mut self, wire: &mut Wire) -> io::Result<()> {
        while self.piece(wire).await?.is_some() {}
        Ok(())
    }

    /// Reads the rest into memory, at most `limit` bytes of it; what is beyond is swallowed and
    /// makes the result `None`.
    pub(crate) async fn whole(
        &mut self,
        wire: &mut Wire,
        limit: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece(wire).await? {
            if whole.len() + piece.len() > limit {
                self.swallow(wire).await?;
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole))
    }

    fn note(&mut self, piece: Bytes) -> Bytes {
        self.bytes += piece.len() as u64;
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(&piece[..room.min(piece.len())]);
        piece
    }
}

async fn take(wire: &mut Wire, left: u64) -> io::Result<Bytes> {
    if wire.buffer.is_empty() && wire.read().await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let some = usize::try_from(left).unwrap_or(usize::MAX).min(wire.buffer.len());
    Ok(wire.buffer.split_to(some).freeze())
}

async fn line(wire: &mut Wire) -> io::Result<Bytes> {
    loop {
        if let Some(end) = memchr::memmem::find(&wire.buffer, b"\r\n") {
            let mut line = wire.buffer.split_to(end + 2).freeze();
            line.truncate(end);
            return Ok(line);
        }
        if wire.buffer.len() > CHUNK_HEAD_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if wire.read().await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    std::str::from_utf8(digits)
        .ok()
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
