//! The events of a run that goes on in the worker, for whoever listens: nothing is kept.

use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

/// What a listener hears.
#[derive(Debug, Clone)]
pub(crate) enum Heard {
    Event(Arc<str>),
    /// The run has paused for a human.
    Paused,
    /// The last event came; the stream ends at once or after a while.
    Over(End),
}

/// How a stream ends after the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    AtOnce,
    Lingering,
    /// Not at all: what would end it never came.
    Open,
}

/// Who listens to one run.
pub(crate) struct Live {
    /// The task that its events name.
    pub(crate) task: Uuid,
    #[expect(clippy::disallowed_types, reason = "stands for Redis, held for one send")]
    listeners: std::sync::Mutex<Vec<UnboundedSender<Heard>>>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self::of(Uuid::new_v4())
    }

    /// The events of this task.
    #[expect(clippy::disallowed_types, reason = "stands for Redis, held for one send")]
    pub(crate) fn of(task: Uuid) -> Self {
        Self { task, listeners: std::sync::Mutex::new(Vec::new()) }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<UnboundedSender<Heard>>> {
        self.listeners.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Hears everything from now on.
    pub(crate) fn listen(&self) -> UnboundedReceiver<Heard> {
        let (sender, receiver) = unbounded_channel();
        self.listeners().push(sender);
        receiver
    }

    /// Tells all who listen; who has gone is forgotten.
    pub(crate) fn tell(&self, heard: &Heard) {
        self.listeners().retain(|listener| listener.send(heard.clone()).is_ok());
    }
}
