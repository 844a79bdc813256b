//! Running streams by their task id, so that a stop request finds them.
//!
//! Dify does this with a Redis flag for task, app and user; who does not know all three gets the
//! same `success` and no effect. A blocking run cannot be stopped and is not listed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use uuid::Uuid;

/// The flag a run looks at.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: AtomicBool,
    woken: Notify,
}

impl Stop {
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    pub(crate) async fn asked(&self) {
        if !self.is_asked() {
            self.woken.notified().await;
        }
    }
}

struct Task {
    app: Uuid,
    user: String,
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

    pub(crate) fn start(&self, task: Uuid, app: Uuid, user: &str) -> Arc<Stop> {
        let stop = Arc::new(Stop::default());
        self.running().insert(task, Task { app, user: user.to_owned(), stop: Arc::clone(&stop) });
        stop
    }

    pub(crate) fn end(&self, task: Uuid) {
        self.running().remove(&task);
    }

    /// Asks the task to stop, if it is one of this app and user.
    pub(crate) fn stop(&self, task: &str, app: Uuid, user: &str) {
        let Ok(task) = Uuid::parse_str(task) else { return };
        if let Some(task) = self.running().get(&task)
            && task.app == app
            && task.user == user
        {
            task.stop.asked.store(true, Ordering::Release);
            task.stop.woken.notify_one();
        }
    }
}
