//! What callers meet while the store fails.

/// What happens while the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing is known, and what has to be written waits in memory.
    Continue,
    /// Every call fails.
    Refuse,
}

/// The store fails, and the policy is to refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the conversation store failed: {0}")]
pub struct StoreDown(pub(super) String);
