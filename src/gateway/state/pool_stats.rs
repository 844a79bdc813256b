//! What is counted for a pool.

use crate::balance::Budget;
use crate::telemetry::Counter;

/// What the retry loop counts for a pool; it survives a reload by the pool's name.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// What is left of the retry budget.
    pub budget: Budget,
    /// Attempts at a further instance after a failed one.
    pub retries: Counter,
    /// Attempts that the budget did not allow.
    pub retries_refused: Counter,
}
