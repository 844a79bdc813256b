//! A run whose client has been told that it did not start in time.
//!
//! Dify has the request and may still do it; and it keeps the connection's place until it writes again
//! or 300 s are over, whether we close it or not. So the stream is read on: the place is counted until
//! then, ids are learned, and an instance whose runs start again is noticed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};

use crate::gateway::proxy::exchange::Flight;
use crate::gateway::proxy::run_watch::RunWatch;
use crate::gateway::proxy::tap::{Left, Tap};
use crate::gateway::state::member::Member;
use crate::gateway::upstream::conn_pool::Inflow;
use crate::gateway::upstream::held;
use crate::gateway::upstream::worker::Worker;

/// What is left of a stream that nobody listens to.
pub(crate) struct Unheard {
    /// What is still to come.
    pub body: Inflow,
    /// Learns ids.
    pub tap: Tap,
    /// Notices that the run starts, and holds its place.
    pub watch: Option<Box<RunWatch>>,
    /// Whose it is.
    pub member: Arc<Member>,
    /// Whose thread it is on.
    pub worker: Rc<Worker>,
}

impl Unheard {
    /// Reads on, for no longer than `limit`. Nobody waits for it, the end of the gateway neither.
    pub(crate) fn leave(self, flight: Flight, limit: Duration) {
        let until = Instant::now() + limit;
        let mark = self.member.instance.mark_held();
        spawn_local(async move {
            self.read(until).await;
            drop((mark, flight));
        });
    }

    async fn read(mut self, until: Instant) {
        loop {
            let late = until.min(Instant::now() + held::LIMIT);
            let Ok(Some(Ok(frame))) = timeout_at(late, self.body.frame()).await else { break };
            let Ok(piece) = frame.into_data() else { continue };
            let shared = self.worker.shared();
            self.tap.pass(&piece, Left::Some, &self.member, shared.owners());
            if let Some(watch) = &mut self.watch {
                let learned = self.tap.learned();
                let is_flow = learned.is_some_and(|learned| learned.workflow_run_id.is_some());
                watch.passed(&piece, is_flow, shared);
                if self.tap.run_ended() {
                    watch.ended();
                }
            }
        }
    }
}
