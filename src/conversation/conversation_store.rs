//! The handle by which all workers use the store of conversations.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::codec::Conversation;
use super::lookup::{AnswerMatch, ConversationMatch, TranscriptMatch};
use super::pending_turn::{PendingTurn, TranscriptQuery};
use super::store_failure::StoreDown;
use super::store_thread::{Command, Reply, StoreProgress, StoreThread};
use super::transcript_digest::{Thread, Turn};
use super::write_op::{EndedTurn, WriteOp};
use crate::model::OnStoreFailure;
use crate::store::Store;
use crate::store::{Retention, now_s};

/// How many questions and changes wait for the store's thread; more wait in their tasks.
const QUEUE: usize = 4096;

/// How long the end waits for the last commit.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// A turn that ended as it should.
#[derive(Clone, Debug)]
pub struct FinishedTurn<'a> {
    /// Whose turn it was, what was before it, and what the client asked.
    pub pending: PendingTurn,
    /// Dify's conversation, new or resumed.
    pub conversation: Uuid,
    /// What the client was given.
    pub assistant: &'a str,
    /// Dify's id of the answer.
    pub message: Option<Uuid>,
}

/// How the store is doing.
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

/// All conversations that are known. Shared by all workers.
#[derive(Debug)]
pub struct ConversationStore {
    pub(super) commands: mpsc::Sender<Command>,
    progress: Arc<StoreProgress>,
    policy: OnStoreFailure,
    kind: &'static str,
    place: Option<String>,
    warning: Option<String>,
    /// Held while the whole store is read: that is done once at a time.
    pub(super) scans: Semaphore,
}

impl ConversationStore {
    /// Starts the thread that keeps the store. `warning` is what was wrong when the store was opened;
    /// it goes to the status.
    ///
    /// # Errors
    /// The thread cannot be started. A store that fails is no error.
    pub fn start(
        store: Arc<dyn Store>,
        warning: Option<String>,
        limits: Retention,
        policy: OnStoreFailure,
    ) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let progress = Arc::new(StoreProgress::default());
        let (kind, place) = (store.kind(), store.place());
        let store_thread = StoreThread {
            store,
            commands: receiver,
            progress: Arc::clone(&progress),
            limits,
            policy,
            key: None,
            kept: VecDeque::new(),
            rest_until: None,
        };
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let run = move || store_thread.run(&runtime);
        thread::Builder::new().name("conversations".to_owned()).spawn(run)?;
        let scans = Semaphore::new(1);
        Ok(Self { commands, progress, policy, kind, place, warning, scans })
    }

    /// The conversation that goes on where the transcript ends.
    ///
    /// # Errors
    /// The store fails, and the policy is to refuse.
    pub async fn find(&self, sought: TranscriptQuery) -> Result<TranscriptMatch, StoreDown> {
        let Some(transcript) = sought.0 else {
            let error = self.progress.error.load();
            return match error.as_deref() {
                Some(error) if self.policy == OnStoreFailure::Refuse => {
                    Err(StoreDown(error.clone()))
                }
                _ => Ok(TranscriptMatch::New),
            };
        };
        self.send(|reply| Command::Find(transcript, reply), TranscriptMatch::Unknown).await
    }

    /// The conversation that a client names.
    ///
    /// # Errors
    /// As of [`ConversationStore::find`].
    pub async fn by_id(&self, thread: &Thread, id: Uuid) -> Result<ConversationMatch, StoreDown> {
        self.send(|reply| Command::ById(thread.clone(), id, reply), ConversationMatch::Unknown)
            .await
    }

    /// The conversation whose answer a client names by Dify's id of the message.
    ///
    /// # Errors
    /// As of [`ConversationStore::find`].
    pub async fn by_answer(
        &self,
        thread: &Thread,
        message: Uuid,
    ) -> Result<AnswerMatch, StoreDown> {
        self.send(|reply| Command::ByAnswer(thread.clone(), message, reply), AnswerMatch::Unknown)
            .await
    }

    /// Notes that a turn begins in a conversation that was found. False: it has gone on since, or a
    /// turn is under way, and the caller begins a new conversation. A turn that is not finished or
    /// released leaves a conversation that is never resumed.
    ///
    /// # Errors
    /// As of [`ConversationStore::find`].
    pub async fn begin(&self, conversation: &Conversation) -> Result<bool, StoreDown> {
        self.write(WriteOp::Begin(conversation.clone()), false).await
    }

    /// Finds out whether what a new conversation comes to can be stored, before it is begun. Where turns go
    /// on in any case, nobody has to know.
    ///
    /// # Errors
    /// As of [`ConversationStore::find`].
    pub async fn check(&self) -> Result<(), StoreDown> {
        match self.policy {
            OnStoreFailure::Continue => Ok(()),
            OnStoreFailure::Refuse => self.write(WriteOp::Check, true).await.map(|_| ()),
        }
    }

    /// Notes that a turn has ended, of a conversation that is new or was begun. Durable when it
    /// returns.
    ///
    /// # Errors
    /// As of [`ConversationStore::find`]; nothing was stored then.
    pub async fn finish(&self, finished: FinishedTurn<'_>) -> Result<(), StoreDown> {
        let FinishedTurn { pending, conversation, assistant, message } = finished;
        let PendingTurn { thread, root, tail, ending } = pending;
        let answer = Turn::assistant(assistant);
        let ended = EndedTurn {
            thread,
            root,
            tail: tail.and(&answer),
            ending: Some(ending.and(&answer)),
            conversation,
            message,
            at_s: now_s(),
        };
        self.write(WriteOp::Finish(Box::new(ended)), true).await.map(|_| ())
    }

    /// Notes that a turn that was begun did not take place: Dify has done nothing.
    ///
    /// # Errors
    /// As of [`ConversationStore::find`].
    pub async fn release(&self, conversation: &Conversation) -> Result<(), StoreDown> {
        self.write(WriteOp::Release(conversation.clone()), true).await.map(|_| ())
    }

    /// Notes that Dify does not have a conversation (any more).
    ///
    /// # Errors
    /// As of [`ConversationStore::find`].
    pub async fn forget(&self, id: Uuid) -> Result<(), StoreDown> {
        self.write(WriteOp::Forget(id), true).await.map(|_| ())
    }

    /// How the store is doing.
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
        let asked = self.commands.send(Command::Close(closed)).await;
        if asked.is_ok() && timeout(LAST_COMMIT, done).await.is_err() {
            tracing::error!("the store was not closed in time: some conversations begin anew");
        }
    }

    async fn write(&self, write: WriteOp, without: bool) -> Result<bool, StoreDown> {
        self.send(|reply| Command::WriteOp(write, reply), without).await
    }

    /// Asks the thread. Where it has ended, the store is like a store that fails.
    async fn send<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
        without: T,
    ) -> Result<T, StoreDown> {
        let (reply, answer) = oneshot::channel();
        // What could not be sent is dropped here, and with it the other end of `answer`.
        drop(self.commands.send(command(reply)).await);
        match (answer.await, self.policy) {
            (Ok(answer), _) => answer,
            (Err(_), OnStoreFailure::Continue) => Ok(without),
            (Err(_), OnStoreFailure::Refuse) => Err(StoreDown("it is closed".to_owned())),
        }
    }
}
