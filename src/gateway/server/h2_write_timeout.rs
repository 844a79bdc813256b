//! Ends a stream of HTTP/2 whose client takes nothing more of its answer.
//!
//! hyper asks an answer for its next piece only when the client has room for the last one. What it
//! waits for then is up to the client alone: as long as other streams move, the connection's own
//! silence never comes, and the answer would hold its instance's slot for ever. So each stream's work
//! is looked at whenever it is polled: whoever was not asked for anything stands still. Seen are pieces
//! and not bytes, so pieces are small: a client has `timeouts.write` for 16 KiB, and for a single one
//! once it has shown that it is slow.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::gateway::http::client_conn::Pace;
use crate::gateway::http::h1::deadline::Alarm;
use crate::gateway::proxy::response_body::Outgoing;

/// What a poll of a stream's work came to, told from within. All streams of a connection share one:
/// they are polled one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Rc<Cell<Step>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Nothing of ours was asked: the client has no room for what it has already.
    #[default]
    None,
    /// A piece of so many bytes went on its way.
    Moved(usize),
    /// The request is being worked on, or its instance has nothing more yet.
    Ours,
}

impl Told {
    /// The same work, which tells that it is ours to go on.
    pub(crate) async fn working<T>(self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        std::future::poll_fn(|context| {
            self.0.set(Step::Ours);
            work.as_mut().poll(context)
        })
        .await
    }

    /// The same answer, which tells how it goes on.
    pub(crate) fn answering(self, answer: Outgoing) -> Telling {
        Telling { answer, told: self, rest: Bytes::new(), handed: None }
    }

    /// A stream's whole work, which ends when its client takes nothing or too little.
    pub(crate) fn bound(
        self,
        work: impl Future<Output = ()> + 'static,
        patience: impl Fn() -> Patience + 'static,
    ) -> impl Future<Output = ()> + 'static {
        // Pinned in place it would be kept twice, and it is large.
        let mut work = Box::pin(work);
        let mut silence = Silence::default();
        std::future::poll_fn(move |context| {
            self.0.set(Step::None);
            if work.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            silence.poll(self.0.get(), &patience, context)
        })
    }
}

/// What is borne of a client that does not take its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the next piece.
    pub write: Duration,
    /// Bytes per second on average over so long; 0: any.
    pub min_rate: u64,
}

/// The largest piece: a frame of HTTP/2 holds no more by default.
const PIECE_BYTES: usize = 16 * 1024;
/// The largest for a client that had nothing for [`SLOW`].
const SLOW_PIECE_BYTES: usize = 1024;
const SLOW: Duration = Duration::from_secs(1);

/// An answer that tells how it goes on.
pub(crate) struct Telling {
    answer: Outgoing,
    told: Told,
    /// Of the answer's last piece, what has not gone on its way.
    rest: Bytes,
    /// When the last piece went, while there is a rest.
    handed: Option<Instant>,
}

impl Telling {
    /// As much of the rest as is good for its client.
    fn piece(&mut self) -> Bytes {
        let now = (self.rest.len() > SLOW_PIECE_BYTES).then(Instant::now);
        let is_slow = now.zip(self.handed).is_some_and(|(now, before)| now - before > SLOW);
        let most = if is_slow { SLOW_PIECE_BYTES } else { PIECE_BYTES };
        self.handed = now;
        self.rest.split_to(self.rest.len().min(most))
    }
}

impl Body for Telling {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.rest.is_empty() {
            let frame = match Pin::new(&mut self.answer).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    self.told.0.set(Step::Ours);
                    self.handed = None;
                    return Poll::Pending;
                }
            };
            match frame {
                Some(Ok(frame)) if frame.is_data() => {
                    self.rest = frame.into_data().unwrap_or_default();
                }
                other => {
                    self.told.0.set(Step::Moved(0));
                    return Poll::Ready(other);
                }
            }
        }
        let piece = self.piece();
        self.told.0.set(Step::Moved(piece.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (here, mut hint) = (self.rest.len() as u64, self.answer.size_hint());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + here);
        }
        hint.set_lower(hint.lower() + here);
        hint
    }
}

/// How long a client has taken nothing, and how little, with one timer and not one for each piece.
#[derive(Default)]
struct Silence {
    due: Option<Instant>,
    /// Since when its pace is watched, which counts milliseconds from there.
    began: Option<Instant>,
    pace: Pace,
    alarm: Alarm,
}

impl Silence {
    fn poll(
        &mut self,
        step: Step,
        patience: &impl Fn() -> Patience,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut due = match (step, self.due) {
            (Step::Ours, _) => {
                (self.due, self.began, self.pace) = (None, None, Pace::default());
                return Poll::Pending;
            }
            (Step::None, Some(due)) => due,
            (Step::None | Step::Moved(_), _) => *self.due.insert(Instant::now() + patience().write),
        };
        let began = *self.began.get_or_insert_with(Instant::now);
        let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Step::Moved(bytes) = step {
            self.pace = self.pace.taken(bytes, now_ms());
        }
        loop {
            let Patience { write, min_rate } = patience();
            if let Some(ms) = self.pace.due_ms(write) {
                due = due.min(began + Duration::from_millis(ms));
            }
            ready!(self.alarm.poll(due, context));
            let (pace, is_slow) = self.pace.judged(min_rate, write, now_ms());
            self.pace = pace;
            let whole = self.due.unwrap_or(due);
            if is_slow || whole <= Instant::now() {
                return Poll::Ready(());
            }
            due = whole;
        }
    }
}
