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
mod play;
mod preempt;
mod relay;
pub(crate) mod snapshot;
pub(crate) mod stage;
mod steps;
pub(crate) mod turn;
mod usage;
mod workflow;

use crate::app::Mode;
use crate::setup::Fault;
use crate::wire::answer::Answer;
use crate::wire::socket::Wire;
use play::{Listed, play};
pub(crate) use relay::{Pause, Pings, Source, cut, relay};
pub(crate) use stage::Opening;
use stage::{Halt, Outcome, Sink, Stage};
use std::sync::Arc;
use turn::Turn;

/// Seconds after which a stream of the API's own breaks off when Redis is away.
const REDIS_PATIENCE: u32 = 9;

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
