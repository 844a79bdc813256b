//! A streamed flow goes on although the API process that passed it on has died.
//!
//! From Dify 1.13 on a worker does it, and from 1.14 on another API process tells it at
//! `/workflow/{run}/events` (recorded: after `kill -9` connections hang for 10 to 11 s until the new
//! process answers, and a run of 25 s came to its end there). So its events are asked for at the same
//! instance, for a bounded time, and go to the same client: what it has already is not said again, and
//! the text that it lacks comes as one piece (`dify::response_body::CatchUp`). While that lasts it gets pings.
//!
//! Deliberately absent: a stream that falls silent. Its API process may live, and go on with it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::dify::response_body::{
    CatchUp, CaughtUp, OnDifference, RunIds, SentEvents, Whole, WholeEvents,
};
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::http::head::ResponseHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::http::send_state::SendState;
use crate::gateway::proxy::error_event::error_event;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::Exchange;
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::Resuming;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::attempt::{AttemptBody, AttemptDeadlines, AttemptResponse, attempt};
use crate::gateway::upstream::conn_pool::UpstreamBody;
use crate::gateway::upstream::upstream_request::UpstreamRequest;
use crate::gateway::upstream::worker::Worker;

/// Dify's ping, as an event of a stream.
pub(crate) const PING: &[u8] = b"event: ping\n\n";

/// For an API process to be there again: Dify 1.14 takes 10 to 11 s.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);
/// Between two pings to the client, as Dify has it.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How often one run is taken up again.
const MAX_TIMES: u32 = 10;
/// The largest event that is held back until it is whole.
const MAX_EVENT_BYTES: usize = 256 * 1024;
/// The same once the run has been taken up again: what came of it so far may have gone into one.
const MAX_LATER_EVENT_BYTES: usize = 8 << 20;

/// What a client can be told where the text does not continue what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientProtocol {
    /// It speaks Dify's protocol, which can replace a text.
    Native,
    /// It cannot take back what it has.
    Ai,
}

/// A flow that is gone on with when its stream breaks off.
pub(crate) struct Resume {
    user: String,
    pub client: ClientProtocol,
    whole: WholeEvents,
    stage: Stage,
    times: u32,
}

enum Stage {
    Following(SentEvents),
    Reconnecting(Box<Reconnecting>),
    /// The run's further events pass on.
    CatchingUp(Box<CatchUp>),
    /// The run has ended, and its client knows.
    Over,
}

struct Reconnecting {
    sent: SentEvents,
    ids: RunIds,
    began: Instant,
    cause: String,
    response: Pin<Box<dyn Future<Output = Result<UpstreamBody, String>>>>,
    ping: Pin<Box<Sleep>>,
}

/// What a piece of a stream comes to.
pub(crate) enum Held {
    /// Events that go out; none of them is there yet if it is empty.
    Events(Bytes),
    /// A part of an event that cannot be held back until it is whole.
    Unheld(Bytes),
}

/// What comes of waiting for the instance.
pub(crate) enum Reconnect {
    /// The client hears that it is still waited for.
    Ping,
    /// The run's further events come here. What the log says of it.
    Here(UpstreamBody, String),
    Never(String),
}

impl Resume {
    /// A run that may be one of Dify 1.14 or later; none of another, or where that is switched off.
    pub(crate) fn new(exchange: &Exchange, head: &ResponseHead) -> Option<Box<Self>> {
        let call = exchange.call.as_ref()?;
        let is_on = call.app.policy.resume == Resuming::On;
        if !is_on || !may_tell_again(head) || head.headers.has(KnownHeader::ContentEncoding) {
            return None;
        }
        Some(Box::new(Self {
            user: call.user_in_body.clone()?,
            client: ClientProtocol::Native,
            whole: WholeEvents::new(MAX_EVENT_BYTES),
            stage: Stage::Following(SentEvents::default()),
            times: 0,
        }))
    }

    /// A piece of the stream at hand.
    pub(crate) fn pass(&mut self, piece: Bytes) -> Held {
        let events = match self.whole.pass(piece) {
            Whole::Events(events) => events,
            Whole::None => return Held::Events(Bytes::new()),
            Whole::Unheld(part) => return Held::Unheld(part),
        };
        match &mut self.stage {
            Stage::Following(sent) => {
                sent.pass(&events);
                Held::Events(events)
            }
            Stage::CatchingUp(catch_up) => Held::Events(catch_up.pass(&events)),
            Stage::Reconnecting(_) | Stage::Over => Held::Events(events),
        }
    }

    /// What was held back of a stream that has come to its end.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.whole.take()
    }

    /// Whether the instance is waited for.
    pub(crate) fn is_reconnecting(&self) -> bool {
        matches!(self.stage, Stage::Reconnecting(_))
    }

    /// Whether the run's further events pass on.
    pub(crate) fn is_catching_up(&self) -> bool {
        matches!(self.stage, Stage::CatchingUp(_))
    }

    /// Whether the client knows that the run is over.
    pub(crate) fn has_told_end(&self) -> bool {
        match &self.stage {
            Stage::Following(sent) => sent.ended(),
            Stage::CatchingUp(catch_up) => catch_up.outcome().is_some(),
            Stage::Reconnecting(_) => false,
            Stage::Over => true,
        }
    }

    /// How the run went on, once, at its end.
    pub(crate) fn take_outcome(&mut self) -> Option<CaughtUp> {
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return None };
        let outcome = catch_up.outcome()?;
        // What still comes is nobody's to compare.
        self.stage = Stage::Over;
        Some(outcome)
    }

    /// The stream broke off, because of `cause`: asks the instance for the run's further events.
    /// False if there is no sense in it.
    pub(crate) fn begin(
        &mut self,
        ids: Option<RunIds>,
        cause: String,
        from: &ResumeContext<'_>,
    ) -> bool {
        let Some(ids) = ids.filter(|_| self.times < MAX_TIMES) else { return false };
        let sent = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Following(sent) => sent,
            Stage::CatchingUp(catch_up) => catch_up.into_sent(),
            Stage::Reconnecting(_) | Stage::Over => return false,
        };
        self.times += 1;
        self.whole = WholeEvents::new(MAX_LATER_EVENT_BYTES);
        let began = Instant::now();
        let response = Box::pin(reconnect(from.call(ids.run(), &self.user), began + PATIENCE));
        let ping = Box::pin(sleep_until(began + PING_EVERY));
        let reconnecting = Reconnecting { sent, ids, began, cause, response, ping };
        self.stage = Stage::Reconnecting(Box::new(reconnecting));
        true
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Reconnect> {
        let Stage::Reconnecting(waiting) = &mut self.stage else { return Poll::Pending };
        let Poll::Ready(response) = waiting.response.as_mut().poll(context) else {
            if waiting.ping.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            waiting.ping.as_mut().reset(Instant::now() + PING_EVERY);
            return Poll::Ready(Reconnect::Ping);
        };
        let took = waiting.began.elapsed().as_secs_f64();
        let Stage::Reconnecting(waiting) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Poll::Pending;
        };
        let Reconnecting { sent, ids, cause, .. } = *waiting;
        Poll::Ready(match response {
            Ok(inflow) => {
                let on_difference = match self.client {
                    ClientProtocol::Native => OnDifference::Replace,
                    ClientProtocol::Ai => {
                        OnDifference::Instead(error_event(&errors::differs(), None))
                    }
                };
                let catch_up = CatchUp::new(sent, ids, on_difference);
                self.stage = Stage::CatchingUp(Box::new(catch_up));
                Reconnect::Here(inflow, format!("resumed after {took:.1} s: {cause}"))
            }
            Err(why) => Reconnect::Never(format!("{cause}; not resumed: {why}")),
        })
    }
}

/// Whether an instance's response says that it has `/workflow/{run}/events`: 1.14 and later do. Where a
/// proxy has taken the version away, it is asked.
fn may_tell_again(head: &ResponseHead) -> bool {
    let mut headers = head.headers.iter();
    let version = headers.find(|field| field.spelt.eq_ignore_ascii_case(b"x-version"));
    let Some(version) = version.and_then(|field| str::from_utf8(field.value).ok()) else {
        return true;
    };
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (1, 14)
}

/// Whose run it is and where.
pub(crate) struct ResumeContext<'a> {
    pub worker: &'a Rc<Worker>,
    pub member: &'a Arc<Member>,
    pub snapshot: &'a Arc<Snapshot>,
    pub request_id: &'a RequestId,
}

/// The question for a run's further events.
struct EventsRequest {
    worker: Rc<Worker>,
    member: Arc<Member>,
    snapshot: Arc<Snapshot>,
    outbound: UpstreamRequest,
}

impl ResumeContext<'_> {
    fn call(&self, run: &str, user: &str) -> EventsRequest {
        let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
        let path = format!("/v1/workflow/{run}/events?user={user}&include_state_snapshot=true");
        let kind = HeaderValue::from_static("application/json");
        let body = BufferedBody::Piece(Bytes::new());
        EventsRequest {
            worker: Rc::clone(self.worker),
            member: Arc::clone(self.member),
            snapshot: Arc::clone(self.snapshot),
            outbound: UpstreamRequest::own(Method::GET, &path, kind, body, self.request_id),
        }
    }
}

/// What an attempt to take a run up again came to.
enum Attempted {
    Here(UpstreamBody),
    NotYet(String),
    Never(String),
}

async fn reconnect(call: EventsRequest, until: Instant) -> Result<UpstreamBody, String> {
    loop {
        let why = match Box::pin(call.attempt(until)).await {
            Attempted::Here(inflow) => return Ok(inflow),
            Attempted::NotYet(why) => why,
            Attempted::Never(why) => return Err(why),
        };
        if Instant::now() + PAUSE >= until {
            return Err(format!("not within {} s, at last: {why}", PATIENCE.as_secs()));
        }
        sleep(PAUSE).await;
    }
}

impl EventsRequest {
    async fn attempt(&self, until: Instant) -> Attempted {
        let Self { worker, member, snapshot, outbound } = self;
        let timeouts = &snapshot.timeouts;
        let patience =
            AttemptDeadlines { now: Instant::now(), timeouts, first_byte: PATIENCE, until };
        let progress = SendState::default();
        let response = attempt(&worker.connections, member, outbound, &progress, patience).await;
        let AttemptResponse { head, body, .. } = match response {
            Ok(response) => *response,
            Err(failure) => return Attempted::NotYet(failure.text),
        };
        let kind = head.headers.get(KnownHeader::ContentType);
        let is_stream = kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let status = head.status;
        match body {
            AttemptBody::Coming(inflow) if status == StatusCode::OK && is_stream => {
                Attempted::Here(inflow)
            }
            // A proxy says so while the API behind it is away.
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Attempted::NotYet(format!("{} answered {}", member.name(), status.as_u16()))
            }
            _ => Attempted::Never(format!("{} answered {}", member.name(), status.as_u16())),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{StatusCode, Version};

    use super::may_tell_again;
    use crate::gateway::http::head::ResponseHead;
    use crate::gateway::http::headers::Headers;

    #[test]
    fn only_versions_with_the_route_are_asked_again() {
        let told = |headers: &[(&str, &str)]| {
            let (status, version) = (StatusCode::OK, Version::HTTP_11);
            may_tell_again(&ResponseHead { status, version, headers: Headers::of_lines(headers) })
        };
        for version in ["1.14.2", "1.14", "1.20.0", "2.0.0-beta1"] {
            assert!(told(&[("X-Version", version)]), "{version}");
        }
        for version in ["1.13.3", "1.5.0", "0.15.3", "", "unknown"] {
            assert!(!told(&[("x-version", version)]), "{version}");
        }
        assert!(told(&[("server", "gunicorn")]), "a proxy has taken it away");
    }
}
