//! A stop whose task's instance is not known: it is sent to all of them.
//!
//! Dify answers 200 to a stop of any task, also of one that it never had (measured on 1.5.0), so
//! asking one after the other until somebody agrees would stop nothing. All are asked at once, because
//! one that hangs must not keep the stop from the one that runs the task.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::dify::path::CallKind;
use crate::gateway::http::send_state::Progress;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::{Flight, Forwarded, Journey, Travelled};
use crate::gateway::proxy::record::Unanswered;
use crate::gateway::proxy::select::{Candidate, Next, Tie};
use crate::gateway::state::member::Member;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::attempt::{Patience, attempt};
use crate::gateway::upstream::attempt_error::AttemptError;
use crate::gateway::upstream::classify_response;
use crate::gateway::upstream::upstream_request::Outbound;
use crate::gateway::upstream::worker::Worker;
use crate::model::GatewayError;

impl Journey {
    /// Whether this is a stop of a task that may run on any of several instances.
    pub(crate) fn is_stop_for_all(&self) -> bool {
        matches!(self.kind, CallKind::Stop(_))
            && self.candidates.tie() != Tie::Owner
            && self.candidates.are_independent()
    }
}

/// Sends the request to every instance in rotation. The answer is the first in the request's own order
/// that succeeded, else the first.
pub(crate) async fn everywhere(mut journey: Box<Journey>) -> Travelled {
    let result = ask_all(&mut journey).await;
    (journey, result)
}

async fn ask_all(journey: &mut Journey) -> Result<Forwarded, GatewayError> {
    let mut asked = JoinSet::new();
    let outbound = Rc::new(journey.outbound.clone());
    journey.progress.begin();
    let mut place = 0;
    while let Next::Ask(candidate) = journey.candidates.next(journey.worker.shared().now_ms()) {
        let question = Question {
            worker: Rc::clone(&journey.worker),
            snapshot: Arc::clone(&journey.snapshot),
            outbound: Rc::clone(&outbound),
        };
        let order = place;
        place += 1;
        let patience = journey.snapshot.timeouts.first_byte_idempotent;
        asked.spawn_local(async move { (order, question.ask(candidate, patience).await) });
    }
    let mut results = asked.join_all().await;
    results.sort_by_key(|(order, _)| *order);
    let mut last = None;
    let mut best: Option<Forwarded> = None;
    for (_, result) in results {
        match result {
            Ok(forwarded) if best.as_ref().is_none_or(|best| !succeeded(best)) => {
                if best.is_none() || succeeded(&forwarded) {
                    best = Some(forwarded);
                }
            }
            Ok(_) => {}
            Err((member, failure)) => {
                journey.record.attempt_failed(&member, Unanswered::Failed(failure.reason));
                last = Some(failure);
            }
        }
    }
    match (best, last) {
        (Some(forwarded), _) => Ok(forwarded),
        (None, Some(failure)) => Err(errors::of(&failure)),
        (None, None) => Err(errors::nobody(&journey.candidates)),
    }
}

/// One small request that several instances get at once.
pub(crate) struct Question {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    pub outbound: Rc<Outbound>,
}

impl Question {
    /// One instance's answer, read whole, or why there is none within `patience`.
    pub(crate) async fn ask(
        self,
        candidate: Candidate,
        patience: Duration,
    ) -> Result<Forwarded, (Arc<Member>, AttemptError)> {
        let Self { worker, snapshot, outbound } = self;
        let Candidate { member, trust } = candidate;
        let flight = Flight::begin(&member);
        let (now, timeouts) = (Instant::now(), &snapshot.timeouts);
        let patience = Patience { now, timeouts, first_byte: patience, until: now + patience };
        let (connections, progress) = (&worker.connections, Progress::default());
        let answer = attempt(connections, &member, &outbound, &progress, patience).await;
        let answer = match answer {
            Ok(answer) => {
                classify_response::read(answer, &member, connections, classify_response::MAX_BYTES)
                    .await
            }
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(answer) => {
                let arrived_ms = worker.shared().ms_at(answer.arrived.into_std());
                trust.answered(&answer, arrived_ms);
                Ok(Forwarded { member, answer, flight, conversation: None })
            }
            Err(failure) => {
                trust.failed(&failure, worker.shared());
                Err((member, failure))
            }
        }
    }
}

fn succeeded(forwarded: &Forwarded) -> bool {
    forwarded.answer.head.status.is_success()
}
