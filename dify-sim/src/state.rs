//! What all connections of one instance share.

use crate::app::App;
use crate::db::Db;
use crate::ran::Runs;
use crate::served::Log;
use crate::setup::{Fault, Setup};
use crate::tasks::Tasks;
use crate::worker::Worker;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::watch;
use uuid::Uuid;

/// How the instance is right now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition {
    pub(crate) fault: Fault,
    /// Whether idle connections are to be closed.
    pub(crate) closing: bool,
    /// Grows when all connections of the time are to be dropped.
    pub(crate) epoch: u64,
}

/// One API process and what it stands on.
pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) addr: SocketAddr,
    /// What signed links to files begin with.
    pub(crate) files_url: String,
    pub(crate) condition: watch::Sender<Condition>,
    pub(crate) open: watch::Sender<usize>,
    pub(crate) accepted: AtomicU64,
    pub(crate) log: Log,
    pub(crate) runs: Runs,
    pub(crate) common: Arc<Common>,
}

/// What several API processes may stand on: database, Redis, worker, and their secret.
pub(crate) struct Common {
    /// Apps by key.
    pub(crate) apps: HashMap<String, Arc<AppState>>,
    pub(crate) tasks: Tasks,
    /// What does the streamed runs of flows, from 1.13 on.
    pub(crate) worker: Worker,
    /// API processes that stand on it.
    pub(crate) processes: AtomicUsize,
    /// The workspaces of the apps and dataset keys, by name.
    tenants: HashMap<String, Uuid>,
    /// The account that made everything.
    pub(crate) account: Uuid,
    /// What Dify's SECRET_KEY is to signed file URLs: another one in each instance.
    secret: RandomState,
    #[expect(clippy::disallowed_types, reason = "stands for PostgreSQL, held for one look-up")]
    db: std::sync::Mutex<Db>,
}

impl Deref for Shared {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

/// One app and what Dify made up for it.
pub(crate) struct AppState {
    pub(crate) app: App,
    pub(crate) id: Uuid,
    pub(crate) workflow_id: Uuid,
    /// The version of its published workflow: a time.
    pub(crate) published: String,
    /// Runs at this moment.
    pub(crate) active: AtomicUsize,
}

impl AppState {
    fn new(app: App) -> Self {
        Self {
            app,
            id: Uuid::new_v4(),
            workflow_id: Uuid::new_v4(),
            published: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S.%6f").to_string(),
            active: AtomicUsize::new(0),
        }
    }
}

impl Common {
    #[expect(clippy::disallowed_types, reason = "stands for PostgreSQL, held for one look-up")]
    pub(crate) fn new(setup: &Setup) -> Self {
        let of_apps = setup.apps.iter().map(|app| app.workspace.clone());
        let of_keys = setup.dataset_keys.iter().map(|(_, workspace)| workspace.clone());
        let names: BTreeSet<String> = of_apps.chain(of_keys).collect();
        let apps = setup.apps.iter().cloned();
        let apps = apps.map(|app| (app.key.clone(), Arc::new(AppState::new(app)))).collect();
        Self {
            apps,
            tasks: Tasks::default(),
            worker: Worker::new(setup.workers.unwrap_or(setup.release.worker_places())),
            processes: AtomicUsize::new(0),
            tenants: names.into_iter().map(|name| (name, Uuid::new_v4())).collect(),
            account: Uuid::new_v4(),
            secret: RandomState::new(),
            db: std::sync::Mutex::new(Db::default()),
        }
    }

    /// The id of a workspace.
    pub(crate) fn tenant(&self, workspace: &str) -> Uuid {
        self.tenants.get(workspace).copied().unwrap_or_default()
    }

    /// The data of the instance.
    pub(crate) fn db(&self) -> std::sync::MutexGuard<'_, Db> {
        self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The signature of these words by this instance: 32 bytes as URL-safe base64.
    pub(crate) fn sign(&self, words: &str) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bits = Vec::with_capacity(33);
        for part in 0..4_u8 {
            bits.extend_from_slice(&self.secret.hash_one((part, words)).to_be_bytes());
        }
        bits.push(0);
        let mut out = String::with_capacity(44);
        for three in bits.chunks_exact(3) {
            let word = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
            for shift in [18, 12, 6, 0] {
                out.push(char::from(DIGITS[(word >> shift & 63) as usize]));
            }
        }
        out.truncate(43);
        out.push('=');
        out
    }
}

impl Shared {
    /// One more API process; `url` is where it is reached.
    pub(crate) fn new(setup: Setup, addr: SocketAddr, url: &str, common: Arc<Common>) -> Self {
        let condition = Condition { fault: Fault::None, closing: false, epoch: 0 };
        common.processes.fetch_add(1, Ordering::Relaxed);
        Self {
            files_url: setup.files_url.clone().unwrap_or_else(|| url.to_owned()),
            setup,
            addr,
            condition: watch::Sender::new(condition),
            open: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
            log: Log::default(),
            runs: Runs::default(),
            common,
        }
    }

    /// Whether Redis is away.
    pub(crate) fn redis_is_away(&self) -> bool {
        self.condition.borrow().fault == Fault::RedisDown
    }
}
