//! A source's life: it runs as a task, publishes what it finds, and is asked to look again.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::endpoint::{DiscoveredSet, MAX_ENDPOINTS};
use super::error::SourceError;

/// How often a source asks at most when it is told to.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Finds endpoints.
pub trait Source: Send + 'static {
    /// What status and logs call it: `dns api:5001`.
    fn describe(&self) -> String;

    /// For how long its last good set holds while it fails.
    fn keep_last(&self) -> KeepLast;

    /// Looks for endpoints and publishes each set and each failure; it ends only by being dropped.
    fn run(self, publisher: Publisher, refresh: Refresh) -> impl Future<Output = ()> + Send;
}

/// For how long the last good set holds while its source fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepLast {
    /// Until the source works again.
    #[default]
    Forever,
    /// For so long after the last success; then the set is empty.
    For(Duration),
}

/// What is known of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The last good set; none before the first.
    pub set: Option<Arc<DiscoveredSet>>,
    /// When the source last gave an answer.
    pub last_success: Option<SystemTime>,
    /// The last failure, also of a source that works again.
    pub last_error: Option<LastError>,
    /// Whether the source fails now: `set` is an old one.
    pub failing: bool,
}

/// When and how a source failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// When.
    pub at: SystemTime,
    /// How.
    pub error: SourceError,
}

/// Tells what a source finds. For sources.
#[derive(Debug)]
pub struct Publisher {
    state: watch::Sender<SourceState>,
    keep_last: KeepLast,
    last_good: Option<Instant>,
}

impl Publisher {
    /// The source gave an answer: the full set. Who waits is woken only if something is new.
    pub fn succeeded(&mut self, set: DiscoveredSet) {
        if set.endpoints.len() > MAX_ENDPOINTS {
            return self.failed(SourceError::TooMany { count: set.endpoints.len() });
        }
        self.last_good = Some(Instant::now());
        self.state.send_if_modified(|state| {
            state.last_success = Some(SystemTime::now());
            let recovered = std::mem::take(&mut state.failing);
            if state.set.as_deref() == Some(&set) {
                return recovered;
            }
            state.set = Some(Arc::new(set));
            true
        });
    }

    /// The source gave none, or one that cannot be used. Who waits is woken if it did not fail before, if
    /// it fails in another way, or if the last set is too old now.
    pub fn failed(&mut self, error: impl Into<SourceError>) {
        let error = error.into();
        let is_too_old = match self.keep_last {
            KeepLast::Forever => false,
            KeepLast::For(limit) => self.last_good.is_some_and(|at| at.elapsed() >= limit),
        };
        self.state.send_if_modified(|state| {
            let is_known =
                state.failing && state.last_error.as_ref().is_some_and(|last| last.error == error);
            state.failing = true;
            state.last_error = Some(LastError { at: SystemTime::now(), error });
            let has_endpoints = state.set.as_ref().is_some_and(|set| !set.endpoints.is_empty());
            if is_too_old && has_endpoints {
                let notes = vec!["the last set is older than `keep_last`".to_owned()];
                state.set = Some(Arc::new(DiscoveredSet { endpoints: Vec::new(), notes }));
                return true;
            }
            !is_known
        });
    }
}

/// Tells a source to look at once. For sources.
#[derive(Clone, Debug, Default)]
pub struct Refresh(Arc<Notify>);

impl Refresh {
    /// Waits until somebody asked for a look, and a second has gone by since the one that began at `last`.
    /// Nothing is lost if this is dropped before it is ready.
    pub async fn asked(&self, last: Instant) {
        sleep_until(last + REFRESH_EVERY).await;
        self.0.notified().await;
    }
}

/// A running source. It ends when this is dropped.
#[derive(Debug)]
pub struct SourceHandle {
    description: String,
    state: watch::Receiver<SourceState>,
    refresh: Refresh,
    task: AbortHandle,
}

impl SourceHandle {
    /// What status and logs call it.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What is known now.
    pub fn state(&self) -> SourceState {
        self.state.borrow().clone()
    }

    /// Wakes when the set changed, and when the source began or ceased to fail. `last_success` moves on
    /// without waking anybody.
    pub fn subscribe(&self) -> watch::Receiver<SourceState> {
        self.state.clone()
    }

    /// Has it look at once, at most once a second: a connection to one of its endpoints could not be made.
    pub fn refresh(&self) {
        self.refresh.0.notify_one();
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins a source as a task of the runtime that this is called on.
pub fn spawn(source: impl Source) -> SourceHandle {
    let description = source.describe();
    let (sender, state) = watch::channel(SourceState::default());
    let publisher = Publisher { state: sender, keep_last: source.keep_last(), last_good: None };
    let refresh = Refresh::default();
    let task = tokio::spawn(source.run(publisher, refresh.clone())).abort_handle();
    SourceHandle { description, state, refresh, task }
}

#[cfg(test)]
mod tests;
