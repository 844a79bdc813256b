//! The answer that a client gets: the gateway's own words, or an instance's as they come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};

use crate::dify::response_body::explanation;
use crate::gateway::attempt::{Answer, AnswerBody};
use crate::gateway::coming::Coming;
use crate::gateway::journey::{Forwarded, Journey};
use crate::gateway::names::Name;
use crate::gateway::record::Record;
use crate::gateway::relay::{Relay, Source};
use crate::gateway::reply::{Reply, ReplyHead};
use crate::model::Reason;

/// An answer that makes its frames itself.
pub(super) trait Frames {
    /// The next frames.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>>;

    /// Whether all has gone out.
    fn is_over(&self) -> bool;

    /// How much is to go out, where that is known.
    fn size_hint(&self) -> SizeHint;
}

/// The body of every answer the gateway gives.
pub(super) enum Outgoing {
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

/// Makes the client's answer out of an instance's.
pub(super) fn open(mut journey: Box<Journey>, forwarded: Forwarded) -> Reply {
    let Forwarded { member, answer, flight, conversation } = forwarded;
    let Answer { head, body, arrived, first_byte } = *answer;
    let record = &mut journey.record;
    record.answered(&member, head.status.as_u16(), arrived.into_std());
    let (id, name) = (record.request_id().clone(), member.label.header.clone());
    let mut is_event_stream = false;
    let body = match body {
        AnswerBody::Coming(body) => {
            let source = Source { member, body, flight, first_byte };
            let relay = Relay::new(journey, &head, source);
            is_event_stream = relay.is_event_stream();
            Outgoing::Relay(Coming::new(relay))
        }
        AnswerBody::Read(bytes) => {
            if let Some(why) = explanation(&bytes).filter(|_| head.status.as_u16() >= 400) {
                record.explain(&why);
            }
            record.end(Reason::Answered);
            Outgoing::Whole(Some(bytes), journey.record)
        }
    };
    let mut told = Box::new(ReplyHead::passing(head));
    // Says which instance answered, and what became of the conversation that the request named.
    told.identify(id);
    if is_event_stream {
        // nginx passes each event on at once, then.
        told.replace(Name::AccelBuffering, HeaderValue::from_static("no"));
    }
    name.into_iter().for_each(|name| told.replace(Name::Instance, name));
    conversation.into_iter().for_each(|what| told.replace(Name::Conversation, what));
    Reply { head: told, body }
}
