//! Ends a stream of HTTP/2 whose client takes nothing more of its answer.
//!
//! hyper asks an answer for its next piece only when the client has room for the last one. What it
//! waits for then is up to the client alone: as long as other streams move, the connection's own
//! silence never comes, and the answer would hold its instance's slot for ever. So each stream's work
//! is looked at whenever it is polled: whoever was not asked for anything stands still. Seen are pieces
//! and not bytes: a client has the limit for each.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::gateway::stream::Outgoing;

/// What a poll of a stream's work came to, told from within. All streams of a connection share one:
/// they are polled one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Rc<Cell<Step>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Nothing of ours was asked: the client has no room for what it has already.
    #[default]
    None,
    /// A piece went on its way.
    Moved,
    /// The request is being worked on, or its instance has nothing more yet.
    Ours,
}

impl Told {
    /// The same work, which tells that it is ours to go on.
    pub(super) async fn working<T>(self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        std::future::poll_fn(|context| {
            self.0.set(Step::Ours);
            work.as_mut().poll(context)
        })
        .await
    }

    /// The same answer, which tells how it goes on.
    pub(super) fn answering(self, answer: Outgoing) -> Telling {
        Telling { answer, told: self }
    }

    /// A stream's whole work, which ends when its client has taken nothing for `limit`.
    pub(super) fn bound(
        self,
        work: impl Future<Output = ()> + 'static,
        limit: impl Fn() -> Duration + 'static,
    ) -> impl Future<Output = ()> + 'static {
        // Pinned in place it would be kept twice, and it is large.
        let mut work = Box::pin(work);
        let mut silence = Silence::default();
        std::future::poll_fn(move |context| {
            self.0.set(Step::None);
            if work.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            silence.poll(self.0.get(), &limit, context)
        })
    }
}

/// An answer that tells how it goes on.
pub(super) struct Telling {
    answer: Outgoing,
    told: Told,
}

impl Body for Telling {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = Pin::new(&mut self.answer).poll_frame(context);
        self.told.0.set(if piece.is_ready() { Step::Moved } else { Step::Ours });
        piece
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

/// How long a client has taken nothing, with one timer and not one for each piece.
#[derive(Default)]
struct Silence {
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn poll(
        &mut self,
        step: Step,
        limit: &impl Fn() -> Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let due = match (step, self.due) {
            (Step::Ours, _) => {
                self.due = None;
                return Poll::Pending;
            }
            (Step::None, Some(due)) => due,
            (Step::None | Step::Moved, _) => *self.due.insert(Instant::now() + limit()),
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit())));
        while timer.as_mut().poll(context).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}
