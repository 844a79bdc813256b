//! Connections to instances.
//!
//! Dify's server closes an idle connection after exactly 2.0 s and gives each open one, idle or
//! busy, one of its few slots. So a connection of ours holds a [`Slot`] for as long as it is open,
//! is dropped after one idle second, and is given up at once when somebody waits for the slot.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

use crate::gateway::body::Replay;
use crate::gateway::dial::dial;
use crate::gateway::failure::{Failure, Sent};
use crate::gateway::http1::{Answering, Connection, Gear};
use crate::gateway::instance::{IdleMark, Instance, Slot};
use crate::gateway::member::Member;
use crate::gateway::shared::Shared;
use crate::gateway::snapshot::Timeouts;
use crate::model::Reason;

/// An idle connection older than this is not used again: half of what Dify's server allows.
const IDLE_MS: u64 = 1000;

/// By then an idle connection of another worker has given way, if there was one.
const GIVING_WAY: Duration = Duration::from_millis(20);

/// What a connection gathers of a request before it waits for the instance to take it, and the
/// longest head of an answer.
const BUFFER_BYTES: usize = 64 * 1024;

/// A worker's connections to instances.
pub(super) struct Connections {
    shared: Arc<Shared>,
    /// By instance. Sorted: hashing a number so that nobody can guess where it goes costs more than
    /// finding it, and nobody chooses these.
    idle: RefCell<BTreeMap<u64, Idle>>,
    gear: Option<Gear>,
}

struct Idle {
    instance: Arc<Instance>,
    /// The connection used last is used next, so that the others can go.
    list: Vec<IdleConnection>,
}

struct IdleConnection {
    wire: Wire,
    since_ms: u64,
    _mark: IdleMark,
}

impl IdleConnection {
    fn is_fit(&self, now_ms: u64) -> bool {
        self.wire.is_fit() && now_ms.saturating_sub(self.since_ms) < IDLE_MS
    }
}

impl Connections {
    /// None yet. With `gear` the gateway's own engine speaks, else hyper.
    pub(super) fn new(shared: Arc<Shared>, gear: Option<Gear>) -> Self {
        Self { shared, idle: RefCell::default(), gear }
    }

    /// An idle connection to a member's instance, if there is one.
    pub(super) fn reuse(&self, member: &Member, now: Instant) -> Option<Lease> {
        let now_ms = self.shared.ms_at(now.into_std());
        Some(Lease { wire: self.take(&member.instance, now_ms)?, reused: true })
    }

    /// A new connection to a member's instance, waiting for a slot within the queue's limits.
    ///
    /// # Errors
    /// The queue is full or too slow ([`Reason::Busy`]), or connecting failed.
    pub(super) async fn lease(
        &self,
        member: &Member,
        timeouts: &Timeouts,
        wanted: Wanted,
    ) -> Result<Lease, Failure> {
        let instance = &member.instance;
        if wanted == Wanted::Fresh {
            self.forget(instance);
        }
        let slot = match instance.slots().try_take() {
            Some(slot) => slot,
            None => self.wait_for_slot(member).await?,
        };
        let opened = timeout(timeouts.connect, open(instance, slot, self.gear.as_ref()))
            .await
            .unwrap_or_else(|_| {
                let waited = timeouts.connect.as_secs_f64();
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {waited} s"),
                ))
            });
        match opened {
            Ok(wire) => Ok(Lease { wire, reused: false }),
            Err(error) => Err(Failure {
                reason: Reason::ConnectFailed,
                sent: Sent::Nothing,
                text: format!("cannot connect to {}: {error}", instance.address()),
            }),
        }
    }

    async fn wait_for_slot(&self, member: &Member) -> Result<Slot, Failure> {
        let busy = |text: String| Failure { reason: Reason::Busy, sent: Sent::Nothing, text };
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
    fn take(&self, instance: &Instance, now_ms: u64) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        let list = &mut idle.get_mut(&instance.id())?.list;
        while let Some(connection) = list.pop() {
            if connection.is_fit(now_ms) {
                return Some(connection.wire);
            }
        }
        None
    }

    /// Keeps a connection whose answer has been read to its end, unless its slot is wanted.
    pub(super) fn put(&self, instance: &Arc<Instance>, wire: Wire) {
        if !wire.is_fit() || instance.waiting() > 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let entry = idle
            .entry(instance.id())
            .or_insert_with(|| Idle { instance: Arc::clone(instance), list: Vec::new() });
        let mark = instance.mark_idle();
        entry.list.push(IdleConnection { wire, since_ms: self.shared.now_ms(), _mark: mark });
    }

    /// Drops all idle connections to an instance: one of them was found dead.
    fn forget(&self, instance: &Instance) {
        self.idle.borrow_mut().remove(&instance.id());
    }

    /// Drops what has been idle for too long.
    pub(super) fn drop_idle(&self) {
        let now_ms = self.shared.now_ms();
        self.idle.borrow_mut().retain(|_, idle| {
            idle.list.retain(|connection| connection.is_fit(now_ms));
            !idle.list.is_empty()
        });
    }

    /// Drops as many idle connections to each instance as requests wait for one.
    pub(super) fn make_room(&self) {
        for idle in self.idle.borrow_mut().values_mut() {
            let keep = idle.list.len().saturating_sub(idle.instance.waiting() as usize);
            idle.list.truncate(keep);
        }
    }
}

/// An open connection to an instance, with its slot.
pub(super) enum Wire {
    /// hyper's handle on it; a task drives it.
    Hyper(SendRequest<Replay>),
    /// Of the gateway's own engine.
    Own(Box<Connection>),
}

impl Wire {
    /// Whether it can carry a request, as far as is known here.
    fn is_fit(&self) -> bool {
        match self {
            Self::Hyper(sender) => !sender.is_closed(),
            Self::Own(connection) => connection.is_fit(),
        }
    }
}

/// An answer's body as it comes, and what it comes on.
pub(super) enum Inflow {
    /// Read by hyper.
    Hyper(Incoming, SendRequest<Replay>),
    /// Read by the gateway's own engine.
    Own(Answering),
    /// The first pieces have been read already.
    Begun(Box<Begun>),
}

/// A body of which the first pieces have been read: they come first.
pub(super) struct Begun {
    pieces: VecDeque<Bytes>,
    rest: Inflow,
}

impl Inflow {
    /// The body with pieces of it that were read already put back.
    pub(super) fn with_first(self, pieces: VecDeque<Bytes>) -> Self {
        match pieces.is_empty() {
            true => self,
            false => Self::Begun(Box::new(Begun { pieces, rest: self })),
        }
    }

    /// The connection, once the answer has been read to its end, if it can carry another request.
    pub(super) fn into_wire(self) -> Option<Wire> {
        match self {
            Self::Hyper(_, sender) => Some(Wire::Hyper(sender)),
            Self::Own(answering) => answering.into_connection().map(Wire::Own),
            Self::Begun(begun) => begun.rest.into_wire(),
        }
    }
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Hyper(body, _) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Begun(begun) => match begun.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => Pin::new(&mut begun.rest).poll_frame(context),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body, _) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
            Self::Begun(begun) => begun.pieces.is_empty() && begun.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body, _) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
            // Only streams are read before they are passed on, and those have no length.
            Self::Begun(_) => SizeHint::new(),
        }
    }
}

/// A connection ready for one request.
pub(super) struct Lease {
    /// The way there.
    pub wire: Wire,
    /// It has carried a request before, so the other side may have closed it by now.
    pub reused: bool,
}

/// Whether a connection that was used before will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An idle one, else a fresh one.
    Any,
    /// A fresh one: an idle one has just been found dead.
    Fresh,
}

/// Connects. hyper drives its connection in a task that holds the slot.
async fn open(instance: &Instance, slot: Slot, gear: Option<&Gear>) -> io::Result<Wire> {
    let stream = dial(instance).await?;
    if let Some(gear) = gear {
        return Ok(Wire::Own(Box::new(Connection::new(stream, slot, gear.clone()))));
    }
    let handshake =
        http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(io::Error::other)?;
    spawn_local(async move {
        // A failure reaches whoever waits for the answer.
        let _ = connection.await;
        drop(slot);
    });
    Ok(Wire::Hyper(sender))
}
