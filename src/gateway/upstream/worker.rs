//! One worker: a thread with a runtime of its own. Workers share the snapshot, the instances and
//! counters, and nothing else; a request stays on the worker that accepted it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::gateway::http::client_conn::{ClientConn, CloseReason};
use crate::gateway::http::early_log::EarlyLog;
use crate::gateway::http::h1::io_buffers::IoBuffers;
use crate::gateway::state::shared::Shared;
use crate::gateway::upstream::conn_pool::ConnectionPool;
use crate::telemetry::{Batch, Sink};

/// Counts a run that goes on without its client.
struct Orphan(Rc<Worker>);

impl Orphan {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.orphans.set(worker.orphans.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.0.orphans.set(self.0.orphans.get().saturating_sub(1));
    }
}

/// How often a worker looks for connections whose time is up.
const SWEEP: Duration = Duration::from_millis(250);

/// One worker's own state. It never leaves its thread.
pub(crate) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    pub connections: ConnectionPool,
    clients: RefCell<Slab<Rc<ClientConn>>>,
    batch: RefCell<Batch>,
    clock: Rc<Cell<u64>>,
    pub early_log: EarlyLog,
    buffers: IoBuffers,
    /// Woken when the last client is gone.
    empty: Notify,
    /// Runs that go on without their clients.
    orphans: Cell<usize>,
}

impl Worker {
    /// Worker number `index`, from 0.
    pub(crate) fn new(index: usize, shared: Arc<Shared>, sink: Option<Sink>) -> Self {
        let buffers = IoBuffers::new();
        Self {
            index,
            connections: ConnectionPool::new(Arc::clone(&shared), buffers.clone()),
            buffers,
            shared,
            clients: RefCell::default(),
            batch: RefCell::new(Batch::new(sink)),
            early_log: EarlyLog::default(),
            clock: Rc::default(),
            empty: Notify::new(),
            orphans: Cell::new(0),
        }
    }

    /// What it shares with the others.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The lines of the access log that wait.
    pub(crate) fn batch(&self) -> &RefCell<Batch> {
        &self.batch
    }

    /// Coarse time in milliseconds since the start, at most one sweep old.
    pub(crate) fn clock(&self) -> &Rc<Cell<u64>> {
        &self.clock
    }

    /// The buffers that its connections share.
    pub(crate) fn buffers(&self) -> &IoBuffers {
        &self.buffers
    }

    /// Takes note of a client's connection.
    pub(crate) fn enter(&self, client: Rc<ClientConn>) -> usize {
        self.shared.stats.clients.rise();
        self.clients.borrow_mut().insert(client)
    }

    /// Forgets a client's connection.
    pub(crate) fn leave(&self, place: usize) {
        self.shared.stats.clients.fall();
        self.clients.borrow_mut().remove(place);
        if self.clients.borrow().is_empty() {
            self.empty.notify_one();
        }
    }

    /// Returns when no client is connected.
    pub(crate) async fn emptied(&self) {
        while !self.clients.borrow().is_empty() {
            self.empty.notified().await;
        }
    }

    /// Sees something to its end that its client no longer waits for.
    pub(crate) fn adopt(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        // At the end of the thread there is nobody left to do it.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let orphan = Orphan::new(self);
        spawn_local(async move {
            work.await;
            drop(orphan);
        });
    }

    /// Returns when no run goes on without its client, or after `limit`.
    pub(crate) async fn seen_out(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.orphans.get() > 0 && Instant::now() < until {
            sleep(SWEEP / 5).await;
        }
    }

    /// Ends every client's connection after its request under way.
    pub(crate) fn drain_clients(&self) {
        self.clients.borrow().iter().for_each(|(_, client)| client.end(CloseReason::Drain));
    }

    /// Sweeps for as long as the worker lives.
    pub(crate) async fn sweep(&self) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.sweep_once(),
                () = self.shared.woken(self.index) => {}
            }
            // Connections that others wait for are given up on each wake, not only on each tick.
            self.connections.make_room();
        }
    }

    pub(crate) async fn draining(&self) {
        // The sweep may take a wake meant for this; so look again on every tick.
        let mut ticks = interval(SWEEP);
        while !self.shared.is_draining() {
            ticks.tick().await;
        }
    }

    fn sweep_once(&self) {
        let now_ms = self.shared.now_ms();
        self.clock.set(now_ms);
        self.batch.borrow_mut().flush();
        self.early_log.flush(now_ms);
        let snapshot = self.shared.snapshot();
        self.connections.drop_idle(snapshot.timeouts.upstream_idle);
        let min_rate = snapshot.limits.min_answer_rate;
        for (_, client) in self.clients.borrow().iter() {
            if let Some(ending) = client.overdue(&snapshot.timeouts, min_rate, now_ms) {
                client.end(ending);
            }
            client.push_on(now_ms);
        }
    }
}
