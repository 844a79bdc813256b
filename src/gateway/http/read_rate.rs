//! How fast a client reads a response.

use std::time::Duration;

/// Whether something waits for a client to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backlog {
    None,
    Waits,
}

/// How fast a client takes a response that is ahead of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadRate {
    /// Since when that is watched, and what it took since; none: nothing was ahead of it.
    watched: Option<(u64, u64)>,
}

impl ReadRate {
    /// It took so much, and more waits or did.
    pub(crate) fn taken(self, bytes: usize, now_ms: u64) -> Self {
        let (since_ms, before) = self.watched.unwrap_or((now_ms, 0));
        Self { watched: Some((since_ms, before + bytes as u64)) }
    }

    /// When it can next be judged.
    pub(crate) fn due_ms(self, window: Duration) -> Option<u64> {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        self.watched.map(|(since_ms, _)| since_ms.saturating_add(window_ms))
    }

    /// Whether it was slower than so many bytes per second over a window; at a window's end the next
    /// begins. A rate of 0 asks nothing.
    pub(crate) fn judged(self, min_rate: u64, window: Duration, now_ms: u64) -> (Self, bool) {
        match self.watched {
            Some((since_ms, bytes)) if self.due_ms(window).is_some_and(|due| now_ms >= due) => {
                let least = (now_ms - since_ms).saturating_mul(min_rate) / 1000;
                (Self { watched: Some((now_ms, 0)) }, bytes < least)
            }
            _ => (self, false),
        }
    }
}
