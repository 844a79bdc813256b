//! The one thread that reads and writes the store: what waits is read together, written in one
//! commit, and answered after it.
//!
//! While the store fails nobody waits for it: for a second after each failure everything is answered
//! as the policy says, then the store is tried again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::expiry::ExpiryScan;
use super::lookup::{AnswerMatch, ConversationMatch, StoreView, Transcript, TranscriptMatch};
use super::store_failure::StoreDown;
use super::transcript_digest::{MacKey, Thread};
use super::write_op::{WriteOp, check};
use crate::model::OnStoreFailure;
use crate::store::{Change, Store, StoreError, Table};
use crate::store::{Retention, now_s};
use crate::telemetry::Counter;

/// How many questions and changes are taken at once.
const BATCH: usize = 256;

/// How many changes are kept while the store fails; then the oldest are lost.
const MOST_KEPT: usize = 10_000;

/// How long the store is left alone after a failure.
const REST: Duration = Duration::from_secs(1);

const COUNT: Duration = Duration::from_secs(5);

/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(6 * 3600);

/// How often the oldest of too many are looked for.
const SURPLUS: Duration = Duration::from_secs(60);

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreDown>>;

pub(super) enum Command {
    Find(Box<Transcript>, Reply<TranscriptMatch>),
    ById(Thread, Uuid, Reply<ConversationMatch>),
    ByAnswer(Thread, Uuid, Reply<AnswerMatch>),
    /// Whether the change could be made.
    WriteOp(WriteOp, Reply<bool>),
    /// The store, for work that takes long.
    Lend(Reply<(Arc<dyn Store>, MacKey)>),
    /// Write what is kept, let go of the store, say so, and end.
    Close(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
pub(super) struct StoreProgress {
    /// Conversations, as they were counted last.
    pub(super) rows: AtomicU64,
    /// Changes that wait for the store to work again.
    pub(super) pending: AtomicU64,
    pub(super) written: Counter,
    /// Changes that were lost, because too many waited.
    pub(super) dropped: Counter,
    /// Why the store fails, while it does.
    pub(super) error: ArcSwapOption<String>,
}

pub(super) struct StoreThread {
    pub(super) store: Arc<dyn Store>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) progress: Arc<StoreProgress>,
    pub(super) limits: Retention,
    pub(super) policy: OnStoreFailure,
    pub(super) key: Option<MacKey>,
    pub(super) kept: VecDeque<WriteOp>,
    pub(super) rest_until: Option<Instant>,
}

impl StoreThread {
    /// Works until it is told to close, or nobody can ask it any more.
    pub(super) fn run(mut self, runtime: &Runtime) {
        let mut sweep = Some(ExpiryScan::new(self.limits, now_s()));
        let mut count_at = Instant::now();
        let (mut sweep_at, mut surplus_at) = (count_at + SWEEP, count_at + SURPLUS);
        loop {
            let mut commands = Vec::with_capacity(BATCH);
            let patience = if sweep.is_some() && !self.rests() { Duration::ZERO } else { REST };
            let some = runtime.block_on(async {
                timeout(patience, self.commands.recv_many(&mut commands, BATCH)).await
            });
            if some == Ok(0) {
                break;
            }
            let close = self.take(commands);
            if let Some(closed) = close {
                self.write_kept();
                drop(self);
                // Whoever asked may have given up.
                let _ = closed.send(());
                return;
            }
            if self.rests() {
                continue;
            }
            if self.progress.error.load().is_some() || !self.kept.is_empty() {
                self.try_again();
                continue;
            }
            if let Some(done) = sweep.as_mut().map(|sweep| sweep.step(self.store.as_ref()))
                && self.noted(done) == Some(true)
            {
                sweep = None;
            }
            let now = Instant::now();
            if now >= count_at {
                count_at = now + COUNT;
                self.count();
            }
            let rows = self.progress.rows.load(Ordering::Relaxed);
            let surplus = self.limits.is_exceeded_by(rows) && now >= surplus_at;
            if sweep.is_none() && (now >= sweep_at || surplus) {
                (sweep_at, surplus_at) = (now + SWEEP, now + SURPLUS);
                sweep = Some(ExpiryScan::new(self.limits, now_s()));
            }
        }
        self.write_kept();
    }

    /// Answers what was asked. Gives back what has to be told when all is closed.
    fn take(&mut self, commands: Vec<Command>) -> Option<oneshot::Sender<()>> {
        let (mut writes, mut close) = (Vec::new(), None);
        let ready = !commands.is_empty() && !self.rests() && self.is_ready();
        for command in commands {
            match command {
                Command::Find(asked, reply) => {
                    let found = self.read(ready, |view| view.find(&asked));
                    answer(reply, found, self.policy, TranscriptMatch::Unknown);
                }
                Command::ById(thread, id, reply) => {
                    let found = self.read(ready, |view| view.by_id(&thread, id));
                    answer(reply, found, self.policy, ConversationMatch::Unknown);
                }
                Command::ByAnswer(thread, id, reply) => {
                    let found = self.read(ready, |view| view.by_answer(&thread, id));
                    answer(reply, found, self.policy, AnswerMatch::Unknown);
                }
                Command::WriteOp(write, reply) => writes.push((write, reply)),
                Command::Lend(reply) => {
                    let key = self.key.filter(|_| ready).ok_or_else(|| self.down());
                    let _ = reply.send(key.map(|key| (Arc::clone(&self.store), key)));
                }
                Command::Close(closed) => close = Some(closed),
            }
        }
        self.write(writes);
        close
    }

    /// Whether the store works. Writes what is kept first, so that nothing older is read.
    fn is_ready(&mut self) -> bool {
        if self.key.is_none() {
            let key = make_key(self.store.as_ref());
            self.key = self.noted(key);
        }
        self.key.is_some() && self.write_kept()
    }

    fn read<T>(
        &mut self,
        ready: bool,
        read: impl FnOnce(&StoreView<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreDown> {
        let read = match self.view() {
            Some(view) if ready && self.rest_until.is_none() => read(&view),
            _ => return Err(self.down()),
        };
        self.noted(read).ok_or_else(|| self.down())
    }

    /// The store as it can be read; `None` before there is a key.
    fn view(&self) -> Option<StoreView<'_>> {
        let oldest_s = self.limits.oldest_s(now_s());
        self.key.map(|key| StoreView { store: self.store.as_ref(), key, oldest_s })
    }

    fn write(&mut self, writes: Vec<(WriteOp, Reply<bool>)>) {
        if writes.is_empty() {
            return;
        }
        let (writes, replies): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        if let Some(done) = self.commit(&writes) {
            replies.into_iter().zip(done).for_each(|(reply, done)| {
                let _ = reply.send(Ok(done));
            });
            return;
        }
        for (write, reply) in writes.into_iter().zip(replies) {
            let begins = matches!(write, WriteOp::Begin(_));
            if self.policy == OnStoreFailure::Continue && !begins {
                self.keep(write);
            }
            // Who may not begin takes a new conversation.
            answer(reply, Err(self.down()), self.policy, !begins);
        }
    }

    /// Makes changes in one commit, and tells which could be made. `None`: the store fails.
    fn commit(&mut self, writes: &[WriteOp]) -> Option<Vec<bool>> {
        if self.rests() {
            return None;
        }
        let view = self.view()?;
        let now_s = now_s();
        let commit = || {
            let steps = writes.iter().map(|write| write.step(&view, now_s));
            let steps = steps.collect::<Result<Vec<_>, _>>()?;
            let some: Vec<_> = steps.iter().flatten().cloned().collect();
            let mut held =
                if some.is_empty() { Vec::new() } else { view.store.apply(&some)? }.into_iter();
            Ok(steps.iter().map(|step| step.is_some() && held.next() == Some(true)).collect())
        };
        let done: Result<Vec<bool>, StoreError> = commit();
        let done = self.noted(done)?;
        if done.contains(&true) {
            self.works();
        }
        self.progress.written.add(done.iter().filter(|done| **done).count() as u64);
        Some(done)
    }

    fn keep(&mut self, write: WriteOp) {
        self.kept.push_back(write);
        if self.kept.len() > MOST_KEPT {
            self.kept.pop_front();
            self.progress.dropped.add_one();
        }
        self.note_pending();
    }

    /// Tells whether nothing is kept any more.
    fn write_kept(&mut self) -> bool {
        while !self.kept.is_empty() {
            let some: Vec<_> = self.kept.iter().take(BATCH).cloned().collect();
            if self.commit(&some).is_none() {
                return false;
            }
            self.kept.drain(..some.len());
            self.note_pending();
        }
        true
    }

    fn note_pending(&self) {
        self.progress.pending.store(self.kept.len() as u64, Ordering::Relaxed);
    }

    fn count(&mut self) {
        let rows = self.store.count(Table::Conversations);
        if let Some(rows) = self.noted(rows) {
            self.progress.rows.store(rows, Ordering::Relaxed);
        }
    }

    fn rests(&mut self) -> bool {
        self.rest_until = self.rest_until.filter(|until| Instant::now() < *until);
        self.rest_until.is_some()
    }

    fn down(&self) -> StoreDown {
        StoreDown(self.progress.error.load().as_deref().cloned().unwrap_or_default())
    }

    /// Finds out whether the store works again. That a row can be read does not say so: a full disk
    /// can be read.
    fn try_again(&mut self) {
        if self.is_ready() && self.progress.error.load().is_some() {
            let done = self.store.commit(&[check()]);
            if self.noted(done).is_some() {
                self.works();
            }
        }
    }

    fn works(&self) {
        if self.progress.error.swap(None).is_some() {
            tracing::info!("the store of conversations works again");
        }
    }

    /// Notes a failure of the store, and says so when it begins, whatever else goes wrong until it works
    /// again: a full disk is told in many ways.
    fn noted<T>(&mut self, done: Result<T, StoreError>) -> Option<T> {
        let error = &self.progress.error;
        match done {
            Ok(done) => Some(done),
            Err(why) => {
                let why = why.to_string();
                if error.swap(Some(Arc::new(why.clone()))).is_none() {
                    tracing::error!(
                        "conversations are not stored: {why}; it is tried again each second"
                    );
                }
                self.rest_until = Some(Instant::now() + REST);
                None
            }
        }
    }
}

/// Answers, or does as the policy says. Whoever asked may have gone.
fn answer<T>(reply: Reply<T>, done: Result<T, StoreDown>, policy: OnStoreFailure, without: T) {
    let _ = reply.send(match (done, policy) {
        (Err(_), OnStoreFailure::Continue) => Ok(without),
        (done, _) => done,
    });
}

/// The key of all digests, which is made once for each store.
fn make_key(store: &dyn Store) -> Result<MacKey, StoreError> {
    const ROW: &[u8] = b"conversations";
    if let Some(row) = store.get(Table::Keys, ROW)? {
        return Ok(MacKey::read(&row));
    }
    let made = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    let change = Change { table: Table::Keys, key: ROW.to_vec(), value: Some(made.clone()) };
    store.swap(change, None)?;
    // Another gateway may have been faster.
    Ok(MacKey::read(&store.get(Table::Keys, ROW)?.unwrap_or(made)))
}
