//! Whose run a stop may end.
//!
//! Up to 1.5 Dify looks at the user of a stop. From 1.12 on any key of a flow's app stops the run of any
//! user, and on the main branch of 2026 that of another workspace, too (measured). So a stop goes to an
//! instance only for a task that is known to run for this user, or for one that nobody here has seen.

use crate::affinity::now_s;
use crate::dify::path::CallKind;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::Journey;
use crate::model::GatewayError;

impl Journey {
    /// Whether a stop may go to Dify; anything else may.
    ///
    /// # Errors
    /// The task runs for another user or app, or it is unknown and the request came by a key of `keys`,
    /// which speaks for its own users alone.
    pub(crate) fn check_stop(&self) -> Result<(), GatewayError> {
        if !matches!(self.kind, CallKind::Stop(_)) {
            return Ok(());
        }
        let (owners, now_s) = (self.worker.shared().owners(), now_s());
        let mut known = false;
        for task in self.claims.ids() {
            if owners.used.has(self.scope().of(*task), now_s) {
                return Ok(());
            }
            known |= owners.owner_of(*task, now_s).is_some();
        }
        let by_user_token = self.record.key().is_none_or(|key| key.is_user_token);
        if known || !by_user_token { Err(errors::foreign_task()) } else { Ok(()) }
    }
}
