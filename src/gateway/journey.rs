//! What a request carries from its first attempt to its answer.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use crate::dify::path::{CallKind, Run};
use crate::gateway::attempt::Answer;
use crate::gateway::claim::Claims;
use crate::gateway::member::Member;
use crate::gateway::outbound::Outbound;
use crate::gateway::progress::Progress;
use crate::gateway::record::Record;
use crate::gateway::select::Candidates;
use crate::gateway::snapshot::{App, Snapshot};
use crate::gateway::turns::Turn;
use crate::gateway::worker::Worker;
use crate::model::Refusal;

/// All that a request needs from its first attempt on. It owns it, because it may outlive its client.
pub(super) struct Journey {
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

/// A request at the end of its attempts.
pub(super) type Travelled = (Box<Journey>, Result<Forwarded, Refusal>);

/// An answer's head, whose it is, and the body to come.
pub(super) struct Forwarded {
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
pub(super) struct Flight(Arc<Member>);

impl Flight {
    pub(super) fn begin(member: &Arc<Member>) -> Self {
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
