//! What the gateway reads in a response that passes by: the ids that the run made, and what it used.
//!
//! Nothing is held or changed. Of a JSON answer a bounded prefix is kept until its end; of a stream
//! the first events are understood, and of the rest only those that ask a person for something or end
//! it.

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::affinity::Owners;
use crate::dify::path::{CallKind, Run};
use crate::dify::response_body::{
    EventLearner, LearnedIds, Pauses, Usage, explanation, failed_flow, is_skippable, learn_json,
};
use crate::gateway::http::head::ResponseHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::proxy::exchange::Exchange;
use crate::gateway::proxy::resource_ids::{self, IdScope};
use crate::gateway::state::member::Member;

/// How much of a JSON answer is kept to be read: its ids stand at the beginning, its usage at the
/// end, which a longer answer thereby hides.
const MAX_JSON_BYTES: usize = 256 * 1024;

/// How much of a refusal is kept to be read: Dify's have some hundred bytes.
const MAX_REFUSAL_BYTES: usize = 16 * 1024;

/// Whether answers to calls of this kind name ids.
pub(crate) fn tells(kind: CallKind) -> bool {
    matches!(
        kind,
        CallKind::Run(_)
            | CallKind::Upload
            | CallKind::WorkflowEvents
            | CallKind::Annotations
            | CallKind::AnnotationReply
            | CallKind::DatasetList
    )
}

#[derive(Debug)]
pub(crate) enum Tap {
    Off,
    /// A run's stream, and whether all is known of it but its end.
    Events(Box<Stream>, Skippable),
    Json(Box<Json>),
    /// A response with a bad status.
    Refusal(BytesMut),
}

/// Whether a piece of a stream that is [`is_skippable`] needs no look at what is known of the stream: of
/// thousands of streams that is far from the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skippable {
    Yes,
    No,
}

/// See [`Tap::Events`].
#[derive(Debug)]
pub(crate) struct Stream {
    learner: EventLearner,
    asked: Request,
    remember: LearnState,
}

/// What was asked, as far as the response is compared with it.
#[derive(Clone, Copy, Debug)]
struct Request {
    id_scope: IdScope,
    conversation: Option<Uuid>,
}

impl Request {
    /// The conversation that was asked for, and the one that the response is of, if they differ.
    fn strays(self, learned: &LearnedIds) -> Option<(Uuid, Uuid)> {
        self.conversation.zip(learned.conversation_id).filter(|(asked, given)| asked != given)
    }
}

/// How far what a stream names is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LearnState {
    /// Its task has not been named.
    Coming,
    /// What it names first, and so many forms.
    Done(usize),
}

impl Stream {
    fn remember(&mut self, member: &Member, owners: &Owners) {
        let learned = self.learner.learned();
        match self.remember {
            LearnState::Coming if learned.task_id.is_some() => {
                resource_ids::remember(learned, self.asked.id_scope, member, owners);
            }
            LearnState::Done(known) if known < learned.others.len() => {
                let more = &learned.others[known..];
                resource_ids::remember_more(more, self.asked.id_scope, member, owners);
            }
            _ => return,
        }
        self.remember = LearnState::Done(learned.others.len());
    }
}

/// See [`Tap::Json`].
#[derive(Debug)]
pub(crate) struct Json {
    kind: CallKind,
    prefix: BytesMut,
    learned: LearnedIds,
    usage: Option<Usage>,
    failure: Option<String>,
    asked: Request,
}

/// What a stream is still expected to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Run,
    /// More of the sound of its response.
    Sound,
    /// An event that stands close to the run's end, or nothing.
    Little,
}

/// What of a response is still to come after a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    None,
    Some,
}

/// Whether there was anything to read in a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It says nothing that is not known: no end of a run, no id.
    Dull,
    /// It was looked at, or there is nobody to look at it.
    Read,
}

impl Json {
    fn read(&mut self, response: &[u8], member: &Member, owners: &Owners) {
        (self.learned, self.usage) = learn_json(self.kind, response);
        if self.kind == CallKind::Run(Run::Workflow) {
            self.failure = failed_flow(response);
        }
        resource_ids::remember(&self.learned, self.asked.id_scope, member, owners);
    }
}

impl Tap {
    /// What there is to learn from a response to this request.
    pub(crate) fn new(exchange: &Exchange, head: &ResponseHead, events: bool) -> Self {
        let Some(call) = &exchange.call else { return Self::Off };
        let kind = call.kind;
        if head.status.as_u16() >= 400 && !head.headers.has(KnownHeader::ContentEncoding) {
            return Self::Refusal(BytesMut::new());
        }
        if !tells(kind)
            || !head.status.is_success()
            || head.headers.has(KnownHeader::ContentEncoding)
        {
            return Self::Off;
        }
        let id_scope = call.id_scope(&exchange.outbound, exchange.record.key());
        let asked = Request { id_scope, conversation: call.resource_ids.conversation };
        if events {
            let remember = LearnState::Coming;
            let waits = exchange.outbound.in_query("continue_on_pause");
            let pauses = match waits.is_some_and(|waits| waits.eq_ignore_ascii_case("true")) {
                true => Pauses::Wait,
                false => Pauses::End,
            };
            let learner = EventLearner::new().with_pauses(pauses);
            let stream = Stream { learner, asked, remember };
            return Self::Events(Box::new(stream), Skippable::No);
        }
        let (prefix, learned, usage, failure) = Default::default();
        Self::Json(Box::new(Json { kind, prefix, learned, usage, failure, asked }))
    }

    /// A piece of the response passes by.
    pub(crate) fn pass(
        &mut self,
        piece: &Bytes,
        left: Left,
        member: &Member,
        owners: &Owners,
    ) -> Passed {
        match self {
            Self::Off => {}
            Self::Events(_, Skippable::Yes) if is_skippable(piece) => return Passed::Dull,
            Self::Events(stream, calm) => {
                stream.learner.feed(piece);
                *calm = if stream.learner.is_calm() { Skippable::Yes } else { Skippable::No };
                stream.remember(member, owners);
            }
            // The usual answer comes in one piece, and is read where it is.
            Self::Json(json) if left == Left::None && json.prefix.is_empty() => {
                json.read(&piece[..piece.len().min(MAX_JSON_BYTES)], member, owners);
            }
            Self::Json(json) => {
                let room = MAX_JSON_BYTES - json.prefix.len();
                json.prefix.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            Self::Refusal(prefix) => {
                let room = MAX_REFUSAL_BYTES - prefix.len();
                prefix.extend_from_slice(&piece[..piece.len().min(room)]);
            }
        }
        Passed::Read
    }

    /// The response is over, or broke off.
    pub(crate) fn end(&mut self, member: &Member, owners: &Owners) {
        let Self::Json(json) = self else { return };
        if !json.prefix.is_empty() {
            let prefix = std::mem::take(&mut json.prefix);
            json.read(&prefix, member, owners);
        }
    }

    /// The conversation that the request named, and the one that the response is of, if they differ.
    pub(crate) fn strays(&self) -> Option<(Uuid, Uuid)> {
        match self {
            Self::Off | Self::Refusal(_) => None,
            Self::Events(stream, _) => stream.asked.strays(stream.learner.learned()),
            Self::Json(json) => json.asked.strays(&json.learned),
        }
    }

    pub(crate) fn learned(&self) -> Option<&LearnedIds> {
        match self {
            Self::Off | Self::Refusal(_) => None,
            Self::Events(stream, _) => Some(stream.learner.learned()),
            Self::Json(json) => Some(&json.learned),
        }
    }

    /// Whether the stream has said that its run is over; it may stay open after that.
    pub(crate) fn run_ended(&self) -> bool {
        matches!(self, Self::Events(stream, _) if stream.learner.ended())
    }

    /// Whether all of the response is here, so that nothing later undoes it.
    pub(crate) fn answered(&self) -> bool {
        matches!(self, Self::Events(stream, _) if stream.learner.answered())
    }

    /// How the stream of a run that is over may go on.
    pub(crate) fn rest(&self) -> Rest {
        match self {
            Self::Events(stream, _) if !stream.learner.ended() => Rest::Run,
            Self::Events(stream, _) if stream.learner.speaks() => Rest::Sound,
            Self::Events(..) => Rest::Little,
            Self::Off | Self::Json(_) | Self::Refusal(_) => Rest::Run,
        }
    }

    /// Dify's words for why the response is not what was asked for.
    pub(crate) fn failure(&self) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Events(stream, _) if stream.learner.stopped() => {
                Some("the run was stopped".to_owned())
            }
            Self::Events(stream, _) => stream.learner.failure().map(str::to_owned),
            Self::Json(json) => json.failure.clone(),
            Self::Refusal(prefix) => explanation(prefix),
        }
    }

    /// What the run used, once the response has said it.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Off | Self::Refusal(_) => None,
            Self::Events(stream, _) => stream.learner.usage(),
            Self::Json(json) => json.usage,
        }
    }
}
