//! A user's first turn at an instance begins before the next ones.
//!
//! Six first turns at once of a user whom a Dify has not seen made three end users there, and the
//! conversations of two of them were then 404 for ever (measured on main; `new-user-race-*`). Dify makes the
//! end user before it answers, so the next turns wait for the head of the first one's answer. Lists and
//! uploads make one, too, and so do the gateway's own questions for conversations.
//!
//! Limits: 2 s; 65,536 users are remembered as met.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::affinity::{AppTag, Owners, Scope, now_s};
use crate::dify::path::CallKind;
use crate::gateway::proxy::exchange::Exchange;
use crate::gateway::state::app::App;
use crate::gateway::state::app_stats::AppStats;
use crate::gateway::state::first_turn_locks::{FirstTurnGuard, Lookup};
use crate::gateway::state::member::Member;
use crate::gateway::state::shared::Shared;

/// What waits longer goes on all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// A run of a user whom the instance may not have met.
pub(crate) struct FirstTurn {
    user: Uuid,
    _turn: Option<FirstTurnGuard>,
}

impl FirstTurn {
    /// Dify has answered: it knows the user.
    pub(crate) fn begun(self, owners: &Owners) {
        owners.met.note(self.user, AppTag::default(), now_s());
    }
}

/// Waits until a first call of the same user at the same instance has begun, if there is one, and counts the
/// wait. None if they have met.
pub(crate) async fn meet(shared: &Shared, stats: &AppStats, user: Uuid) -> Option<FirstTurn> {
    let has_met = || shared.owners().met.has(user, now_s());
    if has_met() {
        return None;
    }
    let turns = shared.first_turns();
    let before = match turns.find(user) {
        Lookup::Free(turn) => return Some(FirstTurn { user, _turn: Some(turn) }),
        Lookup::Others => return Some(FirstTurn { user, _turn: None }),
        Lookup::Before(place) => place,
    };
    stats.waited_for_first.add_one();
    let turn = turns.take(user, before, PATIENCE).await;
    // Whoever was before may have met it meanwhile.
    (!has_met()).then_some(FirstTurn { user, _turn: turn })
}

impl Exchange {
    /// The user of a call for which Dify makes an end user, at this instance, if they may not have met,
    /// and the app.
    pub(crate) fn stranger(&self, member: &Member) -> Option<(Arc<App>, Uuid)> {
        let call = self.call.as_ref()?;
        let makes_user = matches!(
            call.kind,
            CallKind::Run(_) | CallKind::Upload | CallKind::Conversations | CallKind::Messages
        );
        if !makes_user {
            return None;
        }
        let user = call.dify_user(&self.outbound)?;
        let scope = Scope::new(call.app.name.as_str(), &user);
        let user = scope.of_text(member.name().as_str().as_bytes());
        let has_met = self.worker.shared().owners().met.has(user, now_s());
        (!has_met).then(|| (Arc::clone(&call.app), user))
    }
}
