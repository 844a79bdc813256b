//! Streams that nobody needs any more and that Dify keeps open.
//!
//! From 1.13 on the API process closes the stream of a flow 1.00 s after its last event, and where
//! that event never comes (an error before the run, a hit of moderation or annotation) only after
//! 300 s of silence. Until then the stream has one of the few places of its worker process, and
//! closing the connection does not change that: Dify notices at its next write (measured). So what is
//! left of such a stream is read on here, and its slot stays taken and is counted as held, so that
//! nothing is sent into a process that has no place for it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::gateway::state::member::Member;
use crate::gateway::upstream::conn_pool::Inflow;
use crate::gateway::upstream::worker::Worker;

/// For Dify to end a stream that has nothing more to say: it does after 300 s.
pub(crate) const LIMIT: Duration = Duration::from_secs(310);

/// Reads the rest of an answer that nobody gets. Nothing waits for that, the end of the gateway
/// neither.
pub(crate) fn hold(worker: &Rc<Worker>, member: &Arc<Member>, mut body: Inflow) {
    // At the end of the thread there is nobody left to read.
    if Handle::try_current().is_err() {
        return;
    }
    let mark = member.instance.mark_held();
    let (worker, member) = (Rc::clone(worker), Arc::clone(member));
    spawn_local(async move {
        let rest = async {
            while let Some(frame) = body.frame().await {
                if frame.is_err() {
                    return None;
                }
            }
            body.into_connection()
        };
        // What comes later than that, nobody knows; the connection is closed.
        let connection = timeout(LIMIT, rest).await.ok().flatten();
        drop(mark);
        if let Some(connection) = connection {
            worker.connections.put(&member.instance, connection);
        }
    });
}
