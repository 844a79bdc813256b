//! What is counted for an app.

use std::sync::Arc;

use crate::gateway::state::runs::AppKind;
use crate::gateway::state::search_limit::SearchLimiter;
use crate::telemetry::{Counter, Histogram};

/// What is counted for an app; what changes with each request is one line of the processor's cache
/// (`repr(C)`), as in
/// [`MemberStats`](crate::gateway::state::member_stats::MemberStats), and is touched when the response is there.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct AppStats {
    /// Responses and refusals by hundreds of their status, 1xx to 5xx.
    pub by_class: [Counter; 5],
    /// From a request's head to the end of its response.
    pub duration: Histogram,
    /// Attempts at a further instance because one does not have what the request names.
    pub asked_around: Counter,
    /// Conversations that were found by asking all instances.
    pub located: Counter,
    /// Conversations that none of them has.
    pub located_nobody: Counter,
    /// Answers to a turn that name another conversation than the turn did.
    pub wrong_conversation: Counter,
    /// Turns that waited because their user was new to the instance.
    pub waited_for_first: Counter,
    /// Searches that are under way.
    pub searches: Arc<SearchLimiter>,
    /// Runs that were stopped because their client went away.
    pub stopped: Counter,
    /// Streamed runs whose client went away before their task was known.
    pub left_before_task: Counter,
    /// Responses that were read to their end because their client went away.
    pub drained: Counter,
    /// Whether its runs are flows.
    pub(crate) kind: AppKind,
}

impl AppStats {
    /// Requests that named this app and have ended.
    pub fn requests(&self) -> u64 {
        self.by_class.iter().map(Counter::get).sum()
    }
}
