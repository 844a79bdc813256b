//! What a request carries from its first attempt to its answer.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::affinity::Scope;
use crate::balance::WorkKind;
use crate::dify::path::{CallKind, Run};
use crate::gateway::http::send_state::Progress;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::resource_ids::{Claims, Whose};
use crate::gateway::proxy::select::{Asker, Candidates, Tie};
use crate::gateway::state::app::App;
use crate::gateway::state::conversation_lock::Turn;
use crate::gateway::state::member::Member;
use crate::gateway::state::runs::RunPlace;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::attempt::Answer;
use crate::gateway::upstream::classify_response::Look;
use crate::gateway::upstream::upstream_request::Outbound;
use crate::gateway::upstream::worker::Worker;
use crate::model::GatewayError;

/// All that a request needs from its first attempt on. It owns it, because it may outlive its client.
pub(crate) struct Journey {
    /// Whose request it is.
    pub worker: Rc<Worker>,
    /// The configuration it goes by.
    pub snapshot: Arc<Snapshot>,
    /// The app.
    pub app: Arc<App>,
    /// The call.
    pub kind: CallKind,
    /// The run that it starts, if it starts one.
    pub run: Option<Run>,
    /// Its run is streamed.
    pub is_streamed: bool,
    /// Its place among the streamed flows of the instance that it is sent to.
    pub place: Option<RunPlace>,
    /// The user as Dify will know it: the one in the body.
    pub user_in_body: Option<String>,
    /// What it names.
    pub claims: Claims,
    /// Who may be asked.
    pub candidates: Candidates,
    /// What is sent.
    pub outbound: Outbound,
    /// How far it is.
    pub progress: Progress,
    /// What is written of it.
    pub record: Box<Record>,
    /// The right to speak in its conversation, where that is needed.
    pub turn: Option<Turn>,
    /// All instances were asked for what it names, and none has it.
    pub nowhere: bool,
    /// What the client is told of the conversation that the request has left.
    pub restarted: Option<HeaderValue>,
}

/// What a journey begins with.
pub(crate) struct Departure<'a> {
    /// Whose request it is.
    pub worker: Rc<Worker>,
    /// The configuration it goes by.
    pub snapshot: Arc<Snapshot>,
    /// The app.
    pub app: Arc<App>,
    /// The call.
    pub kind: CallKind,
    /// The run that it starts, if it starts one.
    pub run: Option<Run>,
    /// Its run is streamed.
    pub is_streamed: bool,
    /// The user as Dify will know it: the one in the body.
    pub user_in_body: Option<String>,
    /// By what its instance is chosen where it names nothing.
    pub spread_by: SpreadBy<'a>,
    /// Where the client is.
    pub address: IpAddr,
    /// What it names.
    pub claims: Claims,
    /// What is sent.
    pub outbound: Outbound,
    /// What is written of it.
    pub record: Box<Record>,
}

/// By what the instance of a request is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpreadBy<'a> {
    /// The user in its body.
    UserInBody,
    /// This user; none: the client's address or its turn.
    User(Option<&'a str>),
}

impl Journey {
    /// A request that is ready for its first attempt.
    pub(crate) fn new(departure: Departure<'_>) -> Box<Self> {
        let Departure { worker, snapshot, app, kind, run, is_streamed, .. } = departure;
        let Departure { user_in_body, spread_by, address, claims, outbound, record, .. } =
            departure;
        let user = match spread_by {
            SpreadBy::UserInBody => user_in_body.as_deref(),
            SpreadBy::User(user) => user,
        };
        let ties = claims.ties(&app, worker.shared().owners());
        let flow = is_streamed && is_flow(run, &app);
        let run_span_ms = flow.then(|| millis(snapshot.timeouts.run_start));
        let asker = Asker { user, address, ties, work: work(run), run_span_ms };
        let candidates = Candidates::new(&app, asker, snapshot.last_resort);
        Box::new(Self {
            worker,
            snapshot,
            app,
            kind,
            run,
            is_streamed,
            place: None,
            user_in_body,
            claims,
            candidates,
            outbound,
            progress: Progress::default(),
            record,
            turn: None,
            nowhere: false,
            restarted: None,
        })
    }

    /// Whether it is known to be a streamed flow, which from Dify 1.13 on needs a worker.
    pub(crate) fn is_streamed_flow(&self) -> bool {
        self.is_streamed && is_flow(self.run, &self.app)
    }

    /// Which answers must be understood before they are passed on.
    pub(crate) fn look(&self) -> Look {
        Look {
            kind: self.kind,
            names_an_id: self.is_searched_for() && !self.has_the_last_word(),
            starts_run: self.run.is_some(),
        }
    }

    /// Whether what the first instance says is the answer: it is known to have the file or the server of
    /// tools, and refuses for another reason, such as a link that is too old; or a dataset is to be
    /// changed, and nobody else may be asked to.
    fn has_the_last_word(&self) -> bool {
        let is_keyless = matches!(self.kind, CallKind::SignedFile | CallKind::McpServer);
        self.acts_on_a_dataset() || (is_keyless && self.candidates.tie() == Tie::Owner)
    }

    /// Whether the beginning of its stream may say that the instance does not have a file.
    pub(crate) fn may_lack_file(&self) -> bool {
        let elsewhere = self.claims.conversation.is_none() && self.candidates.tie() != Tie::Owner;
        self.claims.files && self.run.is_some() && elsewhere && self.is_searched_for()
    }

    /// Whether what it names is on one instance, and others can be asked for it.
    pub(crate) fn is_searched_for(&self) -> bool {
        self.claims.is_any() && !self.nowhere && self.candidates.are_independent()
    }

    /// The user as Dify knows them: in the body, or in the query of a call that has none.
    pub(crate) fn dify_user(&self) -> Option<Cow<'_, str>> {
        let in_query = || self.outbound.in_query("user");
        self.user_in_body.as_deref().map(Cow::Borrowed).or_else(in_query)
    }

    /// Who asks, as Dify knows them.
    pub(crate) fn scope(&self) -> Scope {
        Scope::new(self.app.name.as_str(), &self.dify_user().unwrap_or_default())
    }

    /// The same, with where their data is.
    pub(crate) fn whose(&self) -> Whose {
        let key = self.record.key();
        let key = key.and_then(|key| key.id_scope(self.app.name.as_str()));
        Whose { scope: self.scope(), key, storage: self.app.policy.storage }
    }

    /// Makes the turn one of a new conversation, that any instance can have. What the client is told
    /// of that, or none if the request names no conversation, or something else beside it.
    pub(crate) async fn leave_conversation(&mut self) -> Result<Option<HeaderValue>, GatewayError> {
        let Some((id, place)) = self.claims.leave_conversation() else { return Ok(None) };
        self.outbound
            .leave_conversation(place)
            .await
            .map_err(|error| errors::spool_failed(&error))?;
        self.candidates.leave_owner();
        self.record.note(format!("conversation {id} is left: its instance is out"));
        Ok(HeaderValue::try_from(format!("restarted; was={id}")).ok())
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
pub(crate) type Travelled = (Box<Journey>, Result<Forwarded, GatewayError>);

/// An answer's head, whose it is, and the body to come.
pub(crate) struct Forwarded {
    /// The member that answered.
    pub member: Arc<Member>,
    /// Its answer.
    pub answer: Box<Answer>,
    /// The member counts this request as under way until this is dropped.
    pub flight: Flight,
    /// What the client is told of its conversation.
    pub conversation: Option<HeaderValue>,
}

/// A request under way at an instance.
pub(crate) struct Flight(Arc<Member>);

impl Flight {
    pub(crate) fn begin(member: &Arc<Member>) -> Self {
        member.instance.in_flight().rise();
        member.stats.in_flight.rise();
        Self(Arc::clone(member))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.instance.in_flight().fall();
        self.0.stats.in_flight.fall();
    }
}
