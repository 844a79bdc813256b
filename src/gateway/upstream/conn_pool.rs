//! Connections to instances.
//!
//! Dify's server closes an idle connection after exactly 2.0 s and gives each open one, idle or
//! busy, one of its few slots. So a connection of ours holds a [`Slot`] for as long as it is open,
//! is dropped after [`Timeouts::upstream_idle`], and is given up at once when somebody waits for the slot.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, timeout};

use crate::gateway::http::h1::io_buffers::IoBuffers;
use crate::gateway::http::limits::Timeouts;
use crate::gateway::state::instance::{IdleGuard, Instance};
use crate::gateway::state::member::Member;
use crate::gateway::state::shared::Shared;
use crate::gateway::state::slots::Slot;
use crate::gateway::upstream::attempt_error::{AttemptError, Sent};
use crate::gateway::upstream::dial::dial;
use crate::gateway::upstream::h1::{Connection, H1Body};
use crate::model::Reason;

/// By then an idle connection of another worker has given way, if there was one.
const GIVING_WAY: Duration = Duration::from_millis(20);

/// A worker's connections to instances.
pub(crate) struct ConnectionPool {
    shared: Arc<Shared>,
    /// By instance. Sorted: hashing a number so that nobody can guess where it goes costs more than
    /// finding it, and nobody chooses these.
    idle: RefCell<BTreeMap<u64, IdleList>>,
    buffers: IoBuffers,
}

struct IdleList {
    instance: Arc<Instance>,
    /// The connection used last is used next, so that the others can go.
    list: Vec<IdleConnection>,
}

struct IdleConnection {
    connection: Box<Connection>,
    since_ms: u64,
    _mark: IdleGuard,
}

impl IdleConnection {
    fn is_fit(&self, now_ms: u64, limit: Duration) -> bool {
        let idle = Duration::from_millis(now_ms.saturating_sub(self.since_ms));
        self.connection.is_fit() && idle < limit
    }
}

impl ConnectionPool {
    /// None yet; they read and write by way of `buffers`.
    pub(crate) fn new(shared: Arc<Shared>, buffers: IoBuffers) -> Self {
        Self { shared, idle: RefCell::default(), buffers }
    }

    /// An idle connection to a member's instance, if there is one.
    pub(crate) fn reuse(
        &self,
        member: &Member,
        timeouts: &Timeouts,
        now: Instant,
    ) -> Option<PooledConnection> {
        let now_ms = self.shared.ms_at(now.into_std());
        let connection = self.take(&member.instance, now_ms, timeouts.upstream_idle)?;
        Some(PooledConnection { connection, reused: true })
    }

    /// A new connection to a member's instance, waiting for a slot within the queue's limits.
    ///
    /// # Errors
    /// The queue is full or too slow ([`Reason::Busy`]), or connecting failed.
    pub(crate) async fn lease(
        &self,
        member: &Member,
        timeouts: &Timeouts,
        wanted: Reuse,
    ) -> Result<PooledConnection, AttemptError> {
        let instance = &member.instance;
        if wanted == Reuse::Fresh {
            self.forget(instance);
        }
        let slot = match instance.slots().try_take() {
            Some(slot) => slot,
            None => self.wait_for_slot(member).await?,
        };
        let opened =
            timeout(timeouts.connect, self.open(instance, slot)).await.unwrap_or_else(|_| {
                let waited = timeouts.connect.as_secs_f64();
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {waited} s"),
                ))
            });
        match opened {
            Ok(connection) => Ok(PooledConnection { connection, reused: false }),
            Err(error) => Err(AttemptError {
                reason: Reason::ConnectFailed,
                sent: Sent::Nothing,
                text: format!("cannot connect to {}: {error}", instance.address()),
            }),
        }
    }

    async fn open(&self, instance: &Instance, slot: Slot) -> io::Result<Box<Connection>> {
        let stream = dial(instance).await?;
        Ok(Box::new(Connection::new(stream, self.buffers.clone()).with_slot(slot)))
    }

    async fn wait_for_slot(&self, member: &Member) -> Result<Slot, AttemptError> {
        let busy = |text: String| AttemptError { reason: Reason::Busy, sent: Sent::Nothing, text };
        let (slots, name) = (member.instance.slots(), &member.name());
        let limit = slots.limit();
        let began = Instant::now();
        let Some(_queued) = member.instance.enter_queue(member.queue.size) else {
            member.instance.count_queued();
            let size = member.queue.size;
            return Err(busy(format!(
                "all {limit} slots of {name} are taken and {size} requests wait"
            )));
        };
        self.shared.ask_for_slots();
        let taken = timeout(member.queue.timeout, slots.take()).await;
        if began.elapsed() >= GIVING_WAY {
            member.instance.count_queued();
        }
        match taken {
            Ok(Some(slot)) => Ok(slot),
            Ok(None) | Err(_) => {
                let waited = member.queue.timeout.as_secs_f64();
                Err(busy(format!("all {limit} slots of {name} stayed taken for {waited} s")))
            }
        }
    }

    /// An open connection to an instance, if there is one.
    fn take(&self, instance: &Instance, now_ms: u64, limit: Duration) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let list = &mut idle.get_mut(&instance.id())?.list;
        while let Some(connection) = list.pop() {
            if connection.is_fit(now_ms, limit) {
                return Some(connection.connection);
            }
        }
        None
    }

    /// Keeps a connection whose response has been read to its end, unless its slot is wanted.
    pub(crate) fn put(&self, instance: &Arc<Instance>, connection: Box<Connection>) {
        if !connection.is_fit() || instance.waiting() > 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let entry = idle
            .entry(instance.id())
            .or_insert_with(|| IdleList { instance: Arc::clone(instance), list: Vec::new() });
        let mark = instance.mark_idle();
        let since_ms = self.shared.now_ms();
        entry.list.push(IdleConnection { connection, since_ms, _mark: mark });
    }

    /// Drops all idle connections to an instance: one of them was found dead.
    fn forget(&self, instance: &Instance) {
        self.idle.borrow_mut().remove(&instance.id());
    }

    /// Drops what has been idle for `limit`.
    pub(crate) fn drop_idle(&self, limit: Duration) {
        let now_ms = self.shared.now_ms();
        self.idle.borrow_mut().retain(|_, idle| {
            idle.list.retain(|connection| connection.is_fit(now_ms, limit));
            !idle.list.is_empty()
        });
    }

    /// Drops as many idle connections to each instance as requests wait for one.
    pub(crate) fn make_room(&self) {
        for idle in self.idle.borrow_mut().values_mut() {
            let keep = idle.list.len().saturating_sub(idle.instance.waiting() as usize);
            idle.list.truncate(keep);
        }
    }
}

/// A response's body as it comes, and what it comes on.
pub(crate) enum UpstreamBody {
    /// Nothing of it has been read.
    Coming(H1Body),
    /// The first pieces have been read already.
    Prefixed(Box<Prefixed>),
}

/// A body of which the first pieces have been read: they come first.
pub(crate) struct Prefixed {
    pieces: VecDeque<Bytes>,
    rest: UpstreamBody,
}

impl UpstreamBody {
    /// The body with pieces of it that were read already put back.
    pub(crate) fn with_first(self, pieces: VecDeque<Bytes>) -> Self {
        match pieces.is_empty() {
            true => self,
            false => Self::Prefixed(Box::new(Prefixed { pieces, rest: self })),
        }
    }

    /// The connection, once the response has been read to its end, if it can carry another request.
    pub(crate) fn into_connection(self) -> Option<Box<Connection>> {
        match self {
            Self::Coming(answering) => answering.into_connection(),
            Self::Prefixed(prefixed) => prefixed.rest.into_connection(),
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Coming(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Prefixed(prefixed) => match prefixed.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => Pin::new(&mut prefixed.rest).poll_frame(context),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Coming(body) => body.is_end_stream(),
            Self::Prefixed(prefixed) => prefixed.pieces.is_empty() && prefixed.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Coming(body) => body.size_hint(),
            // Only streams are read before they are passed on, and those have no length.
            Self::Prefixed(_) => SizeHint::new(),
        }
    }
}

/// A connection ready for one request.
pub(crate) struct PooledConnection {
    pub connection: Box<Connection>,
    /// It has carried a request before, so the other side may have closed it by now.
    pub reused: bool,
}

/// Whether a connection that was used before will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// An idle one, else a fresh one.
    Any,
    /// A fresh one: an idle one has just been found dead.
    Fresh,
}
