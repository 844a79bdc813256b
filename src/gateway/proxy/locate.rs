//! Who has what a request names, where nobody knows: all instances are asked at once, by a GET.
//!
//! A turn of an unknown conversation must not be sent on a guess. Up to 1.13 the wrong Dify says 404; later
//! ones answer 200 with a new conversation, or 200 and then nothing (1.12.1, 1.13.3, 1.14.2 and its main
//! branch, measured). So the owner is found first, and the turn goes there alone.
//!
//! Limits: 3 s for a response; 5 such searches at a time for a user and 20 for an app; that nobody has an id
//! is believed for a minute.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use crate::affinity::{Durability, Scope, now_s};
use crate::balance::WorkKind;
use crate::dify::path::CallKind;
use crate::dify::response_body::{KnownRefusal, refusal};
use crate::gateway::proxy::broadcast::Query;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::{DifyCall, Exchange, UpstreamResponse};
use crate::gateway::proxy::first_turn::meet;
use crate::gateway::proxy::resource_ids::OwnerLookup;
use crate::gateway::proxy::select::{Candidates, Next, SelectContext};
use crate::gateway::state::app::App;
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::{OnOwnerDown, Storage};
use crate::gateway::state::search_limit::SearchPermit;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::attempt::AttemptBody;
use crate::gateway::upstream::upstream_request::UpstreamRequest;
use crate::gateway::upstream::worker::Worker;
use crate::model::GatewayError;

/// Who has not answered by then may have it.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two searches while an owner is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// What the log says of a request whose conversation or dataset is nowhere.
const NOBODY: &str = "all instances were asked: none has what the request names";

/// What the instances of an app say of an id.
#[derive(Debug)]
enum Located {
    /// This one has it, by its place in the pool.
    At(usize),
    Nobody,
    /// Those who answered do not have it; these did not.
    Unsure(String),
}

/// Where a question is asked from.
struct QueryContext<'a> {
    /// Who asks, if Dify makes a user of them who is new to it.
    user: Option<Scope>,
    worker: &'a Rc<Worker>,
    snapshot: &'a Arc<Snapshot>,
    app: &'a Arc<App>,
}

/// Sends a GET that names something to every instance of the app at once. `kind` says which answers mean
/// that it is not there.
async fn locate(asking: QueryContext<'_>, kind: CallKind, outbound: UpstreamRequest) -> Located {
    let QueryContext { user, worker, snapshot, app } = asking;
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let (owner, work) = (OwnerLookup::Unknown, WorkKind::Other);
    let storage = Storage::Independent;
    let context = SelectContext { user: None, address, owner, work, storage, run_span_ms: None };
    let mut candidates = Candidates::new(&app.pool, context, snapshot.last_resort);
    let outbound = Rc::new(outbound);
    let mut asked = JoinSet::new();
    let mut silent = Vec::new();
    while let Next::Ask(candidate) = candidates.next(worker.shared().now_ms()) {
        silent.push(Arc::clone(&candidate.member));
        let question = Query {
            worker: Rc::clone(worker),
            snapshot: Arc::clone(snapshot),
            outbound: Rc::clone(&outbound),
        };
        let newcomer = user.map(|scope| scope.of_text(candidate.member.name().as_str().as_bytes()));
        let stats = Arc::clone(&app.stats);
        asked.spawn_local(async move {
            let shared = Arc::clone(question.worker.shared());
            let first = match newcomer {
                Some(user) => meet(&shared, &stats, user).await,
                None => None,
            };
            let forwarded = question.ask(candidate, PATIENCE).await.ok()?;
            let has = has(kind, &forwarded)?;
            // Dify itself has answered, so it knows the user now.
            if let Some(first) = first {
                first.begun(shared.owners());
            }
            Some((forwarded.member, has))
        });
    }
    let until = Instant::now() + PATIENCE;
    while let Ok(Some(answered)) = timeout_at(until, asked.join_next()).await {
        let Ok(Some((who, has))) = answered else { continue };
        let is_who = |member: &Arc<Member>| Arc::ptr_eq(member, &who);
        if has && let Some(place) = app.pool.members.iter().position(is_who) {
            return Located::At(place);
        }
        silent.retain(|member| !is_who(member));
    }
    let names = silent.iter().map(|member| member.name().to_string());
    let out = candidates.skipped().iter();
    let out = out.map(|(member, why)| format!("{} ({})", member.name(), why.label()));
    let unsure: Vec<_> = names.chain(out).collect();
    if unsure.is_empty() { Located::Nobody } else { Located::Unsure(unsure.join(", ")) }
}

/// Whether an instance has what it was asked for; none if its response does not say so.
fn has(kind: CallKind, forwarded: &UpstreamResponse) -> Option<bool> {
    let status = forwarded.response.head.status;
    let body: &[u8] = match &forwarded.response.body {
        AttemptBody::Read(body) => body,
        AttemptBody::Coming(..) => b"",
    };
    match status.as_u16() {
        200 if is_shown(kind, body) => Some(true),
        // A router before it, a firewall or a changed key says nothing of what Dify has.
        status => match refusal(kind, status, body) {
            Some(KnownRefusal::NotHere) => Some(false),
            _ => None,
        },
    }
}

/// Whether it is Dify's list of messages, or its dataset.
fn is_shown(kind: CallKind, body: &[u8]) -> bool {
    let Ok(Value::Object(shown)) = serde_json::from_slice(body) else { return false };
    match kind {
        CallKind::Messages => shown.get("data").is_some_and(Value::is_array),
        _ => shown.get("id").is_some_and(Value::is_string),
    }
}

pub(crate) struct SearchedId {
    pub id: Uuid,
    pub scope: Scope,
    /// Which answers mean that it is not there.
    pub kind: CallKind,
    /// The GET that only who has it answers with 200.
    pub question: UpstreamRequest,
}

impl Exchange {
    /// Asks all instances for what the request names: the request is then tied to the one that has it,
    /// or it is known that nobody has it ([`DifyCall::nowhere`]).
    ///
    /// # Errors
    /// Somebody who may have it does not answer; too many searches are under way.
    pub(crate) async fn search(&mut self, wanted: SearchedId) -> Result<(), GatewayError> {
        let SearchedId { id, scope, kind, question } = wanted;
        let Some(call) = &mut self.call else { return Ok(()) };
        let app = Arc::clone(&call.app);
        if self.worker.shared().owners().nowhere.has(scope.of(id), now_s()) {
            self.record.note_if_none(NOBODY);
            call.nowhere = true;
            return Ok(());
        }
        let under_way = SearchPermit::begin(&app.stats.searches, scope);
        let _under_way = under_way.ok_or_else(errors::too_many_searches)?;
        let queues = app.pool.members.iter().map(|member| member.queue.timeout);
        let until = Instant::now() + queues.max().unwrap_or_default();
        loop {
            let Self { worker, snapshot, .. } = &*self;
            let user = (kind == CallKind::Messages).then_some(scope);
            let asking = QueryContext { user, worker, snapshot, app: &app };
            match locate(asking, kind, question.clone()).await {
                Located::At(place) => {
                    self.found_at(&app, (id, scope), place);
                    return Ok(());
                }
                Located::Nobody => {
                    self.record.note_if_none(NOBODY);
                    app.stats.located_nobody.add_one();
                    let owners = self.worker.shared().owners();
                    owners.nowhere.note(scope.of(id), scope.app(), now_s());
                    self.update(|call| call.nowhere = true);
                    return Ok(());
                }
                Located::Unsure(names) => match app.policy.on_owner_down {
                    OnOwnerDown::Queue if Instant::now() < until => sleep(PAUSE).await,
                    OnOwnerDown::Restart => {
                        let refusal = || errors::perhaps_there(&names);
                        let note = self.leave_conversation().await?.ok_or_else(refusal)?;
                        self.update(|call| call.restarted = Some(note));
                        return Ok(());
                    }
                    OnOwnerDown::Fail | OnOwnerDown::Queue => {
                        return Err(errors::perhaps_there(&names));
                    }
                },
            }
        }
    }

    fn found_at(&mut self, app: &App, (id, scope): (Uuid, Scope), place: usize) {
        app.stats.located.add_one();
        let Some(member) = app.pool.members.get(place) else { return };
        let (owners, now_s) = (self.worker.shared().owners(), now_s());
        owners.learn_all([(id, Durability::Durable)], member.name(), scope.app(), now_s);
        owners.used.note(scope.of(id), scope.app(), now_s);
        self.candidates.tie_to(place);
    }

    fn update(&mut self, change: impl FnOnce(&mut DifyCall)) {
        if let Some(call) = &mut self.call {
            change(call);
        }
    }
}
