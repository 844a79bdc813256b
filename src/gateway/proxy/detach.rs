//! A request that goes on when its client goes away.
//!
//! The future of a request whose client is gone is dropped. For a run that an instance has already
//! got that would close the connection, and Dify 1.5.0 then loses the answer and works on. So what
//! carries a run is wrapped here: dropped before its end, it goes on in a task of its own, which
//! stops or drains the run as the app says. While the client is there, nothing is spawned, and no
//! channel lies between the instance's answer and the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::gateway::http::send_state::Progress;
use crate::gateway::proxy::broadcast::everywhere;
use crate::gateway::proxy::exchange::{Journey, Travelled};
use crate::gateway::proxy::forward::forward;
use crate::gateway::proxy::response::open;
use crate::gateway::state::policy::OnDisconnect;
use crate::gateway::upstream::worker::Worker;
use crate::model::Reason;

/// Takes a request to its instance, be it a client's own or one that the gateway makes for it. What an
/// instance may act on goes on when the client goes away, unless the app wants it closed.
pub(crate) async fn travel(journey: Box<Journey>) -> Travelled {
    let (progress, worker) = (journey.progress.clone(), Rc::clone(&journey.worker));
    if journey.is_stop_for_all() {
        return Outlive::new(everywhere(journey), progress, worker).await;
    }
    let may_close = journey.app.policy.on_disconnect == OnDisconnect::Close;
    match journey.run {
        Some(_) if !may_close => Outlive::new(forward(journey), progress, worker).await,
        _ => Box::pin(forward(journey)).await,
    }
}

/// The future of a request from its first attempt to the head of its answer.
struct Outlive<F: Future<Output = Travelled> + 'static> {
    future: Option<Pin<Box<F>>>,
    progress: Progress,
    worker: Rc<Worker>,
}

impl<F: Future<Output = Travelled> + 'static> Outlive<F> {
    /// Wraps the future that reports its `progress`.
    fn new(future: F, progress: Progress, worker: Rc<Worker>) -> Self {
        Self { future: Some(Box::pin(future)), progress, worker }
    }
}

impl<F: Future<Output = Travelled> + 'static> Future for Outlive<F> {
    type Output = Travelled;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Travelled> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let done = future.as_mut().poll(context);
        if done.is_ready() {
            self.future = None;
        }
        done
    }
}

impl<F: Future<Output = Travelled> + 'static> Drop for Outlive<F> {
    fn drop(&mut self) {
        let Some(future) = self.future.take() else { return };
        self.progress.client_gone();
        if self.progress.is_sent() {
            self.worker.adopt(async move { leave(future.await) });
        }
    }
}

/// An answer came, or none, and nobody waits for it.
fn leave((mut journey, result): Travelled) {
    match result {
        // An answer that nobody takes is seen out as one whose client leaves later.
        Ok(forwarded) => drop(open(journey, forwarded)),
        Err(refusal) => {
            journey.record.end(Reason::ClientGone);
            journey.record.note(format!("after the client had gone: {refusal}"));
        }
    }
}
