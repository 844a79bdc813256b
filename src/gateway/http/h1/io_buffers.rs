//! Reading without a buffer of one's own.
//!
//! A worker's connections read into one buffer in turn and keep copies as large as what came; only
//! what is known to be large is read into memory of its own. A connection that waits holds nothing.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use rustix::net::sockopt::set_tcp_quickack;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::gateway::http::tls::transport::Transport;

/// The shared buffer; what a connection reads at once.
const SCRATCH_BYTES: usize = 64 * 1024;
/// A body that has more than this to come is read into memory of its own.
const LARGE_BYTES: u64 = 32 * 1024;

/// How much memory is taken at once for that.
const PIECE_BYTES: usize = 256 * 1024;
/// More than a body has to come, so that its last read leaves room: see [`Gear::poll_fill`].
const ROOM_BYTES: usize = 64;

/// A worker's buffers, between which and sockets all bytes move.
#[derive(Clone, Debug)]
pub(crate) struct Gear(Rc<Buffers>);

#[derive(Debug)]
struct Buffers {
    input: RefCell<Box<[u8]>>,
    output: RefCell<Vec<u8>>,
    /// The second since 1970, and how HTTP writes it.
    date: RefCell<(u64, String)>,
}

impl Gear {
    /// Fresh ones.
    pub(crate) fn new() -> Self {
        let (input, output) = (vec![0; SCRATCH_BYTES].into(), Vec::new());
        let (input, output) = (RefCell::new(input), RefCell::new(output));
        Self(Rc::new(Buffers { input, output, date: RefCell::default() }))
    }

    /// Reads what is there and lets `look` see it before anything is copied. No bytes: the other
    /// side has closed.
    pub(crate) fn poll_look<T>(
        &self,
        stream: &mut Transport,
        context: &mut Context<'_>,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        let mut scratch = self.0.input.borrow_mut();
        let mut piece = ReadBuf::new(&mut scratch);
        ready!(Pin::new(stream).poll_read(context, &mut piece))?;
        Poll::Ready(Ok(look(piece.filled())))
    }

    /// The next bytes of a body that has so many to come; none: the other side has closed. What is
    /// read into `spare` stays its memory until it is used up.
    pub(crate) fn poll_fill(
        &self,
        stream: &mut Transport,
        context: &mut Context<'_>,
        (left, spare): (Option<u64>, &mut BytesMut),
    ) -> Poll<io::Result<Bytes>> {
        let (Transport::Plain(stream), Some(left @ LARGE_BYTES..)) = (&mut *stream, left) else {
            return self.poll_look(stream, context, Bytes::copy_from_slice);
        };
        ready!(stream.poll_read_ready(context))?;
        if spare.capacity() < LARGE_BYTES as usize / 2 {
            let size = usize::try_from(left).unwrap_or(usize::MAX);
            // With some room to spare: only a read that leaves room shows that nothing else is there.
            *spare = BytesMut::with_capacity(size.min(PIECE_BYTES) + ROOM_BYTES);
        }
        ready!(poll_read_buf(Pin::new(stream), context, spare))?;
        Poll::Ready(Ok(spare.split().freeze()))
    }

    /// The next bytes of an answer that comes as it comes about; none: the instance has closed.
    ///
    /// They are acknowledged with what is sent next, or after the 40 ms of Linux, and not at each read by
    /// a packet of its own, which is a fifth of what an event costs. Who sends is not held up by that:
    /// gunicorn before Dify, as other servers of streams, sets `TCP_NODELAY`.
    pub(crate) fn poll_stream(
        &self,
        stream: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        if let Transport::Plain(socket) = &mut *stream {
            ready!(socket.poll_read_ready(context))?;
            // Each time: Linux forgets it when an acknowledgement had nothing to go with. Without it
            // all goes on, too.
            let _ = set_tcp_quickack(&*socket, false);
        }
        self.poll_look(stream, context, Bytes::copy_from_slice)
    }

    /// The time of day for `Date` (RFC 9110 §6.6.1).
    pub(crate) fn date<T>(&self, write: impl FnOnce(&[u8]) -> T) -> T {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.0.date.borrow_mut();
        if date.0 != second {
            *date = (second, httpdate::fmt_http_date(now));
        }
        write(date.1.as_bytes())
    }

    /// Something put together to be written at once; the buffer is empty before.
    pub(crate) fn compose<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        match self.0.output.try_borrow_mut() {
            Ok(mut output) => {
                output.clear();
                write(&mut output)
            }
            // What is put together asks for something else to be put together.
            Err(_) => write(&mut Vec::new()),
        }
    }
}

/// What came before and what came now, of which the memory grows by doubling.
pub(crate) fn join(before: Bytes, now: &[u8]) -> Bytes {
    let mut all = before.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    all.extend_from_slice(now);
    all.freeze()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::BytesMut;
    use rustix::net::sockopt::tcp_quickack;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::Gear;
    use crate::gateway::http::tls::transport::Transport;

    async fn pair() -> (TcpStream, Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (far, Transport::Plain(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn what_comes_of_a_stream_is_not_acknowledged_at_each_read() {
        let gear = Gear::new();
        let (mut far, mut near) = pair().await;
        for _ in 0..2 {
            far.write_all(b"data: 1\n\n").await.unwrap();
            let read = poll_fn(|context| gear.poll_stream(&mut near, context)).await;
            assert_eq!(&read.unwrap()[..], b"data: 1\n\n");
            assert!(!tcp_quickack(near.socket()).unwrap());
        }
        drop(far);
        let read = poll_fn(|context| gear.poll_stream(&mut near, context)).await;
        assert!(read.unwrap().is_empty());

        let (mut far, mut near) = pair().await;
        let mut spare = BytesMut::new();
        far.write_all(b"{}").await.unwrap();
        let read = poll_fn(|context| gear.poll_fill(&mut near, context, (Some(2), &mut spare)));
        assert_eq!(&read.await.unwrap()[..], b"{}");
        assert!(tcp_quickack(near.socket()).unwrap());
    }
}
