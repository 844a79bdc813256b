//! Running streams by their task id, so that a stop request finds them.
//!
//! Dify does this with a Redis flag for task, app and user; who does not know all three gets the
//! same `success` and no effect. Later releases have a second flag for flows, of the task alone. A
//! blocking run cannot be stopped and is not listed.

use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

/// Who asked for a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    User,
    Other,
}

/// What others than its user may do to a run that wants to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// End it at once.
    Interrupt,
    /// Spoil its end.
    Spoil,
}

/// The flag a run looks at; the first word counts.
#[derive(Debug)]
pub(crate) struct Stop(watch::Sender<Option<By>>);

impl Stop {
    pub(crate) fn asked_by(&self) -> Option<By> {
        *self.0.borrow()
    }

    /// Waits for a stop that ends the run at once.
    pub(crate) async fn asked(&self, others: Others) {
        let ends = |by: &Option<By>| match by {
            Some(By::User) => true,
            Some(By::Other) => others == Others::Interrupt,
            None => false,
        };
        let _ = self.0.subscribe().wait_for(ends).await;
    }
}

/// Whose task it is, or who asks for its end.
pub(crate) struct Whose<'a> {
    pub(crate) app: Uuid,
    pub(crate) user: &'a str,
    /// Whether nodes make its answers.
    pub(crate) flow: Flows,
}

/// Whether an app is a chatflow or a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flows {
    Yes,
    No,
}

struct Task {
    app: Uuid,
    user: String,
    flow: Flows,
    stop: Arc<Stop>,
}

#[derive(Default)]
pub(crate) struct Tasks {
    #[expect(clippy::disallowed_types, reason = "stands for Redis, held for one look-up")]
    running: std::sync::Mutex<HashMap<Uuid, Task>>,
}

impl Tasks {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Task>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn start(&self, task: Uuid, whose: &Whose<'_>) -> Arc<Stop> {
        let stop = Arc::new(Stop(watch::Sender::new(None)));
        let row = Task {
            app: whose.app,
            user: whose.user.to_owned(),
            flow: whose.flow,
            stop: Arc::clone(&stop),
        };
        self.running().insert(task, row);
        stop
    }

    pub(crate) fn end(&self, task: Uuid) {
        self.running().remove(&task);
    }

    /// Asks the task to stop: its own user may, and of a flow, where `others` may, any flow's key.
    pub(crate) fn stop(&self, task: &str, asker: &Whose<'_>, others: Flows) {
        let Ok(task) = Uuid::parse_str(task) else { return };
        let running = self.running();
        let Some(task) = running.get(&task) else { return };
        let by = if task.app == asker.app && task.user == asker.user {
            By::User
        } else if others == Flows::Yes && task.flow == Flows::Yes && asker.flow == Flows::Yes {
            By::Other
        } else {
            return;
        };
        task.stop.0.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(by);
            first
        });
    }
}
