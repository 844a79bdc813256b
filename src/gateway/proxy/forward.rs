//! The retry loop: candidate after candidate, until one answers or none may be asked any more.
//!
//! What may be repeated is decided in `retry`; what an answer says, in `inspect`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep, timeout_at};

use crate::dify::path::Run;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::{Flight, Forwarded, Journey, Travelled};
use crate::gateway::proxy::first_turn::meet;
use crate::gateway::proxy::record::Unanswered;
use crate::gateway::proxy::retry::{Allowance, Denied, Repeat};
use crate::gateway::proxy::select::{Candidate, Next, Tie};
use crate::gateway::state::app::App;
use crate::gateway::state::instance::Queued;
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::OnOwnerDown;
use crate::gateway::state::runs::NoPlace;
use crate::gateway::upstream::attempt::{AnswerBody, Patience, attempt};
use crate::gateway::upstream::attempt_error::{AttemptError, Sent};
use crate::gateway::upstream::classify_response::{Finding, inspect, peek};
use crate::gateway::upstream::held;
use crate::gateway::upstream::keyed_wait::KeyedWait;
use crate::model::{GatewayError, Reason};

/// Between two looks at an owner that is out.
const OWNER_PAUSE: Duration = Duration::from_millis(100);

/// Sends the request to its candidates in turn.
pub(crate) async fn forward(mut journey: Box<Journey>) -> Travelled {
    let app = Arc::clone(&journey.app);
    let ready = match journey.take_turn().await {
        Ok(()) => journey.find_owner().await,
        refused => refused,
    };
    let result = match ready {
        Ok(()) => Search::new(&mut journey, &app).run().await,
        Err(refusal) => Err(refusal),
    };
    (journey, result)
}

impl Journey {
    /// Waits for the turn before in the same conversation, where the app wants that.
    async fn take_turn(&mut self) -> Result<(), GatewayError> {
        let (Some(turns), Some(conversation), Some(_)) =
            (&self.app.policy.turns, self.claims.conversation, self.run)
        else {
            return Ok(());
        };
        let members = self.app.pool.members.iter();
        let patience = members.map(|member| member.queue.timeout).max().unwrap_or_default();
        self.turn = Box::pin(turns.take(conversation, patience)).await;
        match self.turn {
            Some(_) => Ok(()),
            None => Err(errors::turn_taken(conversation, patience)),
        }
    }
}

/// What came of one candidate.
enum Asked {
    /// An answer to pass on.
    Answered(Forwarded),
    /// An answer that may be thrown away to ask another.
    Discardable(Forwarded),
    /// It does not have what the request names; its answer says so.
    NotHere(Forwarded),
    /// No answer.
    Failed(Arc<Member>, AttemptError),
}

/// The search for an answer, with what has come of it so far.
struct Search<'a> {
    journey: &'a mut Journey,
    allowance: Allowance<'a>,
    /// When the candidate at hand was looked for.
    now: Instant,
    until: Instant,
    /// The first answer of somebody who does not have what the request names.
    not_here: Option<Forwarded>,
    /// Who said so is known to have had it.
    owner_said_so: bool,
    /// All were asked for its conversation after that.
    asked_all: bool,
    /// An answer that will do if nobody gives a better one.
    discarded: Option<Forwarded>,
    last: Option<AttemptError>,
    /// Waiting for an owner that is out.
    owner: Option<(Instant, Queued)>,
}

impl<'a> Search<'a> {
    fn new(journey: &'a mut Journey, app: &'a App) -> Self {
        let repeat = match journey.outbound.is_idempotent() {
            true => Repeat::Harmless,
            false => Repeat::Twice,
        };
        let now = Instant::now();
        Self {
            allowance: Allowance::new(&app.policy.retry, &app.stats, repeat),
            now,
            until: now + journey.snapshot.timeouts.all_attempts,
            journey,
            not_here: None,
            owner_said_so: false,
            asked_all: false,
            discarded: None,
            last: None,
            owner: None,
        }
    }

    async fn run(mut self) -> Result<Forwarded, GatewayError> {
        let result = self.ask_in_turn().await;
        if let Some(left) = self.not_here.take() {
            self.leave(left);
        }
        result
    }

    async fn ask_in_turn(&mut self) -> Result<Forwarded, GatewayError> {
        loop {
            let now_ms = self.journey.worker.shared().ms_at(self.now.into_std());
            match self.journey.candidates.next(now_ms) {
                Next::Nobody => return self.end(),
                Next::OwnerOut(member) => Box::pin(self.owner_out(&member, None)).await?,
                Next::Ask(candidate) => match self.ask(candidate).await {
                    Asked::Answered(forwarded) => return Ok(self.found(forwarded)),
                    Asked::NotHere(forwarded) => {
                        if let Some(answer) = self.not_here(forwarded).await? {
                            return Ok(answer);
                        }
                    }
                    Asked::Discardable(forwarded) => {
                        let failure = AttemptError::bad_status(
                            &forwarded.member,
                            forwarded.answer.head.status,
                        );
                        let tie = self.journey.candidates.tie();
                        if self.allowance.take(&failure, tie).is_err() {
                            return Ok(self.found(forwarded));
                        }
                        let why = Unanswered::Failed(failure.reason);
                        self.journey.record.attempt_failed(&forwarded.member, why);
                        self.discarded = Some(forwarded);
                    }
                    Asked::Failed(member, failure) => {
                        Box::pin(self.failed(&member, failure)).await?
                    }
                },
            }
            self.now = Instant::now();
        }
    }

    /// One attempt at one candidate.
    async fn ask(&mut self, candidate: Candidate) -> Asked {
        let Candidate { member, trust } = candidate;
        let mut first_turn = None;
        if let Some(user) = self.journey.stranger(&member) {
            let Journey { worker, app, .. } = &*self.journey;
            first_turn = Box::pin(meet(worker.shared(), &app.stats, user)).await;
            self.now = Instant::now();
        }
        if let Err(failure) = self.take_place(&member).await {
            return Asked::Failed(member, failure);
        }
        let first_byte = self.first_byte();
        let (now, journey) = (self.now, &mut *self.journey);
        let shared = Arc::clone(journey.worker.shared());
        let timeouts = &journey.snapshot.timeouts;
        let patience = Patience { now, timeouts, first_byte, until: self.until };
        let flight = Flight::begin(&member);
        let keyed = KeyedWait::new(&member, trust.room(), shared.ms_at(now.into_std()));
        let (connections, outbound) = (&journey.worker.connections, &journey.outbound);
        let done = attempt(connections, &member, outbound, &journey.progress, patience).await;
        member.fetch();
        journey.app.fetch_counted();
        let arrived_ms = keyed.over(done.as_deref(), outbound.is_idempotent(), &shared);
        let done = match done {
            Ok(answer) => inspect(answer, journey.look(), &member, connections).await,
            Err(failure) => Err(failure),
        };
        let done = match done {
            Ok((answer, Finding::Fine)) if journey.may_lack_file() => {
                Box::pin(peek(answer, &member)).await
            }
            done => done,
        };
        match done {
            Ok((answer, finding)) => {
                let status = answer.head.status.as_u16();
                if let Some(first_turn) = first_turn.filter(|_| answer.head.status.is_success()) {
                    first_turn.begun(shared.owners());
                }
                trust.answered(&answer, arrived_ms);
                let conversation = journey.restarted.clone();
                let forwarded = Forwarded { member, answer, flight, conversation };
                let tie = journey.candidates.tie();
                match finding {
                    Finding::NotHere => Asked::NotHere(forwarded),
                    Finding::Busy => {
                        journey.progress.take_back();
                        Asked::Failed(
                            Arc::clone(&forwarded.member),
                            AttemptError::busy(&forwarded.member),
                        )
                    }
                    Finding::Fine
                        if self.allowance.discards(status, tie)
                            && journey.candidates.has_next() =>
                    {
                        Asked::Discardable(forwarded)
                    }
                    Finding::Fine => Asked::Answered(forwarded),
                }
            }
            Err(failure) => {
                trust.failed(&failure, &shared);
                Asked::Failed(member, failure)
            }
        }
    }

    /// How long the member at hand may take for the head of its answer.
    fn first_byte(&self) -> Duration {
        let (journey, timeouts) = (&self.journey, &self.journey.snapshot.timeouts);
        let gives_way = journey.outbound.is_idempotent()
            && self.allowance.has_left()
            && (journey.candidates.has_next() || self.not_here.is_some());
        match gives_way {
            true => timeouts.first_byte_idempotent,
            false => timeouts.first_byte,
        }
    }

    /// A streamed flow takes its place among those of the member's instance. One that does not get any
    /// has not been sent.
    async fn take_place(&mut self, member: &Member) -> Result<(), AttemptError> {
        self.journey.place = None;
        if !self.journey.is_streamed_flow() {
            return Ok(());
        }
        let runs = member.instance.runs();
        if let Some(place) = runs.try_take() {
            self.journey.place = Some(place);
            return Ok(());
        }
        let left = timeout_at(self.until, Box::pin(runs.take(member.queue))).await;
        self.now = Instant::now();
        match left.unwrap_or(Err(NoPlace::TooLate)) {
            Ok(place) => {
                self.journey.place = Some(place);
                Ok(())
            }
            Err(why) => Err(AttemptError::no_place(member, why)),
        }
    }

    /// This is the answer.
    fn found(&self, forwarded: Forwarded) -> Forwarded {
        let journey = &self.journey;
        let known = journey.candidates.tie() == Tie::Owner || !journey.is_searched_for();
        if !known && forwarded.answer.head.status.is_success() {
            let owners = journey.worker.shared().owners();
            let app = journey.scope().app();
            journey.claims.remember(journey.kind, app, &forwarded.member, owners);
        }
        forwarded
    }

    /// Somebody does not have what the request names: the others are asked, or this is the answer. A
    /// turn of a conversation goes to nobody who is not known to have that: newer Dify would begin
    /// another one.
    async fn not_here(&mut self, forwarded: Forwarded) -> Result<Option<Forwarded>, GatewayError> {
        let conversation = self.journey.claims.conversation.filter(|_| self.journey.run.is_some());
        let Some(conversation) = conversation else {
            self.ask_around(forwarded);
            return Ok(None);
        };
        let lacks_file = forwarded.answer.head.status == StatusCode::BAD_REQUEST;
        if lacks_file || self.asked_all {
            return Ok(Some(forwarded));
        }
        self.asked_all = true;
        self.ask_around(forwarded);
        Box::pin(self.journey.find_conversation(conversation)).await?;
        if self.journey.nowhere {
            return self.end().map(Some);
        }
        Ok(None)
    }

    /// The others are asked. Dify has refused before doing anything.
    fn ask_around(&mut self, forwarded: Forwarded) {
        if self.journey.candidates.tie() == Tie::Owner {
            self.owner_said_so = true;
            self.journey.candidates.leave_owner();
        }
        self.journey.progress.take_back();
        self.journey.record.attempt_failed(&forwarded.member, Unanswered::NotHere);
        self.journey.app.stats.asked_around.add_one();
        self.journey.worker.shared().owners().asked_around.add_one();
        match &self.not_here {
            None => self.not_here = Some(forwarded),
            Some(_) => self.leave(forwarded),
        }
    }

    /// An answer that nobody gets.
    fn leave(&self, forwarded: Forwarded) {
        let AnswerBody::Coming(body) = forwarded.answer.body else { return };
        held::hold(&self.journey.worker, &forwarded.member, body);
    }

    async fn failed(
        &mut self,
        member: &Arc<Member>,
        failure: AttemptError,
    ) -> Result<(), GatewayError> {
        let tie = self.journey.candidates.tie();
        self.journey.record.attempt_failed(member, Unanswered::Failed(failure.reason));
        let late = Instant::now() >= self.until;
        if late || self.journey.progress.is_client_gone() {
            return Err(errors::of(&failure));
        }
        match self.allowance.take(&failure, tie) {
            Ok(()) => {
                self.last = Some(failure);
                Ok(())
            }
            Err(Denied::Rule)
                if tie == Tie::Owner
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
        match self.journey.app.policy.on_owner_down {
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
                self.journey.candidates.ask_owner_again();
                Ok(())
            }
            OnOwnerDown::Restart if self.journey.run == Some(Run::Chat) => {
                let note = self.journey.leave_conversation().await?.ok_or_else(refusal)?;
                self.journey.restarted = Some(note);
                Ok(())
            }
            OnOwnerDown::Fail | OnOwnerDown::Restart => Err(refusal()),
        }
    }

    /// Nobody is left to be asked.
    fn end(&mut self) -> Result<Forwarded, GatewayError> {
        if let Some(discarded) = self.discarded.take() {
            return Ok(discarded);
        }
        let candidates = &self.journey.candidates;
        match (self.not_here.take(), self.last.take()) {
            (Some(answer), None) if self.owner_said_so || candidates.skipped().is_empty() => {
                if self.owner_said_so {
                    let owners = self.journey.worker.shared().owners();
                    self.journey.claims.forget(self.journey.scope(), owners);
                }
                Ok(answer)
            }
            (Some(_), last) => Err(errors::perhaps_elsewhere(candidates, last.as_ref())),
            (None, Some(failure)) => Err(errors::of(&failure)),
            (None, None) => Err(errors::nobody(candidates)),
        }
    }
}
