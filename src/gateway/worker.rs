//! One worker: a thread with a runtime of its own. Workers share the snapshot, the instances and
//! counters, and nothing else; a request stays on the worker that accepted it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Response, request};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::client::{Client, Ending, Scratch, scratch};
use crate::gateway::connection::Connections;
use crate::gateway::instance::Instance;
use crate::gateway::snapshot::Snapshot;
use crate::model::Reason;
use crate::telemetry::{Batch, Counter, Gauge, Sink};

/// How often a worker looks for connections whose time is up.
const SWEEP: Duration = Duration::from_millis(250);

/// What answers `/health`, `/status` and the like. `admin` implements it; this is the seam through
/// which the main listener reaches it without knowing it.
pub trait Desk: Send + Sync {
    /// Answers a request for one of [the desk's paths](crate::gateway::door::DESK_PATHS), or
    /// refuses it by the rules of access.
    fn answer(&self, visit: Visit) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>>;
}

/// A request for the desk.
#[derive(Debug)]
pub struct Visit {
    /// Method, URI and headers.
    pub head: request::Parts,
    /// The client's address, seen through trusted proxies.
    pub client: std::net::IpAddr,
}

/// What all workers and the rest of the process share.
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    desk: Box<dyn Desk>,
    started: Instant,
    draining: AtomicBool,
    /// One per worker: look for what is to be done now.
    wakes: Vec<Notify>,
    /// Counters of the whole gateway.
    pub stats: GatewayStats,
}

/// What is counted for the gateway as a whole.
#[derive(Debug, Default)]
pub struct GatewayStats {
    /// Requests that ended, by [`Reason`].
    pub by_reason: [Counter; Reason::ALL.len()],
    /// Clients' connections open now.
    pub clients: Gauge,
    /// Requests under way now.
    pub in_flight: Gauge,
}

impl GatewayStats {
    /// Requests that ended, however.
    pub fn requests(&self) -> u64 {
        self.by_reason.iter().map(Counter::get).sum()
    }
}

impl Shared {
    /// The shared state of `workers` workers.
    pub fn new(snapshot: Arc<Snapshot>, desk: Box<dyn Desk>, workers: usize) -> Self {
        Self {
            snapshot: ArcSwap::new(snapshot),
            desk,
            started: Instant::now(),
            draining: AtomicBool::new(false),
            wakes: (0..workers).map(|_| Notify::new()).collect(),
            stats: GatewayStats::default(),
        }
    }

    /// The snapshot of this moment. A request calls this once.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Replaces the snapshot. Requests under way keep the old one. It cannot fail.
    pub fn swap(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// What answers the desk's paths.
    pub fn desk(&self) -> &dyn Desk {
        self.desk.as_ref()
    }

    /// Milliseconds since the start: the clock of breakers and phases. It never goes back.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long the gateway has been up.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the gateway is on its way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Begins the end: no new connections, and each open one ends after its request.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.wake_all();
    }

    /// A request waits for a slot: workers with an idle connection to that instance drop one.
    pub fn ask_for_slots(&self) {
        self.wake_all();
    }

    fn wake_all(&self) {
        self.wakes.iter().for_each(Notify::notify_one);
    }
}

/// One worker's own state. It never leaves its thread.
pub(super) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    /// Idle connections to instances.
    pub connections: Connections,
    clients: RefCell<Slab<Rc<Client>>>,
    batch: RefCell<Batch>,
    clock: Rc<Cell<u64>>,
    scratch: Scratch,
    /// Woken when the last client is gone.
    empty: Notify,
}

impl Worker {
    /// Worker number `index`, from 0.
    pub(super) fn new(index: usize, shared: Arc<Shared>, sink: Option<Sink>) -> Self {
        Self {
            index,
            shared,
            connections: Connections::default(),
            clients: RefCell::default(),
            batch: RefCell::new(Batch::new(sink)),
            clock: Rc::default(),
            scratch: scratch(),
            empty: Notify::new(),
        }
    }

    /// What it shares with the others.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The lines of the access log that wait.
    pub(super) fn batch(&self) -> &RefCell<Batch> {
        &self.batch
    }

    /// Coarse time in milliseconds since the start, at most one sweep old.
    pub(super) fn clock(&self) -> &Rc<Cell<u64>> {
        &self.clock
    }

    /// The buffer in which its connections read heads.
    pub(super) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Takes note of a client's connection.
    pub(super) fn enter(&self, client: Rc<Client>) -> usize {
        self.shared.stats.clients.rise();
        self.clients.borrow_mut().insert(client)
    }

    /// Forgets a client's connection.
    pub(super) fn leave(&self, place: usize) {
        self.shared.stats.clients.fall();
        self.clients.borrow_mut().remove(place);
        if self.clients.borrow().is_empty() {
            self.empty.notify_one();
        }
    }

    /// Returns when no client is connected.
    pub(super) async fn emptied(&self) {
        while !self.clients.borrow().is_empty() {
            self.empty.notified().await;
        }
    }

    /// Ends every client's connection after its request under way.
    pub(super) fn drain_clients(&self) {
        self.clients.borrow().iter().for_each(|(_, client)| client.end(Ending::Drain));
    }

    /// Sweeps for as long as the worker lives.
    pub(super) async fn sweep(&self) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.sweep_once(),
                () = self.shared.wakes[self.index].notified() => {}
            }
            // Connections that others wait for are given up on each wake, not only on each tick.
            self.connections.make_room(Instance::waiting);
        }
    }

    /// Returns when the gateway drains.
    pub(super) async fn draining(&self) {
        // The sweep may take a wake meant for this; so look again on every tick.
        let mut ticks = interval(SWEEP);
        while !self.shared.is_draining() {
            ticks.tick().await;
        }
    }

    fn sweep_once(&self) {
        let now_ms = self.shared.now_ms();
        self.clock.set(now_ms);
        self.connections.drop_idle(now_ms);
        self.batch.borrow_mut().flush();
        let snapshot = self.shared.snapshot.load();
        for (_, client) in self.clients.borrow().iter() {
            if let Some(ending) = client.overdue(&snapshot.timeouts, now_ms) {
                client.end(ending);
            }
        }
    }
}
