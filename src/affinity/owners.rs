//! The handle by which all workers ask for owners and learn them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use super::owner_names::OwnerNames;
use super::scope::RecentSet;
use super::table::{AppTag, Row, Table};
use super::writer::{self, WriteCommand, Writer, WriterProgress};
use crate::model::InstanceName;
use crate::store::{self, Store};
use crate::store::{Retention, now_s};
use crate::telemetry::Counter;

/// How many changes wait for the writer at most.
const QUEUE: usize = 8192;

/// A use within this many seconds of the last one is not noted.
const TOUCH_S: u32 = 60;

/// A use on another day is noted in the store.
const DAY_S: u32 = 24 * 3600;

/// How long the end waits for the last commit.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// Ids whose user is known, at most.
const USED: usize = 1 << 17;
/// For how long it is known: longer than any run, and than most conversations rest.
const USED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Ids of which it is known that nobody has them, at most, and for how long that is believed.
const NOWHERE: usize = 10_000;
const NOWHERE_FOR: Duration = Duration::from_secs(60);

/// Users that an instance has met, at most, and for how long that is remembered.
const MET: usize = 1 << 16;
const MET_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Whether an id outlives its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A conversation, message, workflow run or file: it goes to the store.
    Durable,
    /// A task: nobody asks for it after its run.
    Transient,
}

/// The owners of all ids that are known. Shared by all workers.
#[derive(Debug)]
pub struct Owners {
    table: Table,
    names: OwnerNames,
    limits: Retention,
    /// To the writer; `None` if nothing outlives the process anyway.
    notes: Option<SyncSender<WriteCommand>>,
    progress: Arc<WriterProgress>,
    store_kind: &'static str,
    store_path: Option<PathBuf>,
    warning: Option<String>,
    learned: Counter,
    /// When a drop was warned of last, in seconds since 1970.
    warned_s: AtomicU32,
    /// Requests for which other instances were asked, because nobody was known to own their id.
    pub asked_around: Counter,
    /// Tasks and conversations in the hands of the user whose answer named them ([`Scope::of`](crate::affinity::Scope::of)).
    pub used: RecentSet,
    /// Ids that no instance has, in the hands of the user who named them.
    pub nowhere: RecentSet,
    /// Instances in the hands of users whose turn they have answered ([`Scope::of_text`](crate::affinity::Scope::of_text)).
    pub met: RecentSet,
}

/// What is known, and how the store does.
#[derive(Clone, Debug)]
pub struct OwnersStats {
    /// About how many ids have a known owner.
    pub known: u64,
    /// Ids learned since the start, also those learned anew from another instance.
    pub learned: u64,
    /// Requests for which other instances were asked.
    pub asked_around: u64,
    /// Changes that were not written, because too many waited.
    pub dropped: u64,
    /// `redb` or `memory`.
    pub store_kind: &'static str,
    /// The store's file.
    pub store_path: Option<PathBuf>,
    /// What was wrong with the store at the start.
    pub warning: Option<String>,
    /// What is wrong with it now.
    pub error: Option<String>,
    /// Changes that wait for a commit.
    pub pending: u64,
    /// Changes committed.
    pub written: u64,
}

impl Owners {
    /// Loads what the store has and starts the thread that writes to it. `warning` is what was
    /// wrong when the store was opened; it goes to the status.
    ///
    /// # Errors
    /// The thread cannot be started. A store that cannot be read is no error: it is logged, and the
    /// ids are found anew.
    pub fn start(
        store: Arc<dyn Store>,
        warning: Option<String>,
        limits: Retention,
    ) -> io::Result<Self> {
        let mut owners = Self {
            table: Table::new(limits.max_entries),
            names: OwnerNames::default(),
            limits,
            notes: None,
            progress: Arc::new(WriterProgress::default()),
            store_kind: store.kind(),
            store_path: store.path().map(PathBuf::from),
            warning,
            learned: Counter::default(),
            warned_s: AtomicU32::new(0),
            asked_around: Counter::default(),
            used: RecentSet::new(USED, USED_FOR),
            nowhere: RecentSet::new(NOWHERE, NOWHERE_FOR),
            met: RecentSet::new(MET, MET_FOR),
        };
        if owners.store_path.is_some() {
            let prune_first = owners.load(store.as_ref());
            let (sender, notes) = sync_channel(QUEUE);
            let progress = Arc::clone(&owners.progress);
            let writer = Writer { store, notes, progress, limits, prune_first };
            thread::Builder::new().name("owners".to_owned()).spawn(|| writer.run())?;
            owners.notes = Some(sender);
        }
        Ok(owners)
    }

    /// Takes over the store's rows. Tells whether it has some too many.
    fn load(&self, store: &dyn Store) -> bool {
        let oldest_s = self.limits.oldest_s(now_s());
        let (mut rows, mut surplus) = (0, false);
        let loaded = store.load(store::Table::Owners, &mut |key, value| {
            rows += 1;
            let row = writer::read(value).filter(|(at_s, _)| *at_s >= oldest_s);
            let (Ok(id), Some((at_s, name))) = (Uuid::from_slice(key), row) else {
                surplus = true;
                return;
            };
            if let Some(name) = self.names.number(name) {
                self.table.insert(id, Row { name, lasting: true, at_s, app: AppTag::default() });
            }
        });
        if let Err(error) = loaded {
            tracing::error!("the owners of ids are found anew: {error}");
            self.progress.error.store(Some(Arc::new(error.to_string())));
        }
        surplus || rows > self.limits.max_entries
    }

    /// The owner of an id, and a note of its use. `now_s` as [`now_s`] gives it.
    pub fn owner_of(&self, id: Uuid, now_s: u32) -> Option<InstanceName> {
        let row = self.table.get(id)?;
        if row.at_s < self.limits.oldest_s(now_s) {
            return None;
        }
        let owner = self.names.get(row.name)?;
        // A clock that went back notes nothing until it has caught up.
        if now_s.saturating_sub(row.at_s) >= TOUCH_S
            && self.table.touch(id, row, now_s)
            && row.lasting
            && row.at_s / DAY_S != now_s / DAY_S
        {
            self.note(WriteCommand::Row(id, Some((owner.clone(), now_s))), now_s);
        }
        Some(owner)
    }

    /// An instance has shown that it owns an id.
    #[cfg(test)]
    pub(super) fn learn(&self, id: Uuid, owner: &InstanceName, lasting: Durability, now_s: u32) {
        self.learn_all([(id, lasting)], owner, AppTag::default(), now_s);
    }

    /// An instance has shown in an answer to a request of an app that it owns these ids.
    pub fn learn_all(
        &self,
        ids: impl IntoIterator<Item = (Uuid, Durability)>,
        owner: &InstanceName,
        app: AppTag,
        now_s: u32,
    ) {
        let Some(name) = self.names.number(owner.as_str()) else { return };
        for (id, lasting) in ids {
            let row = Row { name, lasting: lasting == Durability::Durable, at_s: now_s, app };
            self.learn_of(id, owner, row);
        }
    }

    fn learn_of(&self, id: Uuid, owner: &InstanceName, row: Row) {
        let Row { name, lasting, at_s: now_s, .. } = row;
        let old = self.table.insert(id, row);
        let same = old.filter(|old| (old.name, old.lasting) == (name, lasting));
        if same.is_none() {
            self.learned.add_one();
        }
        if lasting && same.is_none_or(|old| old.at_s / DAY_S != now_s / DAY_S) {
            self.note(WriteCommand::Row(id, Some((owner.clone(), now_s))), now_s);
        }
    }

    /// The instance that was known as an id's owner does not have it (any more).
    pub fn forget(&self, id: Uuid, now_s: u32) {
        if self.table.remove(id).is_some_and(|row| row.lasting) {
            self.note(WriteCommand::Row(id, None), now_s);
        }
    }

    /// What is known, and how the store does.
    pub fn stats(&self) -> OwnersStats {
        OwnersStats {
            known: self.table.len(),
            learned: self.learned.get(),
            asked_around: self.asked_around.get(),
            dropped: self.progress.dropped.get(),
            store_kind: self.store_kind,
            store_path: self.store_path.clone(),
            warning: self.warning.clone(),
            error: self.progress.error.load().as_deref().cloned(),
            pending: self.progress.pending.get(),
            written: self.progress.written.get(),
        }
    }

    /// Writes what waits and closes the store. Blocks, for 10 s at most; nothing is written
    /// afterwards.
    pub fn finish(&self) {
        let Some(notes) = &self.notes else { return };
        let (reply, done) = sync_channel(1);
        if notes.send(WriteCommand::Finish(reply)).is_ok()
            && done.recv_timeout(LAST_COMMIT).is_err()
        {
            tracing::error!("the store was not closed in time: some owners are found anew");
        }
    }

    /// Hands a change to the writer, or drops it: a request does not wait for the store.
    fn note(&self, note: WriteCommand, now_s: u32) {
        let Some(notes) = &self.notes else { return };
        let Err(error) = notes.try_send(note) else { return };
        self.progress.dropped.add_one();
        let warned_s = self.warned_s.load(Ordering::Relaxed);
        let order = (Ordering::Relaxed, Ordering::Relaxed);
        if now_s.abs_diff(warned_s) >= 60
            && self.warned_s.compare_exchange(warned_s, now_s, order.0, order.1).is_ok()
        {
            let why = match error {
                TrySendError::Full(_) => "too many wait",
                TrySendError::Disconnected(_) => "the writer has ended",
            };
            tracing::warn!("the owner of an id is not stored: {why}");
        }
    }
}
