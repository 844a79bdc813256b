//! What callers meet while the store fails.

/// The store fails, and the policy is to refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the conversation store failed: {0}")]
pub struct StoreDown(pub(super) String);
