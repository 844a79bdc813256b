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
    /// From the end of a head to the end of its answer; with HTTP/2, while there is any such.
    Exchange,
}

/// Why a connection is to end from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The gateway drains: the request under way is the last.
    Drain,
    /// Nothing came for `timeouts.keep_alive`, or nothing moved for `timeouts.idle`.
    Idle,
    /// The head took longer than `timeouts.header`.
    HeaderTimeout,
    /// It takes back request after request.
    Abuse,
    /// The client took nothing of its answer for `timeouts.write`, or less than
    /// `limits.min_answer_rate`.
    NotTaken,
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client {
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
    /// When it last took something of what waits for it; none: nothing waits.
    waits_since_ms: Cell<Option<u64>>,
    pace: Cell<Pace>,
    /// What waits is to be offered once more.
    push: Cell<bool>,
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

    /// A head is complete.
    pub(crate) fn begin_exchange(&self, now_ms: u64) {
        self.exchanges.set(self.exchanges.get() + 1);
        self.pace.set(Pace::default());
        self.enter(Phase::Exchange, now_ms);
    }

    /// The answer is complete.
    pub(crate) fn end_exchange(&self, now_ms: u64) {
        self.exchanges.set(self.exchanges.get().saturating_sub(1));
        if self.exchanges.get() == 0 {
            self.enter(Phase::Idle, now_ms);
        }
    }

    /// A TLS handshake begins.
    pub(crate) fn speaks_tls(&self) {
        self.scheme.set(Scheme::Https);
    }

    /// How it speaks to the gateway.
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme.get()
    }

    /// It took back a request that had no answer yet. More than `most` of them within
    /// [`TAKEN_BACK_WITHIN_MS`] end its connection.
    pub(crate) fn took_back(&self, now_ms: u64, most: u32) {
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
    pub(crate) fn moved(&self, now_ms: u64) {
        if self.phase.get() == Phase::Exchange {
            self.since_ms.set(now_ms);
        }
    }

    /// The answer goes out although the request's body was not read to its end.
    pub(crate) fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// To this client, closing the connection means that the answer is whole.
    pub(crate) fn ends_answers_by_closing(&self) {
        self.ends_by_closing.set(true);
    }

    /// The answer under way broke off.
    pub(crate) fn answer_cut(&self) {
        self.cut.set(true);
    }

    /// Whether only a reset can show the client that its answer is not whole.
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
    ) -> Option<Ending> {
        if let Some(since_ms) = self.waits_since_ms.get() {
            let waited = Duration::from_millis(now_ms.saturating_sub(since_ms));
            let (pace, is_slow) = self.pace.get().judged(min_rate, timeouts.write, now_ms);
            self.pace.set(pace);
            if waited > timeouts.write || is_slow {
                return Some(Ending::NotTaken);
            }
        }
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
    pub(crate) fn end(&self, ending: Ending) {
        self.ending.set(Some(ending));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// What was asked, once; wakes the caller when something is.
    pub(crate) fn asked_to_end(&self, context: &Context<'_>) -> Option<Ending> {
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

    /// What came is no head.
    pub(crate) fn head_refused(&self, fault: EarlyError) {
        self.fault.set(Some(fault));
    }

    /// So many bytes went out; whether more wait. The last ones of an answer may leave after its end.
    pub(crate) fn sent(&self, bytes: usize, rest: Rest, now_ms: u64) {
        if self.phase.get() != Phase::Head {
            self.since_ms.set(now_ms);
        }
        match (rest, self.waits_since_ms.get()) {
            (Rest::Waits, Some(_)) if bytes == 0 => {}
            (Rest::Waits, _) => {
                self.waits_since_ms.set(Some(now_ms));
                self.pace.set(self.pace.get().taken(bytes, now_ms));
            }
            (Rest::None, Some(_)) => {
                self.waits_since_ms.set(None);
                self.pace.set(self.pace.get().taken(bytes, now_ms));
            }
            (Rest::None, None) => {}
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
        self.pace.set(Pace::default());
    }
}

/// Whether something waits for a client to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    None,
    Waits,
}

/// How fast a client takes an answer that is ahead of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Since when that is watched, and what it took since; none: nothing was ahead of it.
    watched: Option<(u64, u64)>,
}

impl Pace {
    /// It took so much, and more waits or did.
    pub(crate) fn taken(self, bytes: usize, now_ms: u64) -> Self {
        let (since_ms, before) = self.watched.unwrap_or((now_ms, 0));
        Self { watched: Some((since_ms, before + bytes as u64)) }
    }

    /// When it can next be judged.
    pub(crate) fn due_ms(self, window: Duration) -> Option<u64> {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        self.watched.map(|(since_ms, _)| since_ms.saturating_add(window_ms))
    }

    /// Whether it was slower than so many bytes per second over a window; at a window's end the next
    /// begins. A rate of 0 asks nothing.
    pub(crate) fn judged(self, min_rate: u64, window: Duration, now_ms: u64) -> (Self, bool) {
        match self.watched {
            Some((since_ms, bytes)) if self.due_ms(window).is_some_and(|due| now_ms >= due) => {
                let least = (now_ms - since_ms).saturating_mul(min_rate) / 1000;
                (Self { watched: Some((now_ms, 0)) }, bytes < least)
            }
            _ => (self, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::{Client, Ending, Pace, Rest};

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
        }
    }

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
        let timeouts = timeouts();
        client.begin_exchange(0);
        client.begin_exchange(0);
        client.end_exchange(10);
        assert_eq!(client.overdue(&timeouts, 0, 5_000), None);
        client.end_exchange(5_000);
        assert_eq!(client.overdue(&timeouts, 0, 5_500), None);
        assert_eq!(client.overdue(&timeouts, 0, 6_500), Some(Ending::Idle));
    }

    #[test]
    fn who_takes_nothing_is_ended_and_who_takes_a_byte_is_not() {
        let (client, timeouts) = (Client::new(([127, 0, 0, 1], 1).into(), 0), timeouts());
        client.begin_exchange(0);
        client.sent(100, Rest::Waits, 0);
        assert_eq!(client.overdue(&timeouts, 0, 60_000), None);
        client.sent(1, Rest::Waits, 50_000);
        client.sent(0, Rest::Waits, 110_000);
        assert_eq!(client.overdue(&timeouts, 0, 110_000), None);
        assert_eq!(client.overdue(&timeouts, 0, 110_001), Some(Ending::NotTaken));
        client.sent(1, Rest::None, 110_002);
        assert_eq!(client.overdue(&timeouts, 0, 165_000), None);
        // Also when the request is over and only its last bytes wait.
        client.sent(1, Rest::Waits, 165_000);
        client.end_exchange(165_000);
        assert_eq!(client.overdue(&timeouts, 0, 225_001), Some(Ending::NotTaken));
    }

    #[test]
    fn who_takes_too_little_over_a_window_is_ended_and_pauses_of_others_do_not_count() {
        let window = Duration::from_secs(30);
        let slow = Pace::default().taken(0, 0).taken(29_000, 10_000);
        assert!(!slow.judged(1000, window, 29_999).1);
        assert!(!slow.judged(0, window, 30_000).1);
        assert!(slow.judged(1000, window, 30_000).1);
        let (next, is_slow) = slow.taken(1000, 20_000).judged(1000, window, 30_000);
        assert_eq!((next.due_ms(window), is_slow), (Some(60_000), false));
        assert!(!Pace::default().judged(1000, window, u64::MAX).1);

        let (client, timeouts) = (Client::new(([127, 0, 0, 1], 1).into(), 0), timeouts());
        client.begin_exchange(0);
        client.sent(0, Rest::Waits, 0);
        client.sent(10, Rest::None, 20_000);
        client.has_all();
        client.sent(0, Rest::Waits, 40_000);
        assert_eq!(client.overdue(&timeouts, 10, 70_000), None);
        client.sent(599, Rest::Waits, 80_000);
        assert_eq!(client.overdue(&timeouts, 10, 100_000), Some(Ending::NotTaken));
    }
}
