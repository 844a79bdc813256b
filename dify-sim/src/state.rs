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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
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

pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) addr: SocketAddr,
    /// What signed links to files begin with.
    pub(crate) files_url: String,
    /// Apps by key.
    pub(crate) apps: HashMap<String, Arc<AppState>>,
    pub(crate) condition: watch::Sender<Condition>,
    pub(crate) open: watch::Sender<usize>,
    pub(crate) accepted: AtomicU64,
    pub(crate) log: Log,
    pub(crate) runs: Runs,
    pub(crate) tasks: Tasks,
    /// What does the streamed runs of flows, from 1.13 on.
    pub(crate) worker: Worker,
    /// The workspaces of the apps and dataset keys, by name.
    tenants: HashMap<String, Uuid>,
    /// The account that made everything.
    pub(crate) account: Uuid,
    /// What Dify's SECRET_KEY is to signed file URLs: another one in each instance.
    secret: RandomState,
    #[expect(clippy::disallowed_types, reason = "stands for PostgreSQL, held for one look-up")]
    db: std::sync::Mutex<Db>,
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

impl Shared {
    #[expect(clippy::disallowed_types, reason = "stands for PostgreSQL, held for one look-up")]
    pub(crate) fn new(mut setup: Setup, addr: SocketAddr) -> Self {
        let of_apps = setup.apps.iter().map(|app| app.workspace.clone());
        let of_keys = setup.dataset_keys.iter().map(|(_, workspace)| workspace.clone());
        let names: BTreeSet<String> = of_apps.chain(of_keys).collect();
        let apps = std::mem::take(&mut setup.apps)
            .into_iter()
            .map(|app| (app.key.clone(), Arc::new(AppState::new(app))))
            .collect();
        let worker = Worker::new(setup.workers.unwrap_or(setup.release.worker_places()));
        let tenants = names.into_iter().map(|name| (name, Uuid::new_v4())).collect();
        let condition = Condition { fault: Fault::None, closing: false, epoch: 0 };
        Self {
            files_url: setup.files_url.clone().unwrap_or_else(|| format!("http://{addr}")),
            setup,
            addr,
            apps,
            condition: watch::Sender::new(condition),
            open: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
            log: Log::default(),
            runs: Runs::default(),
            tasks: Tasks::default(),
            worker,
            tenants,
            account: Uuid::new_v4(),
            secret: RandomState::new(),
            db: std::sync::Mutex::new(Db::default()),
        }
    }

    /// Whether Redis is away.
    pub(crate) fn redis_is_away(&self) -> bool {
        self.condition.borrow().fault == Fault::RedisDown
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

/// Seconds since 1970, as Dify gives times.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
