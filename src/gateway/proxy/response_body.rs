//! The answer that a client gets: the gateway's own words, or an instance's as they come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::relay::Relay;
use crate::gateway::proxy::response_guard::Coming;

/// An answer that makes its frames itself.
pub(crate) trait Frames {
    /// The next frames.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>>;

    /// Whether all has gone out.
    fn is_over(&self) -> bool;

    /// How much is to go out, where that is known.
    fn size_hint(&self) -> SizeHint;
}

/// The body of every answer the gateway gives.
pub(crate) enum Outgoing {
    /// All of it is here: the gateway's own words, or an answer that had to be read.
    Whole(Option<Bytes>, Box<Record>),
    /// An instance's, passed on as it comes.
    Relay(Coming),
    /// An instance's, told in the words of another protocol.
    Framed(Box<dyn Frames>),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes, record) => Poll::Ready(bytes.take().map(|bytes| {
                record.sent(bytes.len());
                Ok(Frame::data(bytes))
            })),
            Self::Relay(coming) => {
                let Some(relay) = coming.get_mut() else { return Poll::Ready(None) };
                let piece = ready!(relay.poll_piece(context));
                if let Some(Ok(frame)) = &piece {
                    relay.record.sent(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(piece)
            }
            Self::Framed(frames) => frames.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes, _) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Relay(coming) => coming.get().is_none_or(Relay::is_over),
            Self::Framed(frames) => frames.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes, _) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Relay(coming) => coming.get().map_or(SizeHint::new(), Relay::size_hint),
            Self::Framed(frames) => frames.size_hint(),
        }
    }
}
