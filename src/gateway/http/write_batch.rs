//! A worker's round: what is ready is run task by task, and then the sockets are asked again.

use std::future::poll_fn;
use std::task::Poll;

/// Ready when every task that is ready now has run once.
///
/// Who writes then has let the others read first, and what a round has to write leaves together. The
/// other ends wake once for all of it, and not for each: waking a processor that sleeps costs as much
/// as half a request.
pub(crate) async fn ended() {
    let mut ended = false;
    poll_fn(|context| {
        if ended {
            return Poll::Ready(());
        }
        ended = true;
        // To the end of the queue.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
