//! Who has the dataset that a request changes or searches, where nobody knows.
//!
//! A GET may be sent to one instance after the other until one has the dataset. Anything else is not sent
//! on a guess: all are asked for the dataset at once, and the one that has it gets the request. What that
//! says is the answer.
//!
//! Limits: as of `locate`, where all clients of an app count as one user.

use std::sync::Arc;

use http::{HeaderValue, Method};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::affinity::{Lasting, Scope, now_s};
use crate::dify::path::CallKind;
use crate::gateway::body::Kept;
use crate::gateway::journey::Journey;
use crate::gateway::locate::{Asking, Located, PAUSE, UnderWay, locate};
use crate::gateway::outbound::{Key, Outbound};
use crate::gateway::policy::OnOwnerDown;
use crate::gateway::refusals;
use crate::gateway::select::Tie;
use crate::model::Refusal;

impl Journey {
    /// Whether it may do more to a dataset than show it.
    pub(super) fn acts_on_a_dataset(&self) -> bool {
        self.kind == CallKind::Datasets && !self.outbound.is_idempotent()
    }

    /// Finds out who has the dataset that the request acts on, if that is not known.
    ///
    /// # Errors
    /// Somebody who may have it cannot be asked; too many searches are under way.
    pub(super) async fn find_dataset(&mut self) -> Result<(), Refusal> {
        let is_open = self.candidates.tie() != Tie::Owner && self.candidates.are_independent();
        let id = self.claims.ids().first().copied().filter(|_| is_open);
        let Some(id) = id else { return Ok(()) };
        let scope = Scope::new(self.app.name.as_str(), "");
        let shared = Arc::clone(self.worker.shared());
        let owners = shared.owners();
        if owners.nowhere.has(scope.of(id), now_s()) {
            self.nowhere = true;
            return Ok(());
        }
        let under_way = UnderWay::begin(&self.app.stats, scope);
        let _under_way = under_way.ok_or_else(refusals::too_many_searches)?;
        let queues = self.app.pool.members.iter().map(|member| member.queue.timeout);
        let until = Instant::now() + queues.max().unwrap_or_default();
        loop {
            match self.ask_for_dataset(id).await {
                Located::At(place) => {
                    self.app.stats.located.add_one();
                    if let Some(member) = self.app.pool.members.get(place) {
                        owners.learn(id, member.name(), Lasting::Yes, now_s());
                        self.candidates.tie_to(place);
                    }
                    return Ok(());
                }
                Located::Nobody => {
                    self.app.stats.located_nobody.add_one();
                    owners.nowhere.note(scope.of(id), now_s());
                    self.nowhere = true;
                    return Ok(());
                }
                Located::Unsure(_)
                    if self.app.policy.on_owner_down == OnOwnerDown::Queue
                        && Instant::now() < until =>
                {
                    sleep(PAUSE).await;
                }
                Located::Unsure(names) => return Err(refusals::perhaps_there(&names)),
            }
        }
    }

    async fn ask_for_dataset(&self, id: Uuid) -> Located {
        let (json, request_id) =
            (HeaderValue::from_static("application/json"), self.record.request_id());
        let path = format!("/v1/datasets/{id}");
        let mut outbound = Outbound::own(Method::GET, &path, json, Kept::EMPTY, request_id);
        outbound.use_key(Key::Datasets);
        let Self { worker, snapshot, app, .. } = self;
        locate(Asking { worker, snapshot, app }, CallKind::Datasets, outbound).await
    }
}
