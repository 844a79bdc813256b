//! A request that goes on when its client goes away.
//!
//! The future of a request whose client is gone is dropped. For a run that an instance has already
//! got that would close the connection, and Dify 1.5.0 then loses the response and works on. So what
//! carries a run is wrapped here: dropped before its end, it goes on in a task of its own, which
//! stops or drains the run as the app says. While the client is there, nothing is spawned, and no
//! channel lies between the instance's response and the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::gateway::http::send_state::SendState;
use crate::gateway::proxy::broadcast::broadcast;
use crate::gateway::proxy::exchange::{Exchange, ForwardResult};
use crate::gateway::proxy::forward::forward;
use crate::gateway::proxy::response::open;
use crate::gateway::state::policy::OnDisconnect;
use crate::gateway::upstream::worker::Worker;
use crate::model::Reason;

/// Takes a request to its instance, be it a client's own or one that the gateway makes for it. What an
/// instance may act on goes on when the client goes away, unless the app wants it closed.
pub(crate) async fn run(exchange: Box<Exchange>) -> ForwardResult {
    let (progress, worker) = (exchange.progress.clone(), Rc::clone(&exchange.worker));
    if exchange.is_stop_for_all() {
        return DetachOnDrop::new(broadcast(exchange), progress, worker).await;
    }
    let goes_on = exchange.call.as_ref().is_some_and(|call| {
        call.run.is_some() && call.app.policy.on_disconnect != Some(OnDisconnect::Close)
    });
    match goes_on {
        true => DetachOnDrop::new(forward(exchange), progress, worker).await,
        false => Box::pin(forward(exchange)).await,
    }
}

/// The future of a request from its first attempt to the head of its response.
struct DetachOnDrop<F: Future<Output = ForwardResult> + 'static> {
    future: Option<Pin<Box<F>>>,
    progress: SendState,
    worker: Rc<Worker>,
}

impl<F: Future<Output = ForwardResult> + 'static> DetachOnDrop<F> {
    /// Wraps the future that reports its `progress`.
    fn new(future: F, progress: SendState, worker: Rc<Worker>) -> Self {
        Self { future: Some(Box::pin(future)), progress, worker }
    }
}

impl<F: Future<Output = ForwardResult> + 'static> Future for DetachOnDrop<F> {
    type Output = ForwardResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ForwardResult> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let done = future.as_mut().poll(context);
        if done.is_ready() {
            self.future = None;
        }
        done
    }
}

impl<F: Future<Output = ForwardResult> + 'static> Drop for DetachOnDrop<F> {
    fn drop(&mut self) {
        let Some(future) = self.future.take() else { return };
        self.progress.client_gone();
        if self.progress.is_sent() {
            self.worker.adopt(async move { leave(future.await) });
        }
    }
}

/// A response came, or none, and nobody waits for it.
fn leave((mut exchange, result): ForwardResult) {
    match result {
        // A response that nobody takes is seen out as one whose client leaves later.
        Ok(forwarded) => drop(open(exchange, forwarded)),
        Err(refusal) => {
            exchange.record.end(Reason::ClientGone);
            exchange.record.note(format!("after the client had gone: {refusal}"));
        }
    }
}
