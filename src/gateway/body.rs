//! A request body, complete before an instance is asked for anything.
//!
//! Dify's server gives a connection slot to a half-sent body for as long as it takes, so a body is
//! taken in whole first: in memory up to a limit, beyond it in an unnamed file of `spool_dir`. What
//! is kept can be sent more than once.

use std::io;
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use rustix::buffer::spare_capacity;
use rustix::io::pread;
use tokio::task::{JoinHandle, spawn_blocking, yield_now};

use crate::gateway::bodies::{Held, Room};
use crate::gateway::progress::Progress;
use crate::gateway::spool::Spool;

/// Smaller pieces after the first are gathered: each would keep a whole read buffer alive.
const SMALL_BYTES: usize = 4096;
/// How much is gathered of them at a time.
const GATHERED_BYTES: usize = 64 * 1024;
/// So much of a body is not counted among what all bodies hold: it is no more than a connection's
/// other buffers.
const UNCOUNTED_BYTES: u64 = 16 * 1024;
/// How much is written to or read from the spool at a time.
///
/// Larger ones would mean fewer switches of threads, and more memory for each upload.
const PIECE_BYTES: usize = 64 * 1024;
/// How much of a body is dealt with before others on the worker's thread have their turn: about a tenth
/// of a millisecond.
pub(super) const TURN_BYTES: usize = 256 * 1024;

/// A whole body. Cloning it copies nothing.
#[derive(Clone, Debug)]
pub(super) enum Kept {
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
    pub(super) const EMPTY: Self = Self::Piece(Bytes::new());

    /// One that is in memory, of pieces of which none is empty.
    pub(super) fn of_pieces(mut pieces: Vec<Bytes>) -> Self {
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
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Piece(piece) => piece.len() as u64,
            Self::Memory { len, .. } | Self::Spooled { len, .. } => *len,
            Self::Spliced(splice) => splice.len(),
        }
    }

    /// The same with the bytes at `place` replaced by however many others.
    pub(super) fn spliced(self, place: Range<u64>, with: &[u8]) -> Self {
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
    pub(super) async fn overwritten(self, place: Range<u64>, with: Vec<u8>) -> io::Result<Self> {
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
    pub(super) fn into_bytes(self, held: &mut Held) -> io::Result<Bytes> {
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
    pub(super) fn is_spooled(&self) -> bool {
        matches!(self, Self::Spooled { .. } | Self::Spliced(_))
    }

    /// Whether there is no byte in it.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A spooled body with a part of it replaced: the file stays as it was written.
#[derive(Debug)]
pub(super) struct Splice {
    file: Arc<Spool>,
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
    fn next(&self, sent: u64) -> Next {
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
enum Next {
    Bytes(Bytes),
    File { offset: u64, left: u64 },
}

/// A piece that begins at `offset` of its body, with what lies at `place` replaced by `with`.
fn patched(piece: &Bytes, offset: u64, place: &Range<u64>, with: &[u8]) -> Bytes {
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

/// Takes a body in, piece by piece.
pub(super) struct Keeper<'a> {
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
    pub(super) fn new(memory_bytes: u64, spool_dir: &'a Path, room: &'a Room) -> Self {
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
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// The spool could not be made or written to, or there is no room in memory.
    pub(super) async fn push(&mut self, piece: Bytes) -> io::Result<()> {
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
    pub(super) async fn finish(mut self) -> io::Result<Kept> {
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

/// A kept body on its way to an instance.
#[derive(Debug)]
pub(super) struct Replay {
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
    pub(super) fn new(kept: Kept, progress: Progress) -> Self {
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use bytes::Bytes;
    use http_body_util::BodyExt;

    use super::{Keeper, Kept, Replay, TURN_BYTES};
    use crate::gateway::bodies::Room;
    use crate::gateway::progress::Progress;

    fn room() -> Room {
        Room { bodies: Default::default(), limit: u64::MAX }
    }

    async fn keep(memory_bytes: u64, pieces: &[&[u8]]) -> std::io::Result<Kept> {
        let folder = std::env::temp_dir();
        let room = room();
        let mut keeper = Keeper::new(memory_bytes, &folder, &room);
        for piece in pieces {
            keeper.push(Bytes::copy_from_slice(piece)).await?;
        }
        keeper.finish().await
    }

    async fn replayed(kept: &Kept) -> Bytes {
        Replay::new(kept.clone(), Progress::default()).collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_body_can_be_sent_twice_wherever_it_is_kept() {
        let large = vec![7_u8; 700_000];
        let pieces: [&[u8]; 3] = [b"head", &large, b"tail"];
        let whole = pieces.concat();
        for memory_bytes in [0, 4, 1 << 20] {
            let kept = keep(memory_bytes, &pieces).await.unwrap();
            assert_eq!(kept.len(), whole.len() as u64);
            assert_eq!(matches!(kept, Kept::Spooled { .. }), memory_bytes < 1 << 20);
            for _ in 0..2 {
                assert_eq!(replayed(&kept).await, whole);
            }
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_while_a_large_body_comes_and_goes() {
        let bytes: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
        let (folder, room) = (std::env::temp_dir(), room());
        let mut keeper = Keeper::new(1 << 20, &folder, &room);
        let mut context = Context::from_waker(Waker::noop());
        let (small, large) = (Bytes::from_static(b"small"), Bytes::from(bytes.clone()));
        assert!(pin!(keeper.push(small)).poll(&mut context).is_ready());
        assert!(pin!(keeper.push(large.clone())).poll(&mut context).is_pending());

        let three = keep(1 << 20, &[b"head", &bytes, b"tail"]).await.unwrap();
        let whole = [&b"head"[..], &bytes, b"tail"].concat();
        for (kept, whole) in [(Kept::Piece(large), bytes), (three, whole)] {
            let mut replay = Replay::new(kept, Progress::default());
            let mut sent = Vec::new();
            while let Some(frame) = replay.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                assert!(data.len() <= TURN_BYTES);
                sent.extend_from_slice(&data);
            }
            assert!(sent == whole, "{} of {} bytes", sent.len(), whole.len());
        }
    }

    #[tokio::test]
    async fn a_body_in_many_small_pieces_is_gathered_in_order() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let pieces: Vec<&[u8]> = bytes.chunks(7).collect();
        let kept = keep(1 << 20, &pieces).await.unwrap();
        assert!(matches!(&kept, Kept::Memory { pieces, .. } if pieces.len() == 3), "{kept:?}");
        assert_eq!(replayed(&kept).await, bytes);
    }

    #[tokio::test]
    async fn a_place_in_a_body_is_overwritten_wherever_it_is_kept() {
        let large = vec![b'-'; 300_000];
        let pieces: [&[u8]; 4] = [&large, b"ab", &large, b"tail"];
        for (memory_bytes, pieces) in [(0, &pieces[..]), (1 << 20, &pieces), (1 << 20, &[&large])] {
            let mut whole = pieces.concat();
            let place = 299_990..300_000.min(whole.len());
            let kept = keep(memory_bytes, pieces).await.unwrap();
            let range = place.start as u64..place.end as u64;
            let changed = kept.overwritten(range, b"0123456789".to_vec()).await.unwrap();
            whole[place].copy_from_slice(b"0123456789");
            assert_eq!(replayed(&changed).await, whole);
        }
        let across = keep(1 << 20, &[&large, &large]).await.unwrap();
        let across = across.overwritten(299_999..300_001, b"xy".to_vec()).await.unwrap();
        assert_eq!(&replayed(&across).await[299_998..300_002], b"-xy-");
    }

    #[tokio::test]
    async fn a_part_of_a_body_gives_way_to_more_or_less_wherever_it_is_kept() {
        let large = vec![b'-'; 150_000];
        let pieces: [&[u8]; 4] = [&large, b"alice", &large, b"tail"];
        let whole = pieces.concat();
        for memory_bytes in [0, 1 << 20] {
            for (place, with) in [
                (150_000..150_005, &b"ka:alice"[..]),
                (149_990..150_020, b"x"),
                (0..0, b"first"),
                (300_008..300_009, b""),
                (200_000..200_000, b"put in"),
            ] {
                let kept = keep(memory_bytes, &pieces).await.unwrap();
                let range = place.start as u64..place.end as u64;
                let spliced = kept.spliced(range, with);
                let expected = [&whole[..place.start], with, &whole[place.end..]].concat();
                assert_eq!(spliced.len(), expected.len() as u64);
                for _ in 0..2 {
                    assert_eq!(replayed(&spliced).await, expected, "{place:?}");
                }
                let later = 300_000_u64 + with.len() as u64 - place.len() as u64;
                let changed = spliced.overwritten(later..later + 2, b"!!".to_vec()).await.unwrap();
                let mut expected = expected;
                expected[later as usize..later as usize + 2].copy_from_slice(b"!!");
                assert_eq!(replayed(&changed).await, expected);
                assert_eq!(changed.into_bytes(&mut room().hold()).unwrap(), expected);
            }
        }
        let small = keep(1 << 20, &[b"{", b"}"]).await.unwrap().spliced(1..1, b"x");
        assert!(matches!(small, Kept::Piece(piece) if piece == "{x}"));
    }

    #[tokio::test]
    async fn nothing_and_one_piece_need_no_spool() {
        let none = keep(0, &[b""]).await.unwrap();
        assert!(none.is_empty() && replayed(&none).await.is_empty());
        assert!(matches!(keep(9, &[b"one"]).await.unwrap(), Kept::Piece(piece) if piece == "one"));
    }

    #[tokio::test]
    async fn a_spool_folder_that_is_missing_is_an_error() {
        let folder = std::path::Path::new("/nonexistent/spool");
        let room = room();
        let mut keeper = Keeper::new(0, folder, &room);
        assert!(keeper.push(Bytes::from_static(b"x")).await.is_err());
    }

    #[tokio::test]
    async fn what_is_in_memory_is_counted_until_the_last_of_it_is_gone() {
        let (folder, piece) = (std::env::temp_dir(), Bytes::from(vec![7; 20_000]));
        let room = Room { bodies: Default::default(), limit: 50_000 };
        let held = || room.bodies.held_bytes();
        let mut keeper = Keeper::new(1 << 20, &folder, &room);
        keeper.push(piece.clone()).await.unwrap();
        keeper.push(piece.clone()).await.unwrap();
        let kept = keeper.finish().await.unwrap();
        let again = kept.clone();
        drop(kept);
        assert_eq!(held(), 40_000);
        let mut other = Keeper::new(1 << 20, &folder, &room);
        let full = other.push(piece.clone()).await.unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::QuotaExceeded);
        drop((again, other));
        assert_eq!(held(), 0);
        // What has gone to the spool is held no more, until it is read.
        let mut spooled = Keeper::new(30_000, &folder, &room);
        spooled.push(piece.clone()).await.unwrap();
        spooled.push(piece).await.unwrap();
        assert_eq!(held(), 0);
        let kept = spooled.finish().await.unwrap();
        let mut whole = room.hold();
        assert_eq!(kept.into_bytes(&mut whole).unwrap().len(), 40_000);
        assert_eq!(held(), 40_000);
    }
}
