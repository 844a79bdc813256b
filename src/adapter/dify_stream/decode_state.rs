//! How far a stream has been decoded.

use crate::model::{ErrorKind, GatewayError};

/// How far a stream is.
#[derive(Clone, Debug, PartialEq)]
pub enum DecodeState {
    /// More may come.
    Running,
    /// The answer is whole.
    Finished,
    /// The client wants no more of the answer, and the run goes on.
    StopReached,
    /// It failed.
    Failed(GatewayError),
}

impl DecodeState {
    /// The stream broke off; `what` says how.
    pub(super) fn truncated(what: &str) -> Self {
        let message = format!("The app's answer broke off: {what}.");
        let error = GatewayError::new(502, ErrorKind::Server, "upstream_error", message);
        Self::Failed(error.for_good())
    }
}
