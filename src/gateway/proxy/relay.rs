//! An instance's response under way: piece by piece, with what is learned on the way and how it ends.
//!
//! Nothing is gathered or paced, so an event of a stream is one write here as it was one write of
//! Dify's; what is read in it is read beside the way (`learn`). The record travels with the response
//! and ends with it. A stream that breaks off ends with Dify's error event.

mod end;
mod resumed;
mod step;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use uuid::Uuid;

use self::step::Step;
use crate::balance::Requester;
use crate::dify::path::Run;
use crate::gateway::http::head::ResponseHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::idle_timeout::IdleTimeout;
use crate::gateway::proxy::exchange::{Exchange, InFlightGuard};
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::resume::Resume;
use crate::gateway::proxy::run_watch::{RunProgress, RunWatch};
use crate::gateway::proxy::tap::{Left, Passed, Rest, Tap};
use crate::gateway::state::app::App;
use crate::gateway::state::app_stats::AppStats;
use crate::gateway::state::conversation_lock::ConversationGuard;
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::OnDisconnect;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::attempt_error::chain;
use crate::gateway::upstream::conn_pool::UpstreamBody;
use crate::gateway::upstream::worker::Worker;
use crate::model::Reason;

/// Between two notes that a flow goes on.
const NOTE_EVERY: Duration = Duration::from_millis(250);

/// For what may follow the end of a run, between two events: up to 1.12 `message_end` or `error`
/// comes at once, and the terminal chunk 1.00 s after the last event (1.13 to main).
const AFTER_END: Duration = Duration::from_secs(2);
/// For the rest of a response's sound: Dify itself waits for up to 5 s between two pieces of it.
const AFTER_SOUND: Duration = Duration::from_secs(8);

/// What is needed to see a run out whose client went away.
#[derive(Debug)]
pub(crate) struct DisconnectPlan {
    /// The app's rule.
    pub rule: Option<OnDisconnect>,
    pub run: Run,
    /// The user as Dify knows it: the one in the body.
    pub user: String,
}

impl DisconnectPlan {
    fn of(run: Option<Run>, user_in_body: Option<String>, app: &App) -> Option<Box<Self>> {
        let (rule, run) = (app.policy.on_disconnect, run?);
        let user = user_in_body.filter(|_| rule != Some(OnDisconnect::Close))?;
        Some(Box::new(Self { rule, run, user }))
    }
}

/// An instance's response under way.
pub(crate) struct Relay {
    body: Option<UpstreamBody>,
    pub member: Arc<Member>,
    pub worker: Rc<Worker>,
    /// The configuration that the request goes by.
    pub snapshot: Arc<Snapshot>,
    pub record: Box<Record>,
    /// What becomes of the run when its client goes away; none if it simply ends.
    pub leaving: Option<Box<DisconnectPlan>>,
    /// None of a request that is none to an app.
    app: Option<Arc<App>>,
    tap: Tap,
    flight: Option<InFlightGuard>,
    _turn: Option<ConversationGuard>,
    is_event_stream: bool,
    /// The last piece stopped in the middle of an event.
    in_event: bool,
    idle: IdleTimeout,
    /// By what `idle` is limited.
    rest: Rest,
    /// Of a run that is, or may be, a streamed flow.
    watch: Option<Box<RunWatch>>,
    /// Of a flow that has started: when its progress is to be noted next.
    note_due: Option<Instant>,
    /// Of a run that may be a flow of 1.14 or later.
    resume: Option<Box<Resume>>,
    audience: Audience,
    sender: Requester,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Client,
    Nobody,
}

/// What came of a piece that nobody is waiting for.
pub(crate) enum Drained {
    Piece,
    End,
}

pub(crate) struct Source {
    pub member: Arc<Member>,
    pub body: UpstreamBody,
    /// Counts the request as under way.
    pub flight: InFlightGuard,
    /// From sending the request to the head.
    pub first_byte: Duration,
}

impl Relay {
    /// Begins to pass a response on whose head is here.
    pub(crate) fn new(mut exchange: Box<Exchange>, head: &ResponseHead, source: Source) -> Self {
        let Source { member, body, flight, first_byte } = source;
        let content_type = head.headers.get(KnownHeader::ContentType);
        let is_event_stream =
            content_type.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let tap = Tap::new(&exchange, head, is_event_stream);
        let watch = match is_event_stream && head.status.is_success() {
            true => RunWatch::new(&mut exchange, &member.instance, first_byte),
            false => None,
        };
        let resume = watch.as_ref().and_then(|_| Resume::new(&exchange, head));
        let sender = exchange.candidates.sender();
        let Exchange { worker, snapshot, record, call, .. } = *exchange;
        let (app, turn, leaving) = match call {
            Some(call) => {
                let leaving = DisconnectPlan::of(call.run, call.user_in_body, &call.app);
                (Some(call.app), call.turn, leaving)
            }
            None => (None, None, None),
        };
        let mut relay = Self {
            sender,
            body: Some(body),
            member,
            worker,
            idle: IdleTimeout::new(snapshot.timeouts.idle),
            rest: Rest::Run,
            snapshot,
            record,
            leaving,
            tap,
            app,
            flight: Some(flight),
            _turn: turn,
            is_event_stream,
            in_event: false,
            watch,
            note_due: None,
            resume,
            audience: Audience::Client,
        };
        relay.finish_if_over();
        relay
    }

    /// How much is still to come, as far as it is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::new(), Body::size_hint)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.body.is_none() && !self.is_reconnecting()
    }

    /// Whether it is a stream of events.
    pub(crate) fn is_event_stream(&self) -> bool {
        self.is_event_stream
    }

    /// Whether the stream has said that its run is over; it may stay open after that.
    pub(crate) fn run_ended(&self) -> bool {
        self.tap.run_ended()
    }

    /// Whether all of the response is here, so that nothing later undoes it.
    pub(crate) fn answered(&self) -> bool {
        self.tap.answered()
    }

    /// The task of the run, once its stream has named it.
    pub(crate) fn task(&self) -> Option<Uuid> {
        self.tap.learned()?.task_id
    }

    /// The conversation, once its stream has named it.
    pub(crate) fn conversation(&self) -> Option<Uuid> {
        self.tap.learned()?.conversation_id
    }

    /// As [`poll_piece`](Self::poll_piece), for a response that nobody waits for.
    pub(crate) fn poll_seen(&mut self, context: &mut Context<'_>) -> Poll<Drained> {
        self.audience = Audience::Nobody;
        match ready!(self.poll_piece(context)) {
            Some(Ok(_)) if !self.is_over() => Poll::Ready(Drained::Piece),
            _ => Poll::Ready(Drained::End),
        }
    }

    pub(crate) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            let step = match self.is_reconnecting() {
                true => ready!(self.poll_reconnected(context)),
                false => ready!(self.poll_step(context)),
            };
            if let Step::Out(piece) = step {
                return Poll::Ready(piece);
            }
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let Some(body) = &mut self.body else { return Poll::Ready(Step::Out(None)) };
        let piece = match Pin::new(body).poll_frame(context) {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                if self.note_due.is_none() && self.poll_silent(context).is_ready() {
                    let event = Frame::data(self.not_started());
                    return Poll::Ready(Step::Out(Some(Ok(event))));
                }
                let idle = self.idle.poll(context);
                self.note_progress();
                ready!(idle);
                if self.rest != Rest::Run {
                    self.hold_rest();
                    return Poll::Ready(Step::Out(None));
                }
                let waited = self.idle.limit().as_secs_f64();
                let cut = self.cut(Reason::AnswerIdle, format!("silent for {waited} s"));
                return Poll::Ready(Step::Out(cut));
            }
        };
        let data = piece.as_ref().and_then(|piece| piece.as_ref().ok()?.data_ref());
        if !self.is_no_progress(data) {
            self.idle.moved();
        }
        Poll::Ready(match piece {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.came(data),
                // Trailers: Dify sends none, and they are not announced to the client.
                Err(_) => Step::Again,
            },
            None => {
                let rest = self.held_back();
                self.finish();
                Step::Out(rest)
            }
            Some(Err(error)) => self.broke_off(chain(error.as_ref())),
        })
    }

    fn came(&mut self, piece: Bytes) -> Step {
        let data = match self.passing(piece) {
            Ok(data) => data,
            Err(what) => return Step::Out(self.cut(Reason::AnswerCut, what)),
        };
        if data.is_empty() {
            // Held back; the end is noticed with the next step.
            return Step::Again;
        }
        let over = self.body.as_ref().is_none_or(Body::is_end_stream);
        let left = if over { Left::None } else { Left::Some };
        let owners = self.worker.shared().owners();
        if self.tap.pass(&data, left, &self.member, owners) == Passed::Read {
            self.watched(&data);
            self.limit_rest();
        }
        let data = self.without_resume(data);
        self.in_event = !data.ends_with(b"\n\n");
        self.finish_if_over();
        Step::Out(Some(Ok(Frame::data(data))))
    }

    /// After its end a run has little more to say.
    fn limit_rest(&mut self) {
        let rest = self.tap.rest();
        if rest != self.rest {
            self.rest = rest;
            self.idle = IdleTimeout::new(match rest {
                Rest::Run => self.snapshot.timeouts.idle,
                Rest::Sound => AFTER_SOUND,
                Rest::Little => AFTER_END,
            });
        }
    }

    pub(super) fn count(&self, count: impl FnOnce(&AppStats)) {
        if let Some(app) = &self.app {
            count(&app.stats);
        }
    }

    /// A piece that has passed the tap tells how far the run is.
    fn watched(&mut self, piece: &Bytes) {
        let is_flow = self.tap.learned().is_some_and(|learned| learned.workflow_run_id.is_some());
        if is_flow {
            self.count(|stats| stats.kind.learn_flow());
        }
        let Some(watch) = &mut self.watch else { return };
        if self.note_due.is_none() {
            match watch.passed(piece, is_flow, self.worker.shared()) {
                RunProgress::None => {}
                RunProgress::Started => self.note_due = Some(Instant::now() + NOTE_EVERY),
                RunProgress::NoFlow => {
                    self.count(|stats| stats.kind.learn_plain());
                    return self.watch = None;
                }
            }
        }
        if self.tap.run_ended() {
            watch.ended();
        }
    }

    /// Ready when a flow has not started in time and its client still waits.
    fn poll_silent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(watch) = &mut self.watch else { return Poll::Pending };
        ready!(watch.poll_silent(context, self.worker.shared()));
        if self.audience == Audience::Client { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A flow that goes on shows that its instance's worker lives. Not each piece is noted: of thousands
    /// of streams that is far from the processor.
    fn note_progress(&mut self) {
        let (Some(due), Some(moved)) = (self.note_due, self.idle.since()) else { return };
        if moved < due {
            return;
        }
        self.note_due = Some(moved + NOTE_EVERY);
        if let Some(watch) = &self.watch {
            watch.goes_on(self.worker.shared());
        }
    }
}
