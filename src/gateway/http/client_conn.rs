//! A client's connection: what it is doing, how long it may, and how it ends.
//!
//! A timer for each request costs more than the request's routing. So the connection only notes its phase, and the
//! worker's sweep, four times a second, ends those that stand still for too long.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::gateway::http::early_error::EarlyError;
use crate::gateway::http::limits::Timeouts;
use crate::gateway::http::read_rate::{Backlog, ReadRate};
use crate::model::Scheme;

/// For so long requests that a client took back are counted together.
const TAKEN_BACK_WITHIN_MS: u64 = 10_000;

/// After so long without a sign that it takes more, a client is offered more.
const PUSH_AFTER_MS: u64 = 250;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between requests, or before the first.
    Idle,
    /// The first byte of a head has come.
    Head,
    /// From the end of a head to the end of its response; with HTTP/2, while there is any such.
    Exchange,
}

/// Why a connection is to end from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The gateway drains: the request under way is the last.
    Drain,
    /// Nothing came for `timeouts.keep_alive`, or nothing moved for `timeouts.idle`.
    Idle,
    /// The head took longer than `timeouts.header`.
    HeaderTimeout,
    /// It takes back request after request.
    Abuse,
    /// The client took nothing of its response for `timeouts.write`, or less than
    /// `limits.min_answer_rate`.
    NotTaken,
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct ClientConn {
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// Its address as headers have it.
    pub peer_text: Rc<str>,
    scheme: Cell<Scheme>,
    phase: Cell<Phase>,
    /// Requests whose responses have not ended.
    exchanges: Cell<u32>,
    /// Requests that the client took back, and since when they are counted.
    taken_back: Cell<(u32, u64)>,
    /// The worker's coarse time at the start of the phase, or when bytes last moved in an exchange.
    since_ms: Cell<u64>,
    /// When it last took something of what waits for it; none: nothing waits.
    waits_since_ms: Cell<Option<u64>>,
    pace: Cell<ReadRate>,
    /// What waits is to be offered once more.
    push: Cell<bool>,
    ending: Cell<Option<CloseReason>>,
    waker: RefCell<Option<Waker>>,
    /// The body of the last request was refused unread.
    unread: Cell<bool>,
    /// The client speaks HTTP/1.0: a response of unknown length ends with the connection.
    ends_by_closing: Cell<bool>,
    cut: Cell<bool>,
    /// No request could be made of the head.
    fault: Cell<Option<EarlyError>>,
}

impl ClientConn {
    /// A connection that has just been accepted.
    pub(crate) fn new(peer: SocketAddr, now_ms: u64) -> Self {
        Self {
            peer,
            peer_text: peer.ip().to_canonical().to_string().into(),
            scheme: Cell::new(Scheme::Http),
            phase: Cell::new(Phase::Idle),
            exchanges: Cell::new(0),
            taken_back: Cell::new((0, now_ms)),
            since_ms: Cell::new(now_ms),
            waits_since_ms: Cell::new(None),
            pace: Cell::default(),
            push: Cell::new(false),
            ending: Cell::new(None),
            waker: RefCell::new(None),
            unread: Cell::new(false),
            ends_by_closing: Cell::new(false),
            cut: Cell::new(false),
            fault: Cell::new(None),
        }
    }

    pub(crate) fn begin_exchange(&self, now_ms: u64) {
        self.exchanges.set(self.exchanges.get() + 1);
        self.pace.set(ReadRate::default());
        self.enter(Phase::Exchange, now_ms);
    }

    pub(crate) fn end_exchange(&self, now_ms: u64) {
        self.exchanges.set(self.exchanges.get().saturating_sub(1));
        if self.exchanges.get() == 0 {
            self.enter(Phase::Idle, now_ms);
        }
    }

    pub(crate) fn speaks_tls(&self) {
        self.scheme.set(Scheme::Https);
    }

    /// How it speaks to the gateway.
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme.get()
    }

    /// It took back a request that had no response yet. More than `most` of them within
    /// [`TAKEN_BACK_WITHIN_MS`] end its connection.
    pub(crate) fn stream_reset(&self, now_ms: u64, most: u32) {
        let (count, since_ms) = match self.taken_back.get() {
            (count, since_ms) if now_ms.saturating_sub(since_ms) <= TAKEN_BACK_WITHIN_MS => {
                (count + 1, since_ms)
            }
            _ => (1, now_ms),
        };
        self.taken_back.set((count, since_ms));
        if count > most {
            self.end(CloseReason::Abuse);
        }
    }

    /// Bytes moved while requests are under way.
    pub(crate) fn moved(&self, now_ms: u64) {
        if self.phase.get() == Phase::Exchange {
            self.since_ms.set(now_ms);
        }
    }

    /// The response goes out although the request's body was not read to its end.
    pub(crate) fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// To this client, closing the connection means that the response is whole.
    pub(crate) fn ends_answers_by_closing(&self) {
        self.ends_by_closing.set(true);
    }

    /// The response under way broke off.
    pub(crate) fn answer_cut(&self) {
        self.cut.set(true);
    }

    /// Whether only a reset can show the client that its response is not whole.
    pub(crate) fn needs_reset(&self) -> bool {
        self.cut.get() && self.ends_by_closing.get()
    }

    /// Whether the last request's body was left unread.
    pub(crate) fn has_unread(&self) -> bool {
        self.unread.get()
    }

    /// Why the last head became no request, if it did not.
    pub(crate) fn early_error(&self) -> Option<EarlyError> {
        self.fault.get()
    }

    /// What the sweep finds: whether this connection's time is up. `min_rate` is in bytes per second.
    pub(crate) fn overdue(
        &self,
        timeouts: &Timeouts,
        min_rate: u64,
        now_ms: u64,
    ) -> Option<CloseReason> {
        if let Some(since_ms) = self.waits_since_ms.get() {
            let waited = Duration::from_millis(now_ms.saturating_sub(since_ms));
            let (pace, is_slow) = self.pace.get().judged(min_rate, timeouts.write, now_ms);
            self.pace.set(pace);
            if waited > timeouts.write || is_slow {
                return Some(CloseReason::NotTaken);
            }
        }
        let (limit, ending) = match self.phase.get() {
            Phase::Idle => (timeouts.keep_alive, CloseReason::Idle),
            Phase::Head => (timeouts.header, CloseReason::HeaderTimeout),
            // A response that has not begun may take longer than a pause within one, and what goes wrong on
            // the way is to be told.
            Phase::Exchange => {
                let response = timeouts.first_byte.max(timeouts.all_attempts);
                (timeouts.idle.max(response), CloseReason::Idle)
            }
        };
        let stood_still = Duration::from_millis(now_ms.saturating_sub(self.since_ms.get()));
        (stood_still > limit).then_some(ending)
    }

    pub(crate) fn end(&self, ending: CloseReason) {
        self.ending.set(Some(ending));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// What was asked, once; wakes the caller when something is.
    pub(crate) fn asked_to_end(&self, context: &Context<'_>) -> Option<CloseReason> {
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
    pub(crate) fn is_between_requests(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// The first bytes of a head are here.
    pub(crate) fn begin_head(&self, now_ms: u64) {
        self.enter(Phase::Head, now_ms);
    }

    pub(crate) fn head_refused(&self, fault: EarlyError) {
        self.fault.set(Some(fault));
    }

    /// So many bytes went out; whether more wait. The last ones of a response may leave after its end.
    pub(crate) fn sent(&self, bytes: usize, rest: Backlog, now_ms: u64) {
        if self.phase.get() != Phase::Head {
            self.since_ms.set(now_ms);
        }
        match (rest, self.waits_since_ms.get()) {
            (Backlog::Waits, Some(_)) if bytes == 0 => {}
            (Backlog::Waits, _) => {
                self.waits_since_ms.set(Some(now_ms));
                self.pace.set(self.pace.get().taken(bytes, now_ms));
            }
            (Backlog::None, Some(_)) => {
                self.waits_since_ms.set(None);
                self.pace.set(self.pace.get().taken(bytes, now_ms));
            }
            (Backlog::None, None) => {}
        }
    }

    /// Asks for what waits to be offered once more, if nothing was taken for a while: a system says late
    /// that it has room.
    pub(crate) fn push_on(&self, now_ms: u64) {
        let waits = self.waits_since_ms.get();
        if waits.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= PUSH_AFTER_MS) {
            self.push.set(true);
            if let Some(waker) = self.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    /// Whether what waits is to be offered once more; asked once.
    pub(crate) fn is_to_be_pushed(&self) -> bool {
        self.push.take()
    }

    /// It has all that there is for it so far, and is not to blame for the next pause.
    pub(crate) fn has_all(&self) {
        self.pace.set(ReadRate::default());
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::{Backlog, ClientConn, CloseReason, ReadRate};

    fn timeouts() -> crate::gateway::http::limits::Timeouts {
        crate::gateway::http::limits::Timeouts {
            connect: std::time::Duration::ZERO,
            first_byte_idempotent: std::time::Duration::ZERO,
            first_byte: std::time::Duration::from_secs(60),
            run_start: std::time::Duration::ZERO,
            all_attempts: std::time::Duration::ZERO,
            idle: std::time::Duration::from_secs(60),
            header: std::time::Duration::ZERO,
            body: std::time::Duration::ZERO,
            write: std::time::Duration::from_secs(60),
            keep_alive: std::time::Duration::from_secs(1),
            upstream_idle: std::time::Duration::from_secs(1),
        }
    }

    #[test]
    fn who_takes_back_too_many_requests_within_a_while_is_ended() {
        let client = ClientConn::new(([127, 0, 0, 1], 1).into(), 0);
        let context = Context::from_waker(Waker::noop());
        (0..10).for_each(|_| client.stream_reset(5_000, 10));
        // Another while.
        (0..10).for_each(|_| client.stream_reset(15_000, 10));
        assert_eq!(client.asked_to_end(&context), None);
        client.stream_reset(25_000, 10);
        assert_eq!(client.asked_to_end(&context), Some(CloseReason::Abuse));
    }

    #[test]
    fn a_connection_is_idle_when_none_of_its_requests_is_left() {
        let client = ClientConn::new(([127, 0, 0, 1], 1).into(), 0);
        let timeouts = timeouts();
        client.begin_exchange(0);
        client.begin_exchange(0);
        client.end_exchange(10);
        assert_eq!(client.overdue(&timeouts, 0, 5_000), None);
        client.end_exchange(5_000);
        assert_eq!(client.overdue(&timeouts, 0, 5_500), None);
        assert_eq!(client.overdue(&timeouts, 0, 6_500), Some(CloseReason::Idle));
    }

    #[test]
    fn who_waits_for_all_attempts_is_not_idle() {
        let client = ClientConn::new(([127, 0, 0, 1], 1).into(), 0);
        let short = Duration::from_secs(1);
        let all_attempts = Duration::from_secs(20);
        let mut timeouts = timeouts();
        (timeouts.idle, timeouts.first_byte, timeouts.all_attempts) = (short, short, all_attempts);
        client.begin_exchange(0);
        assert_eq!(client.overdue(&timeouts, 0, 19_000), None);
        assert_eq!(client.overdue(&timeouts, 0, 21_000), Some(CloseReason::Idle));
    }

    #[test]
    fn who_takes_nothing_is_ended_and_who_takes_a_byte_is_not() {
        let (client, timeouts) = (ClientConn::new(([127, 0, 0, 1], 1).into(), 0), timeouts());
        client.begin_exchange(0);
        client.sent(100, Backlog::Waits, 0);
        assert_eq!(client.overdue(&timeouts, 0, 60_000), None);
        client.sent(1, Backlog::Waits, 50_000);
        client.sent(0, Backlog::Waits, 110_000);
        assert_eq!(client.overdue(&timeouts, 0, 110_000), None);
        assert_eq!(client.overdue(&timeouts, 0, 110_001), Some(CloseReason::NotTaken));
        client.sent(1, Backlog::None, 110_002);
        assert_eq!(client.overdue(&timeouts, 0, 165_000), None);
        // Also when the request is over and only its last bytes wait.
        client.sent(1, Backlog::Waits, 165_000);
        client.end_exchange(165_000);
        assert_eq!(client.overdue(&timeouts, 0, 225_001), Some(CloseReason::NotTaken));
    }

    #[test]
    fn who_takes_too_little_over_a_window_is_ended_and_pauses_of_others_do_not_count() {
        let window = Duration::from_secs(30);
        let slow = ReadRate::default().taken(0, 0).taken(29_000, 10_000);
        assert!(!slow.judged(1000, window, 29_999).1);
        assert!(!slow.judged(0, window, 30_000).1);
        assert!(slow.judged(1000, window, 30_000).1);
        let (next, is_slow) = slow.taken(1000, 20_000).judged(1000, window, 30_000);
        assert_eq!((next.due_ms(window), is_slow), (Some(60_000), false));
        assert!(!ReadRate::default().judged(1000, window, u64::MAX).1);

        let (client, timeouts) = (ClientConn::new(([127, 0, 0, 1], 1).into(), 0), timeouts());
        client.begin_exchange(0);
        client.sent(0, Backlog::Waits, 0);
        client.sent(10, Backlog::None, 20_000);
        client.has_all();
        client.sent(0, Backlog::Waits, 40_000);
        assert_eq!(client.overdue(&timeouts, 10, 70_000), None);
        client.sent(599, Backlog::Waits, 80_000);
        assert_eq!(client.overdue(&timeouts, 10, 100_000), Some(CloseReason::NotTaken));
    }
}
