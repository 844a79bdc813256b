//! A client's connection: what it is doing, how long it may, and how it ends.
//!
//! A timer for each request costs more than the request's routing. So the connection only notes its phase, and the
//! worker's sweep, four times a second, ends those that stand still for too long.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::gateway::early_error::EarlyError;
use crate::gateway::snapshot::Timeouts;
use crate::model::Scheme;

/// For so long requests that a client took back are counted together.
const TAKEN_BACK_WITHIN_MS: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between requests, or before the first.
    Idle,
    /// The first byte of a head has come.
    Head,
    /// From the end of a head to the end of its answer; with HTTP/2, while there is any such.
    Exchange,
}

/// Why a connection is to end from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The gateway drains: the request under way is the last.
    Drain,
    /// Nothing came for `timeouts.keep_alive`, or nothing moved for `timeouts.idle`.
    Idle,
    /// The head took longer than `timeouts.header`.
    HeaderTimeout,
    /// It takes back request after request.
    Abuse,
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// Its address as headers have it.
    pub peer_text: Rc<str>,
    scheme: Cell<Scheme>,
    phase: Cell<Phase>,
    /// Requests whose answers have not ended.
    exchanges: Cell<u32>,
    /// Requests that the client took back, and since when they are counted.
    taken_back: Cell<(u32, u64)>,
    /// The worker's coarse time at the start of the phase, or when bytes last moved in an exchange.
    since_ms: Cell<u64>,
    ending: Cell<Option<Ending>>,
    waker: RefCell<Option<Waker>>,
    /// The body of the last request was refused unread.
    unread: Cell<bool>,
    /// The client speaks HTTP/1.0: an answer of unknown length ends with the connection.
    ends_by_closing: Cell<bool>,
    /// The last answer broke off.
    cut: Cell<bool>,
    /// No request could be made of the head.
    fault: Cell<Option<EarlyError>>,
}

impl Client {
    /// A connection that has just been accepted.
    pub(super) fn new(peer: SocketAddr, now_ms: u64) -> Self {
        Self {
            peer,
            peer_text: peer.ip().to_canonical().to_string().into(),
            scheme: Cell::new(Scheme::Http),
            phase: Cell::new(Phase::Idle),
            exchanges: Cell::new(0),
            taken_back: Cell::new((0, now_ms)),
            since_ms: Cell::new(now_ms),
            ending: Cell::new(None),
            waker: RefCell::new(None),
            unread: Cell::new(false),
            ends_by_closing: Cell::new(false),
            cut: Cell::new(false),
            fault: Cell::new(None),
        }
    }

    /// A head is complete.
    pub(super) fn begin_exchange(&self, now_ms: u64) {
        self.exchanges.set(self.exchanges.get() + 1);
        self.enter(Phase::Exchange, now_ms);
    }

    /// The answer is complete.
    pub(super) fn end_exchange(&self, now_ms: u64) {
        self.exchanges.set(self.exchanges.get().saturating_sub(1));
        if self.exchanges.get() == 0 {
            self.enter(Phase::Idle, now_ms);
        }
    }

    /// A TLS handshake begins.
    pub(super) fn speaks_tls(&self) {
        self.scheme.set(Scheme::Https);
    }

    /// How it speaks to the gateway.
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme.get()
    }

    /// It took back a request that had no answer yet. More than `most` of them within
    /// [`TAKEN_BACK_WITHIN_MS`] end its connection.
    pub(super) fn took_back(&self, now_ms: u64, most: u32) {
        let (count, since_ms) = match self.taken_back.get() {
            (count, since_ms) if now_ms.saturating_sub(since_ms) <= TAKEN_BACK_WITHIN_MS => {
                (count + 1, since_ms)
            }
            _ => (1, now_ms),
        };
        self.taken_back.set((count, since_ms));
        if count > most {
            self.end(Ending::Abuse);
        }
    }

    /// Bytes moved while requests are under way.
    pub(super) fn moved(&self, now_ms: u64) {
        if self.phase.get() == Phase::Exchange {
            self.since_ms.set(now_ms);
        }
    }

    /// The answer goes out although the request's body was not read to its end.
    pub(super) fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// To this client, closing the connection means that the answer is whole.
    pub(super) fn ends_answers_by_closing(&self) {
        self.ends_by_closing.set(true);
    }

    /// The answer under way broke off.
    pub(super) fn answer_cut(&self) {
        self.cut.set(true);
    }

    /// Whether only a reset can show the client that its answer is not whole.
    pub(super) fn needs_reset(&self) -> bool {
        self.cut.get() && self.ends_by_closing.get()
    }

    /// Whether the last request's body was left unread.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.get()
    }

    /// Why the last head became no request, if it did not.
    pub(super) fn early_error(&self) -> Option<EarlyError> {
        self.fault.get()
    }

    /// What the sweep finds: whether this connection's time is up.
    pub(super) fn overdue(&self, timeouts: &Timeouts, now_ms: u64) -> Option<Ending> {
        let (limit, ending) = match self.phase.get() {
            Phase::Idle => (timeouts.keep_alive, Ending::Idle),
            Phase::Head => (timeouts.header, Ending::HeaderTimeout),
            // An answer that has not begun may take longer than a pause within one.
            Phase::Exchange => (timeouts.idle.max(timeouts.first_byte), Ending::Idle),
        };
        let stood_still = Duration::from_millis(now_ms.saturating_sub(self.since_ms.get()));
        (stood_still > limit).then_some(ending)
    }

    /// Asks the connection to end.
    pub(super) fn end(&self, ending: Ending) {
        self.ending.set(Some(ending));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// What was asked, once; wakes the caller when something is.
    pub(super) fn asked_to_end(&self, context: &Context<'_>) -> Option<Ending> {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.ending.take()
    }

    fn enter(&self, phase: Phase, now_ms: u64) {
        self.phase.set(phase);
        self.since_ms.set(now_ms);
    }

    /// Whether no request is under way and no head has begun.
    pub(super) fn is_between_requests(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// The first bytes of a head are here.
    pub(super) fn begin_head(&self, now_ms: u64) {
        self.enter(Phase::Head, now_ms);
    }

    /// What came is no head.
    pub(super) fn head_refused(&self, fault: EarlyError) {
        self.fault.set(Some(fault));
    }

    /// Bytes went out. The last ones of an answer may leave after its end.
    pub(super) fn sent(&self, now_ms: u64) {
        if self.phase.get() != Phase::Head {
            self.since_ms.set(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::{Client, Ending};

    #[test]
    fn who_takes_back_too_many_requests_within_a_while_is_ended() {
        let client = Client::new(([127, 0, 0, 1], 1).into(), 0);
        let context = Context::from_waker(Waker::noop());
        (0..10).for_each(|_| client.took_back(5_000, 10));
        // Another while.
        (0..10).for_each(|_| client.took_back(15_000, 10));
        assert_eq!(client.asked_to_end(&context), None);
        client.took_back(25_000, 10);
        assert_eq!(client.asked_to_end(&context), Some(Ending::Abuse));
    }

    #[test]
    fn a_connection_is_idle_when_none_of_its_requests_is_left() {
        let client = Client::new(([127, 0, 0, 1], 1).into(), 0);
        let timeouts = crate::gateway::snapshot::Timeouts {
            connect: std::time::Duration::ZERO,
            first_byte_idempotent: std::time::Duration::ZERO,
            first_byte: std::time::Duration::from_secs(60),
            all_attempts: std::time::Duration::ZERO,
            idle: std::time::Duration::from_secs(60),
            header: std::time::Duration::ZERO,
            body: std::time::Duration::ZERO,
            keep_alive: std::time::Duration::from_secs(1),
        };
        client.begin_exchange(0);
        client.begin_exchange(0);
        client.end_exchange(10);
        assert_eq!(client.overdue(&timeouts, 5_000), None);
        client.end_exchange(5_000);
        assert_eq!(client.overdue(&timeouts, 5_500), None);
        assert_eq!(client.overdue(&timeouts, 6_500), Some(Ending::Idle));
    }
}
