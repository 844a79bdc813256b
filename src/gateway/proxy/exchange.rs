//! What a request carries from its first attempt to its response.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::affinity::Scope;
use crate::balance::WorkKind;
use crate::dify::path::{CallKind, Run};
use crate::gateway::http::send_state::SendState;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::resource_ids::{IdScope, OwnerLookup, ResourceIds};
use crate::gateway::proxy::select::{Binding, Candidates, SelectContext};
use crate::gateway::state::app::App;
use crate::gateway::state::conversation_lock::ConversationGuard;
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::Storage;
use crate::gateway::state::pool::Pool;
use crate::gateway::state::runs::RunPermit;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tokens::Key;
use crate::gateway::upstream::attempt::AttemptResponse;
use crate::gateway::upstream::classify_response::Inspection;
use crate::gateway::upstream::upstream_request::UpstreamRequest;
use crate::gateway::upstream::worker::Worker;
use crate::model::GatewayError;

/// All that a request needs from its first attempt on. It owns it, because it may outlive its client.
pub(crate) struct Exchange {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    pub candidates: Candidates,
    pub outbound: UpstreamRequest,
    pub progress: SendState,
    pub record: Box<Record>,
    /// What a call of Dify's API adds; none for any other request.
    pub call: Option<DifyCall>,
}

/// What a request to an app has beside what any proxied request has.
pub(crate) struct DifyCall {
    pub app: Arc<App>,
    pub kind: CallKind,
    /// The run that it starts, if it starts one.
    pub run: Option<Run>,
    pub is_streamed: bool,
    /// Its place among the streamed flows of the instance that it is sent to.
    pub place: Option<RunPermit>,
    /// The user as Dify will know it: the one in the body.
    pub user_in_body: Option<String>,
    pub resource_ids: ResourceIds,
    /// The right to speak in its conversation, where that is needed.
    pub turn: Option<ConversationGuard>,
    /// All instances were asked for what it names, and none has it.
    pub nowhere: bool,
    /// What the client is told of the conversation that the request has left.
    pub restarted: Option<HeaderValue>,
}

pub(crate) struct ExchangeStart<'a> {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    pub app: Arc<App>,
    pub kind: CallKind,
    /// The run that it starts, if it starts one.
    pub run: Option<Run>,
    pub is_streamed: bool,
    /// The user as Dify will know it: the one in the body.
    pub user_in_body: Option<String>,
    /// By what its instance is chosen where it names nothing.
    pub hash_by: HashBy<'a>,
    pub address: IpAddr,
    pub resource_ids: ResourceIds,
    pub outbound: UpstreamRequest,
    pub record: Box<Record>,
}

/// By what the instance of a request is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashBy<'a> {
    UserInBody,
    /// This user; none: the client's address or its turn.
    User(Option<&'a str>),
}

impl Exchange {
    /// A call of Dify's API that is ready for its first attempt.
    pub(crate) fn new(start: ExchangeStart<'_>) -> Box<Self> {
        let ExchangeStart { worker, snapshot, app, kind, run, is_streamed, .. } = start;
        let ExchangeStart {
            user_in_body, hash_by, address, resource_ids, outbound, record, ..
        } = start;
        let user = match hash_by {
            HashBy::UserInBody => user_in_body.as_deref(),
            HashBy::User(user) => user,
        };
        let owner = resource_ids.owner_lookup(&app, worker.shared().owners());
        let flow = is_streamed && is_flow(run, &app);
        let run_span_ms = flow.then(|| millis(snapshot.timeouts.run_start));
        let (work, storage) = (work(run), app.policy.storage);
        let context = SelectContext { user, address, owner, work, storage, run_span_ms };
        let candidates = Candidates::new(&app.pool, context, snapshot.last_resort);
        let (place, turn, nowhere, restarted) = Default::default();
        let call = DifyCall {
            app,
            kind,
            run,
            is_streamed,
            place,
            user_in_body,
            resource_ids,
            turn,
            nowhere,
            restarted,
        };
        let (call, progress) = (Some(call), SendState::default());
        Box::new(Self { worker, snapshot, candidates, outbound, progress, record, call })
    }

    /// Any request, to whichever instance of a pool the client's address or its turn leads.
    pub(crate) fn to_pool(
        (worker, snapshot): (Rc<Worker>, Arc<Snapshot>),
        pool: &Arc<Pool>,
        address: IpAddr,
        outbound: UpstreamRequest,
        record: Box<Record>,
    ) -> Box<Self> {
        let context = SelectContext {
            user: None,
            address,
            owner: OwnerLookup::None,
            work: WorkKind::Other,
            storage: Storage::Shared,
            run_span_ms: None,
        };
        let candidates = Candidates::new(pool, context, snapshot.last_resort);
        let (call, progress) = (None, SendState::default());
        Box::new(Self { worker, snapshot, candidates, outbound, progress, record, call })
    }

    /// Which responses must be understood before they are passed on; none: none has to.
    pub(crate) fn look(&self) -> Option<Inspection> {
        let call = self.call.as_ref()?;
        Some(Inspection {
            kind: call.kind,
            names_an_id: self.is_searched_for() && !self.has_the_last_word(call),
            starts_run: call.run.is_some(),
        })
    }

    /// Whether what the first instance says is the response: it is known to have the file or the server of
    /// tools, and refuses for another reason, such as a link that is too old; or a dataset is to be
    /// changed, and nobody else may be asked to.
    fn has_the_last_word(&self, call: &DifyCall) -> bool {
        let is_keyless = matches!(call.kind, CallKind::SignedFile | CallKind::McpServer);
        call.acts_on_a_dataset(&self.outbound)
            || (is_keyless && self.candidates.binding() == Binding::Owner)
    }

    /// Whether the beginning of its stream may say that the instance does not have a file.
    pub(crate) fn may_lack_file(&self) -> bool {
        let Some(call) = &self.call else { return false };
        let elsewhere =
            call.resource_ids.conversation.is_none() && self.candidates.binding() != Binding::Owner;
        call.resource_ids.files && call.run.is_some() && elsewhere && self.is_searched_for()
    }

    /// Whether what it names is on one instance, and others can be asked for it.
    pub(crate) fn is_searched_for(&self) -> bool {
        let names = |call: &DifyCall| call.resource_ids.is_any() && !call.nowhere;
        self.call.as_ref().is_some_and(names) && self.candidates.are_independent()
    }

    /// Whether all instances were asked for what it names, and none has it.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.nowhere)
    }

    /// Makes the turn one of a new conversation, that any instance can have. What the client is told
    /// of that, or none if the request names no conversation, or something else beside it.
    pub(crate) async fn leave_conversation(&mut self) -> Result<Option<HeaderValue>, GatewayError> {
        let left = self.call.as_mut().and_then(|call| call.resource_ids.leave_conversation());
        let Some((id, place)) = left else { return Ok(None) };
        self.outbound
            .leave_conversation(place)
            .await
            .map_err(|error| errors::spool_failed(&error))?;
        self.candidates.leave_owner();
        self.record.note(format!("conversation {id} is left: its instance is out"));
        Ok(HeaderValue::try_from(format!("restarted; was={id}")).ok())
    }
}

impl DifyCall {
    /// Whether it is known to be a streamed flow, which from Dify 1.13 on needs a worker.
    pub(crate) fn is_streamed_flow(&self) -> bool {
        self.is_streamed && is_flow(self.run, &self.app)
    }

    /// Whether it may do more to a dataset than show it.
    pub(crate) fn acts_on_a_dataset(&self, outbound: &UpstreamRequest) -> bool {
        self.kind == CallKind::Datasets && !outbound.is_idempotent()
    }

    /// The user as Dify knows them: in the body, or in the query of a call that has none.
    pub(crate) fn dify_user<'a>(&'a self, outbound: &'a UpstreamRequest) -> Option<Cow<'a, str>> {
        let in_query = || outbound.in_query("user");
        self.user_in_body.as_deref().map(Cow::Borrowed).or_else(in_query)
    }

    /// Who asks, as Dify knows them.
    pub(crate) fn scope(&self, outbound: &UpstreamRequest) -> Scope {
        Scope::new(self.app.name.as_str(), &self.dify_user(outbound).unwrap_or_default())
    }

    /// The same, with where their data is, and the key by which the request came.
    pub(crate) fn id_scope(&self, outbound: &UpstreamRequest, key: Option<&Key>) -> IdScope {
        let key = key.and_then(|key| key.id_scope(self.app.name.as_str()));
        IdScope { scope: self.scope(outbound), key, storage: self.app.policy.storage }
    }
}

/// Whether a run is known to be a flow's: by its path, or by what the app's streams have shown. Before they
/// have shown anything, it may be one where runs have to wait for their turn.
fn is_flow(run: Option<Run>, app: &App) -> bool {
    match run {
        Some(Run::Workflow) => true,
        Some(Run::Chat) => {
            let kind = &app.stats.kind;
            kind.is_flow() || (!kind.is_plain() && app.pool.members.iter().any(has_max_runs))
        }
        Some(Run::Completion) | None => false,
    }
}

fn has_max_runs(member: &Arc<Member>) -> bool {
    member.instance.runs().limit().is_some()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn work(run: Option<Run>) -> WorkKind {
    if run.is_some() { WorkKind::Run } else { WorkKind::Other }
}

/// A request at the end of its attempts.
pub(crate) type ForwardResult = (Box<Exchange>, Result<UpstreamResponse, GatewayError>);

/// A response's head, whose it is, and the body to come.
pub(crate) struct UpstreamResponse {
    pub member: Arc<Member>,
    pub response: Box<AttemptResponse>,
    /// The member counts this request as under way until this is dropped.
    pub flight: InFlightGuard,
    /// What the client is told of its conversation.
    pub conversation: Option<HeaderValue>,
}

/// A request under way at an instance.
pub(crate) struct InFlightGuard(Arc<Member>);

impl InFlightGuard {
    pub(crate) fn begin(member: &Arc<Member>) -> Self {
        member.instance.in_flight().rise();
        member.stats.in_flight.rise();
        Self(Arc::clone(member))
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.instance.in_flight().fall();
        self.0.stats.in_flight.fall();
    }
}
