//! Runs: one turn of a conversation, one completion, one run of a workflow.
//!
//! A run is played once: live (each event is one chunk and one write), in the worker, whose events
//! the API passes on, or silently (a blocking request, answered at the end). What it does to the
//! data is the same.
//!
//! A client that goes away: a live stream ends when a write fails, which is at the second write
//! after the client's FIN and at the first after its RST, and the stored answer stays empty, as
//! with Dify. What runs in the worker, or for a blocking request, goes on to its end and is stored.

mod chatflow;
pub(crate) mod files;
mod flow_files;
mod http;
pub(crate) mod human;
mod inputs;
pub(crate) mod job;
mod model;
pub(crate) mod nodes;
pub(crate) mod place;
mod plain;
mod preempt;
mod relay;
pub(crate) mod snapshot;
pub(crate) mod stage;
mod steps;
pub(crate) mod turn;
mod usage;
mod workflow;

use crate::app::Mode;
use crate::db::Filled;
use crate::live::End;
use crate::setup::Fault;
use crate::tasks::{Flows, Whose};
use crate::wire::answer::Answer;
use crate::wire::socket::Wire;
pub(crate) use relay::{Pause, Pings, Source, cut, relay};
use stage::{Halt, Sink, Stage};
use std::sync::Arc;
use turn::Turn;

/// Seconds after which a stream of the API's own breaks off when Redis is away.
const REDIS_PATIENCE: u32 = 9;

/// How a run ended.
pub(crate) enum Outcome {
    /// With an answer; usage and annotation are JSON text. A workflow has the body of its blocking
    /// answer as answer, and nothing else.
    Done { answer: String, usage: String, annotation: String, end: End },
    /// With an error that ends a stream as an event and a blocking request with 400.
    Failed { code: &'static str, message: String },
    /// It waits for a human.
    Paused,
}

/// Plays the run with no one watching and gives the blocking answer.
pub(crate) async fn blocking(turn: &Arc<Turn>) -> Answer {
    let pace = turn.shared.setup.pace;
    let mut stage = Stage::silent();
    if stage.wait(pace.blocking).await.is_err() {
        return Answer::crash();
    }
    let mode = turn.app.app.mode;
    let outcome = play(turn, &mut stage, None).await;
    if turn.shared.redis_is_away() {
        return Answer::overloaded();
    }
    match outcome {
        Ok(Outcome::Done { answer, .. }) if mode == Mode::Workflow => Answer::run(200, answer),
        Ok(Outcome::Done { answer, usage, annotation, .. }) => {
            Answer::run(200, turn.body(&answer, &usage, &annotation))
        }
        Ok(Outcome::Failed { code, message }) => Answer::error(400, code, &message),
        Ok(Outcome::Paused) => {
            job::keep(turn);
            Answer::run(200, turn.paused_body())
        }
        Err(_) => Answer::crash(),
    }
}

/// Plays the run as a stream on this connection. The error is a client that went away.
pub(crate) async fn stream(turn: &Arc<Turn>, wire: &mut Wire, head: Opening) -> Result<(), Halt> {
    let pace = turn.shared.setup.pace;
    let listed = Listed::new(turn);
    let sink = Sink::new(wire, head);
    let mut stage = Stage::live(sink, listed.stop(), pace.ping_interval);
    tokio::select! {
        biased;
        () = redis_lost(turn) => {
            tokio::time::sleep(pace.second * REDIS_PATIENCE).await;
            return Err(Halt::Gone);
        }
        played = play(turn, &mut stage, None) => { played?; }
    }
    stage.wait_unstopped(turn.naming_time()).await?;
    drop(listed);
    stage.end().await
}

/// Ends when Redis is away, without which a stream of later releases says nothing more.
async fn redis_lost(turn: &Turn) {
    let mut condition = turn.shared.condition.subscribe();
    let away = |now: &crate::state::Condition| now.fault == Fault::RedisDown;
    if !turn.release().is_restx() || condition.wait_for(away).await.is_err() {
        std::future::pending().await
    }
}

/// Plays the run, or what is left of it once this form was filled.
async fn play(
    turn: &Turn,
    stage: &mut Stage<'_>,
    filled: Option<&Filled>,
) -> Result<Outcome, Halt> {
    match turn.app.app.mode {
        Mode::Workflow => workflow::play(turn, stage, filled).await,
        Mode::AdvancedChat => chatflow::play(turn, stage, filled).await,
        // Only flows have nodes that wait for a human.
        _ => plain::play(turn, stage).await,
    }
}

/// The head of a stream, sent with its first event.
pub(crate) struct Opening {
    pub(crate) head: String,
    /// Whether events are chunks; false for HTTP/1.0.
    pub(crate) chunked: bool,
    /// Whether the second event is to be cut in half.
    pub(crate) halved: bool,
}

/// The run is in the list of tasks as long as this lives.
pub(crate) struct Listed<'a> {
    turn: &'a Turn,
    stop: Arc<crate::tasks::Stop>,
}

impl<'a> Listed<'a> {
    fn new(turn: &'a Turn) -> Self {
        let flow = if turn.app.app.mode.is_flow() { Flows::Yes } else { Flows::No };
        let whose = Whose { app: turn.app.id, user: &turn.user, flow };
        Self { turn, stop: turn.shared.tasks.start(turn.task, &whose) }
    }

    fn stop(&self) -> Arc<crate::tasks::Stop> {
        Arc::clone(&self.stop)
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.turn.shared.tasks.end(self.turn.task);
    }
}
