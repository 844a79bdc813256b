//! What Dify says of a run that did not end well.

use crate::model::GatewayError;

/// What Dify says of a run that was stopped where it does not call it `stopped` (1.12 and later, by
/// chance).
const STOP: &str = "User requested stop";

/// Whether a failure is a stop that somebody asked for.
pub(super) fn is_stop(error: &str) -> bool {
    error.contains(STOP)
}

/// As Dify says it of a blocking run, and up to 1.12 in an event of its own.
pub(super) fn run_failed(why: &str) -> GatewayError {
    GatewayError::of_dify(400, "invalid_param", &format!("Run failed: {why}"))
}
