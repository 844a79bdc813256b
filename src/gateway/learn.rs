//! What the gateway reads in an answer that passes by: the ids that the run made, and what it used.
//!
//! Nothing is held or changed. Of a JSON answer a bounded prefix is kept until its end; of a stream
//! the first events are understood, and of the rest only the one that ends it.

use bytes::{Bytes, BytesMut};

use crate::affinity::Owners;
use crate::dify::answer::{EventLearner, Learned, Usage, learn_json};
use crate::dify::path::CallKind;
use crate::gateway::claim;
use crate::gateway::heads::AnswerHead;
use crate::gateway::names::Name;
use crate::gateway::policy::Storage;
use crate::gateway::snapshot::{App, Member};

/// How much of a JSON answer is kept to be read: its ids stand at the beginning, its usage at the
/// end, which a longer answer thereby hides.
const MAX_JSON_BYTES: usize = 256 * 1024;

/// Listens in on an answer.
#[derive(Debug)]
pub(super) enum Tap {
    /// There is nothing to learn.
    Off,
    /// A run's stream.
    Events(Box<Stream>),
    /// A JSON answer.
    Json(Box<Json>),
}

/// See [`Tap::Events`].
#[derive(Debug)]
pub(super) struct Stream {
    learner: EventLearner,
    /// Whose ids are remembered; none any more once they are.
    remember: bool,
}

/// See [`Tap::Json`].
#[derive(Debug)]
pub(super) struct Json {
    kind: CallKind,
    prefix: BytesMut,
    learned: Learned,
    usage: Option<Usage>,
    remember: bool,
}

impl Tap {
    /// What there is to learn from an answer to a call of this kind.
    pub(super) fn new(kind: CallKind, app: &App, head: &AnswerHead, events: bool) -> Self {
        let tells = matches!(kind, CallKind::Run(_) | CallKind::Upload);
        if !tells || !head.status.is_success() || head.fields.has(Name::ContentEncoding) {
            return Self::Off;
        }
        let remember = app.policy.storage == Storage::Independent;
        if events {
            return Self::Events(Box::new(Stream { learner: EventLearner::new(), remember }));
        }
        let (learned, usage) = Default::default();
        Self::Json(Box::new(Json { kind, prefix: BytesMut::new(), learned, usage, remember }))
    }

    /// A piece of the answer passes by.
    pub(super) fn pass(&mut self, piece: &Bytes, member: &Member, owners: &Owners) {
        match self {
            Self::Off => {}
            Self::Events(stream) => {
                stream.learner.feed(piece);
                if stream.remember && stream.learner.learned().task_id.is_some() {
                    stream.remember = false;
                    claim::remember(stream.learner.learned(), member, owners);
                }
            }
            Self::Json(json) => {
                let room = MAX_JSON_BYTES - json.prefix.len();
                json.prefix.extend_from_slice(&piece[..piece.len().min(room)]);
            }
        }
    }

    /// The answer is over, or broke off.
    pub(super) fn end(&mut self, member: &Member, owners: &Owners) {
        let Self::Json(json) = self else { return };
        (json.learned, json.usage) = learn_json(json.kind, &json.prefix);
        json.prefix = BytesMut::new();
        if json.remember {
            claim::remember(&json.learned, member, owners);
        }
    }

    /// The ids so far.
    pub(super) fn learned(&self) -> Option<&Learned> {
        match self {
            Self::Off => None,
            Self::Events(stream) => Some(stream.learner.learned()),
            Self::Json(json) => Some(&json.learned),
        }
    }

    /// Whether the stream has said that its run is over; it may stay open after that.
    pub(super) fn run_ended(&self) -> bool {
        matches!(self, Self::Events(stream) if stream.learner.ended())
    }

    /// What the run used, once the answer has said it.
    pub(super) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Off => None,
            Self::Events(stream) => stream.learner.usage(),
            Self::Json(json) => json.usage,
        }
    }
}
