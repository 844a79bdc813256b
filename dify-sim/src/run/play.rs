//! Plays a run as the mode of its app says, and lists it among the tasks meanwhile.

use super::stage::{Halt, Outcome, Stage};
use super::turn::Turn;
use super::{chatflow, plain, workflow};
use crate::app::Mode;
use crate::db::Filled;
use crate::tasks::{Flows, Stop, Whose};
use std::sync::Arc;

/// Plays the run, or what is left of it once this form was filled.
pub(super) async fn play(
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

/// The run is in the list of tasks as long as this lives.
pub(super) struct Listed<'a> {
    turn: &'a Turn,
    stop: Arc<Stop>,
}

impl<'a> Listed<'a> {
    pub(super) fn new(turn: &'a Turn) -> Self {
        let flow = if turn.app.app.mode.is_flow() { Flows::Yes } else { Flows::No };
        let whose = Whose { app: turn.app.id, user: &turn.user, flow };
        Self { turn, stop: turn.shared.tasks.start(turn.task, &whose) }
    }

    pub(super) fn stop(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.turn.shared.tasks.end(self.turn.task);
    }
}
