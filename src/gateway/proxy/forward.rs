//! The retry loop: candidate after candidate, until one answers or none may be asked any more.
//!
//! What may be repeated is decided in `retry`; what a response says, in `classify_response`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep, timeout_at};

use crate::dify::path::Run;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::{Exchange, ForwardResult, InFlightGuard, UpstreamResponse};
use crate::gateway::proxy::first_turn::meet;
use crate::gateway::proxy::record::AttemptFailure;
use crate::gateway::proxy::retry::{Denied, Repeat, RetryState};
use crate::gateway::proxy::select::{Binding, Candidate, Next};
use crate::gateway::state::instance::QueueGuard;
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::OnOwnerDown;
use crate::gateway::state::pool::Pool;
use crate::gateway::state::runs::NoRunPermit;
use crate::gateway::upstream::attempt::{AttemptBody, AttemptDeadlines, attempt};
use crate::gateway::upstream::attempt_error::{AttemptError, Sent};
use crate::gateway::upstream::classify_response::{ResponseClass, classify, peek};
use crate::gateway::upstream::held_slot;
use crate::gateway::upstream::keyed_wait::KeyedWait;
use crate::model::{GatewayError, Reason};

/// Between two looks at an owner that is out.
const OWNER_PAUSE: Duration = Duration::from_millis(100);

/// Sends the request to its candidates in turn.
pub(crate) async fn forward(mut exchange: Box<Exchange>) -> ForwardResult {
    let pool = Arc::clone(exchange.candidates.pool());
    let ready = match exchange.take_turn().await {
        Ok(()) => exchange.find_owner().await,
        refused => refused,
    };
    let result = match ready {
        Ok(()) => RetryLoop::new(&mut exchange, &pool).run().await,
        Err(refusal) => Err(refusal),
    };
    (exchange, result)
}

enum AttemptOutcome {
    Answered(UpstreamResponse),
    /// A response that may be thrown away to ask another.
    Discardable(UpstreamResponse),
    /// It does not have what the request names; its response says so.
    NotHere(UpstreamResponse),
    Failed(Arc<Member>, AttemptError),
}

/// The search for a response, with what has come of it so far.
struct RetryLoop<'a> {
    exchange: &'a mut Exchange,
    retries: RetryState<'a>,
    /// When the candidate at hand was looked for.
    now: Instant,
    until: Instant,
    /// The first response of somebody who does not have what the request names.
    not_here: Option<UpstreamResponse>,
    /// Who said so is known to have had it.
    owner_said_so: bool,
    /// All were asked for its conversation after that.
    asked_all: bool,
    /// A response that will do if nobody gives a better one.
    discarded: Option<UpstreamResponse>,
    last: Option<AttemptError>,
    /// Waiting for an owner that is out.
    owner: Option<(Instant, QueueGuard)>,
}

impl<'a> RetryLoop<'a> {
    fn new(exchange: &'a mut Exchange, pool: &'a Pool) -> Self {
        let repeat = match exchange.outbound.is_idempotent() {
            true => Repeat::Harmless,
            false => Repeat::Twice,
        };
        let now = Instant::now();
        Self {
            retries: RetryState::new(&pool.retry, &pool.stats, repeat),
            now,
            until: now + exchange.snapshot.timeouts.all_attempts,
            exchange,
            not_here: None,
            owner_said_so: false,
            asked_all: false,
            discarded: None,
            last: None,
            owner: None,
        }
    }

    async fn run(mut self) -> Result<UpstreamResponse, GatewayError> {
        let result = self.ask_in_turn().await;
        if let Some(left) = self.not_here.take() {
            self.leave(left);
        }
        result
    }

    async fn ask_in_turn(&mut self) -> Result<UpstreamResponse, GatewayError> {
        loop {
            let now_ms = self.exchange.worker.shared().ms_at(self.now.into_std());
            match self.exchange.candidates.next(now_ms) {
                Next::Nobody => return self.end(),
                Next::OwnerOut(member) => Box::pin(self.owner_out(&member, None)).await?,
                Next::Ask(candidate) => match self.ask(candidate).await {
                    AttemptOutcome::Answered(forwarded) => return Ok(self.found(forwarded)),
                    AttemptOutcome::NotHere(forwarded) => {
                        if let Some(response) = self.not_here(forwarded).await? {
                            return Ok(response);
                        }
                    }
                    AttemptOutcome::Discardable(forwarded) => {
                        let failure = AttemptError::bad_status(
                            &forwarded.member,
                            forwarded.response.head.status,
                        );
                        let binding = self.exchange.candidates.binding();
                        if self.retries.take(&failure, binding).is_err() {
                            return Ok(self.found(forwarded));
                        }
                        let why = AttemptFailure::Failed(failure.reason);
                        self.exchange.record.attempt_failed(&forwarded.member, why);
                        self.discarded = Some(forwarded);
                    }
                    AttemptOutcome::Failed(member, failure) => {
                        Box::pin(self.failed(&member, failure)).await?
                    }
                },
            }
            self.now = Instant::now();
        }
    }

    async fn ask(&mut self, candidate: Candidate) -> AttemptOutcome {
        let Candidate { member, permit } = candidate;
        let mut first_turn = None;
        if let Some((app, user)) = self.exchange.stranger(&member) {
            let shared = self.exchange.worker.shared();
            first_turn = Box::pin(meet(shared, &app.stats, user)).await;
            self.now = Instant::now();
        }
        if let Err(failure) = self.take_place(&member).await {
            return AttemptOutcome::Failed(member, failure);
        }
        let first_byte = self.first_byte();
        let (now, exchange) = (self.now, &mut *self.exchange);
        let shared = Arc::clone(exchange.worker.shared());
        let timeouts = &exchange.snapshot.timeouts;
        let patience = AttemptDeadlines { now, timeouts, first_byte, until: self.until };
        let flight = InFlightGuard::begin(&member);
        let keyed = KeyedWait::new(&member, permit.room(), shared.ms_at(now.into_std()));
        let (connections, outbound) = (&exchange.worker.connections, &exchange.outbound);
        let done = attempt(connections, &member, outbound, &exchange.progress, patience).await;
        member.prefetch();
        if let Some(call) = &exchange.call {
            call.app.prefetch_counters();
        }
        let arrived_ms = keyed.over(done.as_deref(), outbound.is_idempotent(), &shared);
        let done = match done {
            Ok(response) => match exchange.look() {
                Some(look) => classify(response, look, &member, connections).await,
                None => Ok((response, ResponseClass::Fine)),
            },
            Err(failure) => Err(failure),
        };
        let done = match done {
            Ok((response, ResponseClass::Fine)) if exchange.may_lack_file() => {
                Box::pin(peek(response, &member)).await
            }
            done => done,
        };
        match done {
            Ok((response, finding)) => {
                let status = response.head.status.as_u16();
                if let Some(first_turn) = first_turn.filter(|_| response.head.status.is_success()) {
                    first_turn.begun(shared.owners());
                }
                permit.answered(&response, arrived_ms);
                let conversation = exchange.call.as_ref().and_then(|call| call.restarted.clone());
                let forwarded = UpstreamResponse { member, response, flight, conversation };
                let binding = exchange.candidates.binding();
                match finding {
                    ResponseClass::NotHere => AttemptOutcome::NotHere(forwarded),
                    ResponseClass::Busy => {
                        exchange.progress.take_back();
                        let busy = AttemptError::busy(&forwarded.member);
                        AttemptOutcome::Failed(forwarded.member, busy)
                    }
                    ResponseClass::Fine
                        if self.retries.discards(status, binding)
                            && exchange.candidates.has_next() =>
                    {
                        AttemptOutcome::Discardable(forwarded)
                    }
                    ResponseClass::Fine => AttemptOutcome::Answered(forwarded),
                }
            }
            Err(failure) => {
                permit.failed(&failure, &shared);
                AttemptOutcome::Failed(member, failure)
            }
        }
    }

    /// How long the member at hand may take for the head of its response.
    fn first_byte(&self) -> Duration {
        let (exchange, timeouts) = (&self.exchange, &self.exchange.snapshot.timeouts);
        let gives_way = exchange.outbound.is_idempotent()
            && self.retries.has_left()
            && (exchange.candidates.has_next() || self.not_here.is_some());
        match gives_way {
            true => timeouts.first_byte_idempotent,
            false => timeouts.first_byte,
        }
    }

    /// A streamed flow takes its place among those of the member's instance. One that does not get any
    /// has not been sent.
    async fn take_place(&mut self, member: &Member) -> Result<(), AttemptError> {
        let Some(call) = &mut self.exchange.call else { return Ok(()) };
        call.place = None;
        if !call.is_streamed_flow() {
            return Ok(());
        }
        let runs = member.instance.runs();
        if let Some(place) = runs.try_take() {
            call.place = Some(place);
            return Ok(());
        }
        let left = timeout_at(self.until, Box::pin(runs.take(member.queue))).await;
        self.now = Instant::now();
        match left.unwrap_or(Err(NoRunPermit::TooLate)) {
            Ok(place) => {
                call.place = Some(place);
                Ok(())
            }
            Err(why) => Err(AttemptError::no_place(member, why)),
        }
    }

    fn found(&self, forwarded: UpstreamResponse) -> UpstreamResponse {
        let exchange = &self.exchange;
        let Some(call) = &exchange.call else { return forwarded };
        let known = exchange.candidates.binding() == Binding::Owner || !exchange.is_searched_for();
        if !known && forwarded.response.head.status.is_success() {
            let owners = exchange.worker.shared().owners();
            let app = call.scope(&exchange.outbound).app();
            call.resource_ids.remember(call.kind, app, &forwarded.member, owners);
        }
        forwarded
    }

    /// Somebody does not have what the request names: the others are asked, or this is the response. A
    /// turn of a conversation goes to nobody who is not known to have that: newer Dify would begin
    /// another one.
    async fn not_here(
        &mut self,
        forwarded: UpstreamResponse,
    ) -> Result<Option<UpstreamResponse>, GatewayError> {
        let turn = self.exchange.call.as_ref().filter(|call| call.run.is_some());
        let conversation = turn.and_then(|call| call.resource_ids.conversation);
        let Some(conversation) = conversation else {
            self.ask_around(forwarded);
            return Ok(None);
        };
        let lacks_file = forwarded.response.head.status == StatusCode::BAD_REQUEST;
        if lacks_file || self.asked_all {
            return Ok(Some(forwarded));
        }
        self.asked_all = true;
        self.ask_around(forwarded);
        Box::pin(self.exchange.find_conversation(conversation)).await?;
        if self.exchange.is_nowhere() {
            return self.end().map(Some);
        }
        Ok(None)
    }

    /// The others are asked. Dify has refused before doing anything.
    fn ask_around(&mut self, forwarded: UpstreamResponse) {
        if self.exchange.candidates.binding() == Binding::Owner {
            self.owner_said_so = true;
            self.exchange.candidates.leave_owner();
        }
        self.exchange.progress.take_back();
        self.exchange.record.attempt_failed(&forwarded.member, AttemptFailure::NotHere);
        if let Some(call) = &self.exchange.call {
            call.app.stats.asked_around.add_one();
        }
        self.exchange.worker.shared().owners().asked_around.add_one();
        match &self.not_here {
            None => self.not_here = Some(forwarded),
            Some(_) => self.leave(forwarded),
        }
    }

    fn leave(&self, forwarded: UpstreamResponse) {
        let AttemptBody::Coming(body) = forwarded.response.body else { return };
        held_slot::hold(&self.exchange.worker, &forwarded.member, body);
    }

    async fn failed(
        &mut self,
        member: &Arc<Member>,
        failure: AttemptError,
    ) -> Result<(), GatewayError> {
        let binding = self.exchange.candidates.binding();
        self.exchange.record.attempt_failed(member, AttemptFailure::Failed(failure.reason));
        let late = Instant::now() >= self.until;
        if late || self.exchange.progress.is_client_gone() {
            return Err(errors::of(&failure));
        }
        match self.retries.take(&failure, binding) {
            Ok(()) => {
                self.last = Some(failure);
                Ok(())
            }
            Err(Denied::Rule)
                if binding == Binding::Owner
                    && failure.reason == Reason::ConnectFailed
                    && failure.sent == Sent::Nothing =>
            {
                self.owner_out(member, Some(failure)).await
            }
            Err(Denied::Budget) => Err(errors::out_of_budget(&failure)),
            Err(Denied::Rule | Denied::Attempts) => Err(errors::of(&failure)),
        }
    }

    /// The one that has what the request names is out.
    async fn owner_out(
        &mut self,
        member: &Arc<Member>,
        failure: Option<AttemptError>,
    ) -> Result<(), GatewayError> {
        let refusal = || errors::owner_out(member, failure.as_ref());
        let Some(call) = &mut self.exchange.call else { return Err(refusal()) };
        match call.app.policy.on_owner_down {
            OnOwnerDown::Queue => {
                if self.owner.is_none() {
                    let place = member.instance.enter_queue(member.queue.size);
                    let queued = place.ok_or_else(refusal)?;
                    self.owner = Some((Instant::now() + member.queue.timeout, queued));
                }
                if self.owner.as_ref().is_none_or(|(until, _)| *until <= Instant::now()) {
                    return Err(refusal());
                }
                sleep(OWNER_PAUSE).await;
                self.exchange.candidates.ask_owner_again();
                Ok(())
            }
            OnOwnerDown::Restart if call.run == Some(Run::Chat) => {
                let note = self.exchange.leave_conversation().await?.ok_or_else(refusal)?;
                if let Some(call) = &mut self.exchange.call {
                    call.restarted = Some(note);
                }
                Ok(())
            }
            OnOwnerDown::Fail | OnOwnerDown::Restart => Err(refusal()),
        }
    }

    /// Nobody is left to be asked.
    fn end(&mut self) -> Result<UpstreamResponse, GatewayError> {
        if let Some(discarded) = self.discarded.take() {
            return Ok(discarded);
        }
        let candidates = &self.exchange.candidates;
        match (self.not_here.take(), self.last.take()) {
            (Some(response), None) if self.owner_said_so || candidates.skipped().is_empty() => {
                if let Some(call) = self.exchange.call.as_ref().filter(|_| self.owner_said_so) {
                    let owners = self.exchange.worker.shared().owners();
                    call.resource_ids.forget(call.scope(&self.exchange.outbound), owners);
                }
                Ok(response)
            }
            (Some(_), last) => Err(errors::perhaps_elsewhere(candidates, last.as_ref())),
            (None, Some(failure)) => Err(errors::of(&failure)),
            (None, None) => Err(errors::nobody(candidates)),
        }
    }
}
