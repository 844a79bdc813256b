//! Runs: one turn of a conversation, one completion, one run of a workflow.
//!
//! A run is played once, either live (each event is one chunk and one write) or silently (a
//! blocking request, answered at the end). What it does to the data is the same.
//!
//! A client that goes away: a stream ends when a write fails, which is at the second write after
//! the client's FIN and at the first after its RST, and the stored answer stays empty, as with
//! Dify 1.5.0. A blocking run goes on to its end and is stored.

mod chatflow;
pub(crate) mod files;
mod model;
mod nodes;
mod plain;
pub(crate) mod stage;
pub(crate) mod turn;
mod usage;
mod workflow;

use crate::app::Mode;
use crate::wire::answer::Answer;
use crate::wire::socket::Wire;
use stage::{Halt, Sink, Stage};
use turn::Turn;

/// How a chat or completion run ended.
pub(crate) enum Outcome {
    /// With an answer; the usage is JSON text.
    Done { answer: String, usage: String },
    /// With an error that ends a stream as an event and a blocking request with 400.
    Failed { code: &'static str, message: String },
}

/// Plays the run with no one watching and gives the blocking answer.
pub(crate) async fn blocking(turn: &Turn) -> Answer {
    let pace = turn.shared.setup.pace;
    let mut stage = Stage::silent();
    if stage.wait(pace.blocking).await.is_err() {
        return Answer::crash();
    }
    if turn.app.app.mode == Mode::Workflow {
        return match workflow::play(turn, &mut stage).await {
            Ok(body) => Answer::json(200, body),
            Err(_) => Answer::crash(),
        };
    }
    match play(turn, &mut stage).await {
        Ok(Outcome::Done { answer, usage }) => Answer::json(200, turn.body(&answer, &usage)),
        Ok(Outcome::Failed { code, message }) => Answer::error(400, code, &message),
        Err(_) => Answer::crash(),
    }
}

/// Plays the run as a stream on this connection. The error is a client that went away.
pub(crate) async fn stream(turn: &Turn, wire: &mut Wire, head: Opening) -> Result<(), Halt> {
    let pace = turn.shared.setup.pace;
    let stop = turn.shared.tasks.start(turn.task, turn.app.id, &turn.user);
    let listed = Listed(turn);
    let sink = Sink::new(wire, head, pace.ping_interval);
    let mut stage = Stage::live(sink, stop);
    if turn.app.app.mode == Mode::Workflow {
        workflow::play(turn, &mut stage).await?;
    } else {
        play(turn, &mut stage).await?;
    }
    stage.wait_unstopped(turn.naming_time()).await?;
    drop(listed);
    stage.end().await
}

async fn play(turn: &Turn, stage: &mut Stage<'_>) -> Result<Outcome, Halt> {
    if turn.app.app.mode == Mode::AdvancedChat {
        chatflow::play(turn, stage).await
    } else {
        plain::play(turn, stage).await
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
struct Listed<'a>(&'a Turn);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.shared.tasks.end(self.0.task);
    }
}
