//! Requests that ended before they were any, in the error log. They have no line in the access log.
//!
//! Anybody can send nonsense as fast as the network takes it, so a worker writes a few lines in a second
//! and then only counts.

use std::cell::Cell;
use std::net::SocketAddr;

use crate::gateway::http::early_error::EarlyError;

/// Lines that a worker writes in a second.
const LINES: u32 = 5;

/// What one worker has written of the second that runs.
#[derive(Debug, Default)]
pub(crate) struct EarlyLog {
    began_ms: Cell<u64>,
    written: Cell<u32>,
    left_out: Cell<u64>,
}

/// What becomes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    Line,
    Count,
}

impl EarlyLog {
    /// Says what was wrong with what a client sent, or counts it. What it sent is not repeated: there may
    /// be a token in it.
    pub(crate) fn refused(&self, peer: SocketAddr, error: EarlyError, now_ms: u64) {
        self.told(now_ms);
        if self.note(now_ms) == Becomes::Line {
            let error = error.error();
            tracing::warn!("client {peer}: {} {}", error.status, error.message);
        }
    }

    /// Says how many were left out, once their second is over.
    pub(crate) fn told(&self, now_ms: u64) {
        if let Some(left_out) = self.end(now_ms) {
            tracing::warn!("{left_out} more requests had no valid head within a second");
        }
    }

    fn note(&self, now_ms: u64) -> Becomes {
        if self.written.get() == 0 {
            self.began_ms.set(now_ms);
        }
        if self.written.get() < LINES {
            self.written.set(self.written.get() + 1);
            return Becomes::Line;
        }
        self.left_out.set(self.left_out.get() + 1);
        Becomes::Count
    }

    /// Ends the second if it is over; how many were left out in it, if any were.
    fn end(&self, now_ms: u64) -> Option<u64> {
        if self.written.get() == 0 || now_ms.saturating_sub(self.began_ms.get()) < 1000 {
            return None;
        }
        self.written.set(0);
        Some(self.left_out.take()).filter(|left_out| *left_out > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Becomes, EarlyLog, LINES};

    #[test]
    fn a_second_has_a_few_lines_and_the_rest_is_counted() {
        let log = EarlyLog::default();
        for second in [10_000, 11_000, 20_000] {
            for _ in 0..LINES {
                assert_eq!(log.note(second), Becomes::Line);
            }
            assert_eq!(log.note(second + 1), Becomes::Count);
            assert_eq!(log.note(second + 998), Becomes::Count);
            assert_eq!(log.end(second + 999), None);
            assert_eq!(log.end(second + 1000), Some(2));
            assert_eq!(log.end(second + 1001), None, "it was said");
        }
        assert_eq!(log.note(30_000), Becomes::Line);
        assert_eq!(log.end(31_000), None, "nothing was left out");
    }
}
