//! The worker that does the streamed runs of flows from 1.13 on (Celery): places and a queue.
//!
//! It is a process of its own: what breaks the API does not touch it. A killed one loses what it
//! runs and is not told again; what waits in the queue stays there until a worker is back.

use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// How the worker is right now.
#[derive(Debug, Clone, Copy)]
struct Condition {
    /// Whether it takes runs from the queue.
    up: bool,
    /// Grows when all runs of the time are lost.
    epoch: u64,
}

pub(crate) struct Worker {
    places: Arc<Semaphore>,
    condition: watch::Sender<Condition>,
}

impl Worker {
    /// A worker that does so many runs at a time, at least one.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))),
            condition: watch::Sender::new(Condition { up: true, epoch: 0 }),
        }
    }

    /// It takes runs again.
    pub(crate) fn start(&self) {
        self.condition.send_modify(|now| now.up = true);
    }

    /// It finishes what it runs and takes nothing more.
    pub(crate) fn stop(&self) {
        self.condition.send_modify(|now| now.up = false);
    }

    /// It is gone at once, with what it runs.
    pub(crate) fn kill(&self) {
        self.condition.send_modify(|now| {
            now.up = false;
            now.epoch += 1;
        });
    }

    /// Runs this when a place is free, up to its end or the worker's.
    pub(crate) async fn run(&self, job: impl Future<Output = ()>) {
        let mut condition = self.condition.subscribe();
        loop {
            let Ok(place) = self.places.acquire().await else { return };
            let now = *condition.borrow_and_update();
            if now.up {
                tokio::select! {
                    () = job => {}
                    _ = condition.wait_for(|later| later.epoch != now.epoch) => {}
                }
                return;
            }
            drop(place);
            if condition.wait_for(|now| now.up).await.is_err() {
                return;
            }
        }
    }
}
