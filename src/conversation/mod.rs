//! The book of conversations: which conversation of Dify a client's transcript continues.
//!
//! OpenAI and Anthropic clients send the whole transcript each time and name no conversation; Dify
//! keeps a conversation itself and wants the next question. A transcript is known by a keyed digest
//! of everybody's turns so far ([`Turn`]), within one key, app, user and chat ([`Thread`]). Where it
//! ends as a stored conversation does, that one is resumed; where it does not, the caller begins a
//! new one, so that a regenerated or edited answer never corrupts the old one.
//!
//! [`Book`] is a handle for all workers. Digests are made where they are asked for; one thread reads
//! and writes, and commits what waits together. What is acknowledged is durable. No text of any
//! message is stored.
//!
//! Limits: `conversations.max_entries` conversations, 16 times as many turns, answers and chats, all
//! for `conversations.max_age` after their last use; 10,000 changes while the store fails; names of
//! chats of 256 bytes, in place of longer ones stands a digest.
//!
//! Deliberately absent: waiting for a turn that is under way (the second one is a branch), and titles
//! or texts of conversations, which Dify has.

mod chain;
mod exchange;
mod keeper;
mod look;
mod pending;
mod row;
mod scan;
mod sweep;
mod write;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_down;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

pub use self::chain::{Digest, Role, Thread, Turn};
pub use self::exchange::{Exchanged, Header, ParseError, Parsed, parse};
pub use self::look::{Answered, Found, Known};
pub use self::pending::{Pending, Sought};
pub use self::row::{Conversation, State};
pub use self::scan::{Imported, Mappings, Slice};

use self::keeper::{Ask, Keeper, Progress, Reply};
use self::write::{Ended, Write};
pub use crate::model::OnStoreFailure;
use crate::store::Store;

/// How many questions and changes wait for the book's thread; more wait in their tasks.
const QUEUE: usize = 4096;

/// How long the end waits for the last commit.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Conversations at most.
    pub max_entries: usize,
    /// How long a conversation is known after its last turn.
    pub max_age: Duration,
}

impl Limits {
    /// What was used before this second since 1970 is too old.
    fn oldest_s(&self, now_s: u32) -> u32 {
        now_s.saturating_sub(u32::try_from(self.max_age.as_secs()).unwrap_or(u32::MAX))
    }

    /// Whether there are so many more that the oldest are to be taken out now.
    fn is_exceeded_by(&self, rows: u64) -> bool {
        usize::try_from(rows).unwrap_or(usize::MAX) > self.max_entries + self.max_entries / 64
    }
}

/// The store fails, and the policy is to refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of conversations fails: {0}")]
pub struct StoreDown(String);

/// A turn that ended as it should.
#[derive(Clone, Debug)]
pub struct Finished<'a> {
    /// Whose turn it was, what was before it, and what the client asked.
    pub pending: Pending,
    /// Dify's conversation, new or resumed.
    pub conversation: Uuid,
    /// What the client was given.
    pub assistant: &'a str,
    /// Dify's id of the answer.
    pub message: Option<Uuid>,
}

/// What was before a turn.
#[derive(Clone, Copy, Debug)]
pub enum Before<'a> {
    /// The transcript that the client sent, which may be empty.
    Transcript(&'a [Turn<'a>]),
    /// The client named the conversation of this tail, or its last answer, and sent no transcript.
    Named(Digest),
}

/// How the book is doing.
#[derive(Clone, Debug)]
pub struct Stats {
    /// `redb`, `redis` or `memory`.
    pub kind: &'static str,
    /// The store's file or address; `None` if nothing outlives the process.
    pub place: Option<String>,
    /// Conversations, counted within the last five seconds.
    pub rows: u64,
    /// Changes that wait for the store to work again.
    pub pending: u64,
    /// Changes committed.
    pub written: u64,
    /// Changes that were lost, because the store failed for too long.
    pub dropped: u64,
    /// What was wrong with the store at the start.
    pub warning: Option<String>,
    /// What is wrong with it now.
    pub error: Option<String>,
}

/// Seconds since 1970, as this room counts them; the year 2106 is the last.
pub fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// All conversations that are known. Shared by all workers.
#[derive(Debug)]
pub struct Book {
    asks: mpsc::Sender<Ask>,
    progress: Arc<Progress>,
    policy: OnStoreFailure,
    kind: &'static str,
    place: Option<String>,
    warning: Option<String>,
    /// Held while the whole book is read: that is done once at a time.
    scans: Semaphore,
}

impl Book {
    /// Starts the thread that keeps the book. `warning` is what was wrong when the store was opened;
    /// it goes to the status.
    ///
    /// # Errors
    /// The thread cannot be started. A store that fails is no error.
    pub fn start(
        store: Arc<dyn Store>,
        warning: Option<String>,
        limits: Limits,
        policy: OnStoreFailure,
    ) -> io::Result<Self> {
        let (asks, receiver) = mpsc::channel(QUEUE);
        let progress = Arc::new(Progress::default());
        let (kind, place) = (store.kind(), store.place());
        let keeper = Keeper {
            store,
            asks: receiver,
            progress: Arc::clone(&progress),
            limits,
            policy,
            key: None,
            kept: VecDeque::new(),
            rest_until: None,
        };
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let run = move || keeper.run(&runtime);
        thread::Builder::new().name("conversations".to_owned()).spawn(run)?;
        let scans = Semaphore::new(1);
        Ok(Self { asks, progress, policy, kind, place, warning, scans })
    }

    /// The conversation that goes on where the transcript ends.
    ///
    /// # Errors
    /// The store fails, and the policy is to refuse.
    pub async fn find(&self, sought: Sought) -> Result<Found, StoreDown> {
        let Some(transcript) = sought.0 else {
            let error = self.progress.error.load();
            return match error.as_deref() {
                Some(error) if self.policy == OnStoreFailure::Refuse => {
                    Err(StoreDown(error.clone()))
                }
                _ => Ok(Found::New),
            };
        };
        self.ask(|reply| Ask::Find(transcript, reply), Found::Unknown).await
    }

    /// The conversation that a client names.
    ///
    /// # Errors
    /// As of [`Book::find`].
    pub async fn by_id(&self, thread: &Thread, id: Uuid) -> Result<Known, StoreDown> {
        self.ask(|reply| Ask::ById(thread.clone(), id, reply), Known::Unknown).await
    }

    /// The conversation whose answer a client names by Dify's id of the message.
    ///
    /// # Errors
    /// As of [`Book::find`].
    pub async fn by_answer(&self, thread: &Thread, message: Uuid) -> Result<Answered, StoreDown> {
        self.ask(|reply| Ask::ByAnswer(thread.clone(), message, reply), Answered::Unknown).await
    }

    /// Notes that a turn begins in a conversation that was found. False: it has gone on since, or a
    /// turn is under way, and the caller begins a new conversation. A turn that is not finished or
    /// released leaves a conversation that is never resumed.
    ///
    /// # Errors
    /// As of [`Book::find`].
    pub async fn begin(&self, conversation: &Conversation) -> Result<bool, StoreDown> {
        self.write(Write::Begin(conversation.clone()), false).await
    }

    /// Finds out whether what a new conversation comes to can be stored, before it is begun. Where turns go
    /// on in any case, nobody has to know.
    ///
    /// # Errors
    /// As of [`Book::find`].
    pub async fn check(&self) -> Result<(), StoreDown> {
        match self.policy {
            OnStoreFailure::Continue => Ok(()),
            OnStoreFailure::Refuse => self.write(Write::Check, true).await.map(|_| ()),
        }
    }

    /// Notes that a turn has ended, of a conversation that is new or was begun. Durable when it
    /// returns.
    ///
    /// # Errors
    /// As of [`Book::find`]; nothing was stored then.
    pub async fn finish(&self, finished: Finished<'_>) -> Result<(), StoreDown> {
        let Finished { pending, conversation, assistant, message } = finished;
        let Pending { thread, root, tail, ending } = pending;
        let answer = Turn::assistant(assistant);
        let ended = Ended {
            thread,
            root,
            tail: tail.and(&answer),
            ending: Some(ending.and(&answer)),
            conversation,
            message,
            at_s: now_s(),
        };
        self.write(Write::Finish(Box::new(ended)), true).await.map(|_| ())
    }

    /// Notes that a turn that was begun did not take place: Dify has done nothing.
    ///
    /// # Errors
    /// As of [`Book::find`].
    pub async fn release(&self, conversation: &Conversation) -> Result<(), StoreDown> {
        self.write(Write::Release(conversation.clone()), true).await.map(|_| ())
    }

    /// Notes that Dify does not have a conversation (any more).
    ///
    /// # Errors
    /// As of [`Book::find`].
    pub async fn forget(&self, id: Uuid) -> Result<(), StoreDown> {
        self.write(Write::Forget(id), true).await.map(|_| ())
    }

    /// How the book is doing.
    pub fn stats(&self) -> Stats {
        Stats {
            kind: self.kind,
            place: self.place.clone(),
            rows: self.progress.rows.load(Ordering::Relaxed),
            pending: self.progress.pending.load(Ordering::Relaxed),
            written: self.progress.written.get(),
            dropped: self.progress.dropped.get(),
            warning: self.warning.clone(),
            error: self.progress.error.load().as_deref().cloned(),
        }
    }

    /// Writes what waits and closes the store, within 10 s; nothing is written afterwards.
    pub async fn close(&self) {
        let (closed, done) = oneshot::channel();
        let asked = self.asks.send(Ask::Close(closed)).await;
        if asked.is_ok() && timeout(LAST_COMMIT, done).await.is_err() {
            tracing::error!("the store was not closed in time: some conversations begin anew");
        }
    }

    async fn write(&self, write: Write, without: bool) -> Result<bool, StoreDown> {
        self.ask(|reply| Ask::Write(write, reply), without).await
    }

    /// Asks the thread. Where it has ended, the book is like a store that fails.
    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask, without: T) -> Result<T, StoreDown> {
        let (reply, answer) = oneshot::channel();
        // What could not be sent is dropped here, and with it the other end of `answer`.
        drop(self.asks.send(ask(reply)).await);
        match (answer.await, self.policy) {
            (Ok(answer), _) => answer,
            (Err(_), OnStoreFailure::Continue) => Ok(without),
            (Err(_), OnStoreFailure::Refuse) => Err(StoreDown("it is closed".to_owned())),
        }
    }
}
