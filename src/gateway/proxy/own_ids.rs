//! What a key may ask for without naming a user.
//!
//! Dify shows some things to whoever has an app's key and knows the id: runs, forms, files, end users,
//! the sound of a message. A key of `keys` gets what its own answers have named, and nothing else. What
//! lists or changes what belongs to the app as a whole needs `impersonate: true`.

use crate::affinity::now_s;
use crate::dify::path::CallKind;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::Journey;
use crate::gateway::state::tokens::Key;
use crate::model::GatewayError;

impl Journey {
    /// Whether the key that the request came by may have what it asks for.
    ///
    /// # Errors
    /// 403: it is the app's as a whole. 404: nothing of that name is known to be the key's.
    pub(crate) fn check_own(&self) -> Result<(), GatewayError> {
        let Some(key) = self.record.key().filter(|key| !key.names_anybody()) else { return Ok(()) };
        match self.kind {
            CallKind::WorkflowLogs
            | CallKind::AppFeedbacks
            | CallKind::Annotations
            | CallKind::AnnotationReply => Err(errors::not_of_one_key(&key.name)),
            CallKind::WorkflowRunDetail
            | CallKind::HumanInputForm
            | CallKind::FilePreview
            | CallKind::EndUser
            | CallKind::Annotation
            | CallKind::AnnotationReplyStatus => self.check_ids(key, Needs::One),
            CallKind::TextToAudio => self.check_ids(key, Needs::None),
            _ => Ok(()),
        }
    }

    fn check_ids(&self, key: &Key, needs: Needs) -> Result<(), GatewayError> {
        let ids = self.claims.ids();
        let scope = key.id_scope(self.app.name.as_str());
        let (owners, now_s) = (self.worker.shared().owners(), now_s());
        let is_own = |id| scope.is_some_and(|scope| owners.owner_of(scope.of(id), now_s).is_some());
        let named = !ids.is_empty() || needs == Needs::None;
        if named && ids.iter().copied().all(is_own) {
            Ok(())
        } else {
            Err(errors::unknown_to_key())
        }
    }
}

/// How many ids a call must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    One,
    None,
}
