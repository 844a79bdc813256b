//! What all workers and the rest of the process share: the snapshot, the clock, counters, and the
//! seams to `admin` and between workers.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Response, request};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::affinity::Owners;
use crate::conversation::ConversationStore;
use crate::gateway::http::conn_limit::ConnectionLimiter;
use crate::gateway::state::app_names::AppNames;
use crate::gateway::state::conversation_lock::ConversationLocks;
use crate::gateway::state::first_turn_locks::FirstTurnLocks;
use crate::gateway::state::snapshot::Snapshot;
use crate::model::Reason;
use crate::telemetry::{Counter, Gauge};

/// What answers `/health`, `/status` and the like. `admin` implements it; this is the seam through
/// which the main listener reaches it without knowing it.
pub trait AdminHandler: Send + Sync {
    /// Answers a request for one of [the admin paths](crate::gateway::route::ADMIN_PATHS), or
    /// refuses it by the rules of access.
    fn answer(
        &self,
        visit: AdminRequest,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>>;
}

/// A request for the admin endpoints.
#[derive(Debug)]
pub struct AdminRequest {
    /// Method, URI and headers.
    pub head: request::Parts,
    /// The client's address, seen through trusted proxies; none where these name none.
    pub client: Option<IpAddr>,
}

/// What is known from before.
pub struct Stores {
    /// Which instance owns which id of Dify.
    pub owners: Arc<Owners>,
    /// Which conversation a transcript continues.
    pub conversation_store: Arc<ConversationStore>,
}

/// What all workers and the rest of the process share.
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    admin: Box<dyn AdminHandler>,
    app_names: AppNames,
    kept: Stores,
    /// Made when the first conversation goes on: it has a place for each of thousands.
    turns: OnceLock<ConversationLocks>,
    /// Made when the first turn of a user comes.
    first_turns: OnceLock<FirstTurnLocks>,
    /// Made when the first connection of a limited address comes.
    connection_limiter: OnceLock<Arc<ConnectionLimiter>>,
    started: Instant,
    started_at: Timestamp,
    swapped: Notify,
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
    /// TLS handshakes with clients that ended, by [`Handshake`].
    pub handshakes: [Counter; Handshake::ALL.len()],
}

/// What came of a TLS handshake with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A new session.
    Full,
    /// An earlier session was taken up.
    Resumed,
    /// No connection.
    Failed,
}

impl Handshake {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Full, Self::Resumed, Self::Failed];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
        }
    }
}

impl GatewayStats {
    /// Requests that ended, however.
    pub fn requests(&self) -> u64 {
        self.by_reason.iter().map(Counter::get).sum()
    }
}

impl Shared {
    /// The shared state of `workers` workers.
    pub fn new(
        snapshot: Arc<Snapshot>,
        kept: Stores,
        admin: Box<dyn AdminHandler>,
        workers: usize,
    ) -> Self {
        Self {
            snapshot: ArcSwap::new(snapshot),
            admin,
            app_names: AppNames::default(),
            kept,
            turns: OnceLock::new(),
            first_turns: OnceLock::new(),
            connection_limiter: OnceLock::new(),
            started: Instant::now(),
            started_at: Timestamp::now(),
            swapped: Notify::new(),
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
        self.swapped.notify_one();
    }

    /// Returns after the snapshot was replaced. For one caller: the prober.
    pub(crate) async fn swapped(&self) {
        self.swapped.notified().await;
    }

    /// What Dify calls the apps that it names.
    pub fn app_names(&self) -> &AppNames {
        &self.app_names
    }

    /// What answers the admin paths.
    pub fn admin(&self) -> &dyn AdminHandler {
        self.admin.as_ref()
    }

    /// Which instance owns which id.
    pub fn owners(&self) -> &Owners {
        &self.kept.owners
    }

    /// Which conversation of Dify a client's transcript continues.
    pub fn conversation_store(&self) -> &Arc<ConversationStore> {
        &self.kept.conversation_store
    }

    /// Where turns of AI clients wait for each other, by conversation.
    pub(crate) fn turns(&self) -> &ConversationLocks {
        self.turns.get_or_init(ConversationLocks::default)
    }

    /// Where turns wait for the first of the same user at the same instance.
    pub(crate) fn first_turns(&self) -> &FirstTurnLocks {
        self.first_turns.get_or_init(FirstTurnLocks::default)
    }

    pub(crate) fn connection_limiter(&self) -> &Arc<ConnectionLimiter> {
        self.connection_limiter.get_or_init(|| Arc::new(ConnectionLimiter::new()))
    }

    /// Milliseconds since the start: the clock of breakers and phases. It never goes back.
    pub fn now_ms(&self) -> u64 {
        self.ms_at(Instant::now())
    }

    /// The same at a moment that was read before.
    pub(crate) fn ms_at(&self, moment: Instant) -> u64 {
        let since_start = moment.saturating_duration_since(self.started);
        u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX)
    }

    /// The time of day at `ms` on the gateway's clock, by what it was at the start.
    pub fn time_of(&self, ms: u64) -> Timestamp {
        let since_start = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
        self.started_at.checked_add(since_start).unwrap_or(self.started_at)
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

    /// Returns when worker `index` is to look for what is to be done now. An unknown worker is
    /// never woken.
    pub(crate) async fn woken(&self, index: usize) {
        match self.wakes.get(index) {
            Some(wake) => wake.notified().await,
            None => std::future::pending().await,
        }
    }

    fn wake_all(&self) {
        self.wakes.iter().for_each(Notify::notify_one);
    }
}
