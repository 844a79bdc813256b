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
use crate::gateway::http::send_state::SendState;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::{Exchange, ForwardResult, InFlightGuard, UpstreamResponse};
use crate::gateway::proxy::record::AttemptFailure;
use crate::gateway::proxy::select::{Binding, Candidate, Next};
use crate::gateway::state::member::Member;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::attempt::{AttemptDeadlines, attempt};
use crate::gateway::upstream::attempt_error::AttemptError;
use crate::gateway::upstream::classify_response;
use crate::gateway::upstream::upstream_request::UpstreamRequest;
use crate::gateway::upstream::worker::Worker;
use crate::model::GatewayError;

impl Exchange {
    /// Whether this is a stop of a task that may run on any of several instances.
    pub(crate) fn is_stop_for_all(&self) -> bool {
        self.call.as_ref().is_some_and(|call| matches!(call.kind, CallKind::Stop(_)))
            && self.candidates.binding() != Binding::Owner
            && self.candidates.are_independent()
    }
}

/// Sends the request to every instance in rotation. The response is the first in the request's own order
/// that succeeded, else the first.
pub(crate) async fn broadcast(mut exchange: Box<Exchange>) -> ForwardResult {
    let result = ask_all(&mut exchange).await;
    (exchange, result)
}

async fn ask_all(exchange: &mut Exchange) -> Result<UpstreamResponse, GatewayError> {
    let mut asked = JoinSet::new();
    let outbound = Rc::new(exchange.outbound.clone());
    exchange.progress.begin();
    let mut place = 0;
    while let Next::Ask(candidate) = exchange.candidates.next(exchange.worker.shared().now_ms()) {
        let question = Query {
            worker: Rc::clone(&exchange.worker),
            snapshot: Arc::clone(&exchange.snapshot),
            outbound: Rc::clone(&outbound),
        };
        let order = place;
        place += 1;
        let patience = exchange.snapshot.timeouts.first_byte_idempotent;
        asked.spawn_local(async move { (order, question.ask(candidate, patience).await) });
    }
    let mut results = asked.join_all().await;
    results.sort_by_key(|(order, _)| *order);
    let mut last = None;
    let mut best: Option<UpstreamResponse> = None;
    for (_, result) in results {
        match result {
            Ok(forwarded) if best.as_ref().is_none_or(|best| !succeeded(best)) => {
                if best.is_none() || succeeded(&forwarded) {
                    best = Some(forwarded);
                }
            }
            Ok(_) => {}
            Err((member, failure)) => {
                exchange.record.attempt_failed(&member, AttemptFailure::Failed(failure.reason));
                last = Some(failure);
            }
        }
    }
    match (best, last) {
        (Some(forwarded), _) => Ok(forwarded),
        (None, Some(failure)) => Err(errors::of(&failure)),
        (None, None) => Err(errors::nobody(&exchange.candidates)),
    }
}

/// One small request that several instances get at once.
pub(crate) struct Query {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    pub outbound: Rc<UpstreamRequest>,
}

impl Query {
    /// One instance's response, read whole, or why there is none within `patience`.
    pub(crate) async fn ask(
        self,
        candidate: Candidate,
        patience: Duration,
    ) -> Result<UpstreamResponse, (Arc<Member>, AttemptError)> {
        let Self { worker, snapshot, outbound } = self;
        let Candidate { member, permit } = candidate;
        let flight = InFlightGuard::begin(&member);
        let (now, timeouts) = (Instant::now(), &snapshot.timeouts);
        let patience =
            AttemptDeadlines { now, timeouts, first_byte: patience, until: now + patience };
        let (connections, progress) = (&worker.connections, SendState::default());
        let response = attempt(connections, &member, &outbound, &progress, patience).await;
        let response = match response {
            Ok(response) => {
                classify_response::read(
                    response,
                    &member,
                    connections,
                    classify_response::MAX_BYTES,
                )
                .await
            }
            Err(failure) => Err(failure),
        };
        match response {
            Ok(response) => {
                let arrived_ms = worker.shared().ms_at(response.arrived.into_std());
                permit.answered(&response, arrived_ms);
                Ok(UpstreamResponse { member, response, flight, conversation: None })
            }
            Err(failure) => {
                permit.failed(&failure, worker.shared());
                Err((member, failure))
            }
        }
    }
}

fn succeeded(forwarded: &UpstreamResponse) -> bool {
    forwarded.response.head.status.is_success()
}
