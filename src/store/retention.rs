//! How much is kept and for how long, and the clock by which that is judged.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How much is kept of a table.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Rows at most.
    pub max_entries: usize,
    /// How long a row is kept after its last use.
    pub max_age: Duration,
}

impl Retention {
    /// What was used before this second since 1970 is too old.
    pub fn oldest_s(&self, now_s: u32) -> u32 {
        now_s.saturating_sub(u32::try_from(self.max_age.as_secs()).unwrap_or(u32::MAX))
    }

    /// Whether there are so many more that the oldest are to be taken out now.
    pub fn is_exceeded_by(&self, rows: u64) -> bool {
        usize::try_from(rows).unwrap_or(usize::MAX) > self.max_entries + self.max_entries / 64
    }
}

/// Seconds since 1970, as tables count them; the year 2106 is the last.
pub fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
