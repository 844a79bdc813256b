//! The one thread that writes owners to the store: behind the requests, in groups.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use uuid::Uuid;

use crate::model::InstanceName;
use crate::store::{Change, Store, StoreError, Table};
use crate::store::{Retention, now_s};
use crate::telemetry::{Counter, Gauge};

/// How long changes are gathered before they are committed.
const GATHER: Duration = Duration::from_millis(50);

/// How long the queue is left alone after it was emptied.
const REST: Duration = Duration::from_millis(20);

/// How many changes are committed at once without waiting.
const FULL: usize = 4096;

/// How many changes are kept while the store fails; what comes then is dropped.
const MOST: usize = 65_536;

/// How long the writer waits after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// How often rows that are too old are looked for.
const PRUNE: Duration = Duration::from_secs(6 * 3600);

pub(super) enum WriteCommand {
    /// An id has an owner since a second, or no more.
    Row(Uuid, Option<(InstanceName, u32)>),
    /// Commit, let go of the store, say so, and end.
    Finish(SyncSender<()>),
}

#[derive(Debug, Default)]
pub(super) struct WriterProgress {
    /// Changes that wait for a commit.
    pub(super) pending: Gauge,
    pub(super) written: Counter,
    /// Changes that will never be committed.
    pub(super) dropped: Counter,
    /// Why the store fails, while it does.
    pub(super) error: ArcSwapOption<String>,
}

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) notes: Receiver<WriteCommand>,
    pub(super) progress: Arc<WriterProgress>,
    pub(super) limits: Retention,
    /// Rows wait to be removed since the start.
    pub(super) prune_first: bool,
}

impl Writer {
    /// Writes until it is told to finish, or nobody can tell it any more.
    pub(super) fn run(self) {
        let mut batch = HashMap::new();
        let mut due: Option<Instant> = None;
        if self.prune_first {
            self.report(self.prune(now_s()));
        }
        let mut prune_at = Instant::now() + PRUNE;
        let mut since_prune = 0;
        loop {
            let wake = due.map_or(prune_at, |due| due.min(prune_at));
            match self.take(&mut batch, wake) {
                Taken::Nothing => {}
                Taken::Rows => {
                    due.get_or_insert_with(|| Instant::now() + GATHER);
                    // While nobody waits in the queue, a worker that adds to it wakes nobody.
                    thread::park_timeout(REST);
                }
                Taken::End(reply) => {
                    self.commit(&mut batch);
                    // The file is free for another process before anybody hears of it.
                    drop(self);
                    if let Some(reply) = reply {
                        let _ = reply.send(());
                    }
                    return;
                }
            }
            let failing = self.progress.error.load().is_some();
            if due.is_some_and(|due| due <= Instant::now()) || (batch.len() >= FULL && !failing) {
                since_prune += batch.len();
                let done = self.commit(&mut batch);
                due = if done { None } else { Some(Instant::now() + RETRY) };
            }
            if prune_at <= Instant::now() || since_prune > self.limits.max_entries / 4 {
                self.report(self.prune(now_s()));
                (prune_at, since_prune) = (Instant::now() + PRUNE, 0);
            }
        }
    }

    /// Waits for the first note until `wake`, and takes what else is there.
    fn take(&self, batch: &mut Batch, wake: Instant) -> Taken {
        let mut taken = Taken::Nothing;
        let mut note = match self.notes.recv_timeout(wake.saturating_duration_since(Instant::now()))
        {
            Ok(note) => Some(note),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Taken::End(None),
        };
        while let Some(next) = note.take() {
            match next {
                WriteCommand::Row(id, row) => self.add(batch, id, row),
                WriteCommand::Finish(reply) => return Taken::End(Some(reply)),
            }
            taken = Taken::Rows;
            if batch.len() < FULL {
                note = self.notes.try_recv().ok();
            }
        }
        taken
    }

    fn add(&self, batch: &mut Batch, id: Uuid, row: Option<(InstanceName, u32)>) {
        if batch.len() >= MOST && !batch.contains_key(&id) {
            self.progress.dropped.add_one();
        } else if batch.insert(id, row).is_none() {
            self.progress.pending.rise();
        }
    }

    /// Commits the batch; false if it has to wait.
    fn commit(&self, batch: &mut Batch) -> bool {
        if batch.is_empty() {
            return true;
        }
        let changes: Vec<_> = batch.iter().map(|(id, row)| change(*id, row.as_ref())).collect();
        let done = self.report(self.store.commit(&changes));
        if done {
            self.progress.written.add(batch.len() as u64);
            batch.drain().for_each(|_| self.progress.pending.fall());
        }
        done
    }

    /// Removes rows that are too old, and the oldest of too many.
    fn prune(&self, now_s: u32) -> Result<(), StoreError> {
        let mut oldest = self.limits.oldest_s(now_s);
        let mut times = Vec::new();
        self.store.load(Table::Owners, &mut |_, value| {
            times.extend(read(value).map(|(at_s, _)| at_s).filter(|at_s| *at_s >= oldest));
        })?;
        let surplus = times.len().saturating_sub(self.limits.max_entries);
        if surplus > 0 {
            oldest = oldest.max(*times.select_nth_unstable(surplus).1);
        }
        drop(times);
        let mut old = Vec::new();
        self.store.load(Table::Owners, &mut |key, value| {
            if read(value).is_none_or(|(at_s, _)| at_s < oldest) {
                old.push(Change { table: Table::Owners, key: key.to_vec(), value: None });
            }
        })?;
        old.chunks(FULL).try_for_each(|changes| self.store.commit(changes))
    }

    /// Notes how the store does, and says so once when that changes.
    fn report(&self, done: Result<(), StoreError>) -> bool {
        let error = &self.progress.error;
        match done {
            Ok(()) => {
                if error.swap(None).is_some() {
                    tracing::info!("the store works again");
                }
                true
            }
            Err(why) => {
                let why = why.to_string();
                if error.swap(Some(Arc::new(why.clone()))).is_none() {
                    tracing::error!("owners are not stored: {why}; it is tried again each second");
                }
                false
            }
        }
    }
}

enum Taken {
    Nothing,
    Rows,
    /// The last note; who wants to know when its work is done.
    End(Option<SyncSender<()>>),
}

type Batch = HashMap<Uuid, Option<(InstanceName, u32)>>;

fn change(id: Uuid, row: Option<&(InstanceName, u32)>) -> Change {
    let value = row.map(|(name, at_s)| [&at_s.to_be_bytes(), name.as_str().as_bytes()].concat());
    Change { table: Table::Owners, key: id.as_bytes().to_vec(), value }
}

/// A row's value: four bytes of seconds since 1970, and the owner's name.
pub(super) fn read(value: &[u8]) -> Option<(u32, &str)> {
    let (at_s, name) = value.split_first_chunk::<4>()?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    Some((u32::from_be_bytes(*at_s), name))
}
