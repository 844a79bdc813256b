//! A TCP connection, with or without TLS.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A TCP connection, with or without TLS.
pub(crate) enum Transport {
    /// In the clear.
    Plain(TcpStream),
    /// After the handshake, on either side.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// The connection below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Offers bytes to the system without waiting to be told that there is room: that it tells only when
    /// a third of its buffer, which is megabytes, has become free. With TLS, what was taken before is
    /// offered, and no more. Gives how much it took.
    ///
    /// # Errors
    /// The other side is gone.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let pushed = match self {
            Self::Plain(stream) => Direct(stream).write(bytes),
            Self::Tls(stream) => match &mut **stream {
                TlsStream::Server(stream) => {
                    let (socket, session) = stream.get_mut();
                    session.write_tls(&mut Direct(socket))
                }
                TlsStream::Client(stream) => {
                    let (socket, session) = stream.get_mut();
                    session.write_tls(&mut Direct(socket))
                }
            },
        };
        match pushed {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            pushed => pushed,
        }
    }

    /// How many bytes of what was sent the other side's system has acknowledged, SYN and TLS included;
    /// none where this system does not say so.
    pub(crate) fn bytes_acked(&self) -> Option<u64> {
        difygate_tcp_info::bytes_acked(self.socket()).ok()
    }

    /// The connection is reset when it is dropped, and not closed.
    pub(crate) fn reset_on_drop(&self) {
        // A connection that is gone already needs no reset.
        let _ = self.socket().set_zero_linger();
    }
}

/// A socket that does not block, written to whatever was said of its room.
struct Direct<'a>(&'a TcpStream);

impl Write for Direct<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not a plain write, which raises a signal when the other side is gone.
        Ok(send(self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }
}
