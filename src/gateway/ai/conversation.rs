//! Which conversation of Dify a request goes on with, and what is written down when its turn ends.
//!
//! Order of evidence: an id that the client names, the response that it goes on from, its transcript
//! within its chat, or its transcript alone. A transcript resumes the conversation that ends where it
//! ends; any other begins a new conversation, with the transcript in its first question, so that a
//! regenerated or edited answer never corrupts an old one.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::adapter::openai::responses;
use crate::adapter::{CompletionRequest, Message, ResponseStart, ResponseSummary, Role};
use crate::conversation::{
    self, AnswerMatch, Conversation, ConversationMatch, Digest, FinishedTurn, PendingTurn,
    StoreDown, Thread, TranscriptMatch, TranscriptQuery, Turn,
};
use crate::gateway::ai::errors;
use crate::gateway::ai::offload::Payload;
use crate::gateway::state::conversation_lock;
use crate::gateway::state::shared::Shared;
use crate::model::GatewayError;

/// How long a turn waits for the one before; then it begins a new conversation.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a turn waits whose client names the conversation; then it is refused.
const NAMED_PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct ConversationSlot {
    thread: Thread,
    pub with: Resume,
    /// Nobody else speaks in that conversation meanwhile.
    turn: Option<conversation_lock::ConversationGuard>,
    worth: Persistence,
}

/// Whether what is said is to be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Kept,
    /// Nobody will go on with it.
    Nothing,
    Deleted,
}

/// What becomes of the conversation when a turn has ended well.
pub(super) enum AtEnd {
    Keep(Box<PendingSave>),
    Nothing,
    Delete,
}

/// What a turn goes on with.
pub(super) enum Resume {
    /// Nothing: a new conversation, with the transcript in its first question if there is one.
    Nothing,
    /// This conversation, whose end is where the transcript ends, or which the client named.
    Known(Box<Conversation>, Evidence),
    /// The conversation that the client names, of which the gateway knows nothing.
    Named(Uuid),
    /// A new conversation that takes up an old one at this message, whose transcript Dify has.
    AfterMessage { conversation: Uuid, message: Uuid },
}

/// Why a conversation is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The client names it, or its last answer.
    Named,
    /// The client's transcript ends where it does.
    Transcript,
}

impl Resume {
    /// Dify's conversation.
    pub(super) fn conversation(&self) -> Option<Uuid> {
        match self {
            Self::Nothing | Self::AfterMessage { .. } => None,
            Self::Known(conversation, _) => Some(conversation.id),
            Self::Named(id) => Some(*id),
        }
    }
}

/// The store of conversations fails, and the operator wants no turns then. The log says so once, and not
/// for each turn.
fn down(error: &StoreDown) -> GatewayError {
    errors::store_down(error)
}

/// Finds out where a turn belongs.
///
/// # Errors
/// The client names a conversation or response that is not its own; the store fails.
pub(super) async fn place(
    shared: &Shared,
    thread: Thread,
    ask: &mut Payload<CompletionRequest>,
) -> Result<ConversationSlot, GatewayError> {
    let with = with(shared, &thread, ask).await?;
    let place = ConversationSlot { thread, with, turn: None, worth: Persistence::Kept };
    place.begin(shared).await
}

async fn with(
    shared: &Shared,
    thread: &Thread,
    ask: &mut Payload<CompletionRequest>,
) -> Result<Resume, GatewayError> {
    let conversation_store = shared.conversation_store();
    if let Some(named) = &ask.hints.conversation {
        let id = conversation_id(named)?;
        return match conversation_store.by_id(thread, id).await.map_err(|error| down(&error))? {
            ConversationMatch::Owned(known) => Ok(Resume::Known(Box::new(known), Evidence::Named)),
            ConversationMatch::Unknown => Ok(Resume::Named(id)),
            ConversationMatch::Foreign => Err(errors::no_conversation(named)),
        };
    }
    if let Some(named) = &ask.hints.previous_response {
        let unknown = || responses::unknown_previous(named);
        let message = responses::message_of(named).ok_or_else(unknown)?;
        return match conversation_store
            .by_answer(thread, message)
            .await
            .map_err(|error| down(&error))?
        {
            AnswerMatch::Tail(known) => Ok(Resume::Known(Box::new(known), Evidence::Named)),
            AnswerMatch::Past(known, message) => {
                Ok(Resume::AfterMessage { conversation: known.id, message })
            }
            AnswerMatch::Unknown => Err(unknown()),
        };
    }
    let sought = match ask.before.is_empty() {
        true => TranscriptQuery::NOTHING,
        false => {
            let thread = thread.clone();
            ask.work(|ask| TranscriptQuery::new(thread, turns_of(&ask.before))).await?
        }
    };
    match conversation_store.find(sought).await.map_err(|error| down(&error))? {
        TranscriptMatch::Resume(known) => Ok(Resume::Known(Box::new(known), Evidence::Transcript)),
        TranscriptMatch::New | TranscriptMatch::Branch | TranscriptMatch::Unknown => {
            Ok(Resume::Nothing)
        }
    }
}

/// A conversation's id as clients write it: bare, or as OpenAI's ids look.
fn conversation_id(named: &str) -> Result<Uuid, GatewayError> {
    let bare = named.strip_prefix("conv_").unwrap_or(named);
    Uuid::try_parse(bare).map_err(|_| errors::no_conversation(named))
}

impl ConversationSlot {
    /// A turn that belongs to no conversation that goes on.
    pub(super) fn aside(thread: Thread, worth: Persistence) -> Self {
        Self { thread, with: Resume::Nothing, turn: None, worth }
    }

    /// Waits for the turn before and notes that this one begins.
    async fn begin(mut self, shared: &Shared) -> Result<Self, GatewayError> {
        let Some(id) = self.with.conversation() else {
            shared.conversation_store().check().await.map_err(|error| down(&error))?;
            return Ok(self);
        };
        let may_begin_anew = matches!(self.with, Resume::Known(_, Evidence::Transcript));
        let patience = if may_begin_anew { PATIENCE } else { NAMED_PATIENCE };
        self.turn = shared.turns().take(id, patience).await;
        let begun = match (&self.turn, &self.with) {
            (None, _) if !may_begin_anew => return Err(errors::turn_taken(id, patience)),
            (Some(_), Resume::Known(conversation, _)) => shared
                .conversation_store()
                .begin(conversation)
                .await
                .map_err(|error| down(&error))?,
            _ => false,
        };
        // Nothing was written of what does not begin here.
        if !begun {
            shared.conversation_store().check().await.map_err(|error| down(&error))?;
        }
        // What the client names goes on there even if its last turn broke off: it knows.
        if !begun && may_begin_anew {
            (self.with, self.turn) = (Resume::Nothing, None);
        }
        Ok(self)
    }

    /// Dify has refused the turn before it did anything.
    pub(super) async fn release(&self, shared: &Shared) {
        if let Resume::Known(conversation, _) = &self.with
            && let Err(error) = shared.conversation_store().release(conversation).await
        {
            tracing::debug!("a conversation begins anew at its next turn: {error}");
        }
    }

    /// The instance that has the conversation is out, and the operator wants turns to go on all the
    /// same: this one begins a new conversation. False if the client itself named it.
    pub(super) async fn part(&mut self, shared: &Shared) -> bool {
        self.release(shared).await;
        let parts = matches!(self.with, Resume::Known(_, Evidence::Transcript));
        if parts {
            (self.with, self.turn) = (Resume::Nothing, None);
        }
        parts
    }

    /// Dify does not have the conversation any more: the turn begins a new one. False if the client
    /// itself named it.
    pub(super) async fn leave(&mut self, shared: &Shared) -> bool {
        let Resume::Known(conversation, evidence) = &self.with else { return false };
        if let Err(error) = shared.conversation_store().forget(conversation.id).await {
            tracing::debug!("a conversation that Dify has lost is still known here: {error}");
        }
        let leaves = *evidence == Evidence::Transcript;
        if leaves {
            (self.with, self.turn) = (Resume::Nothing, None);
        }
        leaves
    }

    /// What is to be said of the turn later; nothing if it is not worth keeping.
    pub(super) fn notice(&self) -> Option<TurnStart> {
        let named = match &self.with {
            Resume::Known(conversation, Evidence::Named) => Some(conversation.tail),
            _ => None,
        };
        let is_kept = self.worth == Persistence::Kept;
        is_kept.then(|| TurnStart { thread: self.thread.clone(), named })
    }

    /// What is to be done when the turn has ended well.
    pub(super) fn after(self, shared: &Arc<Shared>, pending: Option<PendingTurn>) -> AtEnd {
        match (self.worth, pending) {
            (Persistence::Kept, Some(pending)) => {
                let (shared, _turn) = (Arc::clone(shared), self.turn);
                AtEnd::Keep(Box::new(PendingSave { shared, pending, _turn }))
            }
            (Persistence::Kept, None) | (Persistence::Nothing, _) => AtEnd::Nothing,
            (Persistence::Deleted, _) => AtEnd::Delete,
        }
    }
}

/// Whose turn it is and where.
pub(super) struct TurnStart {
    thread: Thread,
    /// The end of the conversation that the client named instead of sending a transcript.
    named: Option<Digest>,
}

impl TurnStart {
    /// Resume what is said in the turn. Goes through all of it.
    pub(super) fn of(self, ask: &CompletionRequest) -> PendingTurn {
        let user = turn_of(&ask.question);
        match self.named {
            Some(tail) => PendingTurn::after(self.thread, tail, &user),
            None => PendingTurn::new(self.thread, turns_of(&ask.before), &user),
        }
    }
}

/// A turn's end being written down. It ends with what the client is told if it cannot be.
pub(super) type Save = Pin<Box<dyn Future<Output = Result<(), GatewayError>>>>;

/// What is written down when a turn ends well.
pub(super) struct PendingSave {
    shared: Arc<Shared>,
    pending: PendingTurn,
    _turn: Option<conversation_lock::ConversationGuard>,
}

impl PendingSave {
    /// Writes it down; durable when the future ends. None if there is nothing to write. Where it cannot be
    /// written and the operator wants no such turns, the future ends with what the client is told instead of
    /// the end of its answer.
    pub(super) fn keep(self, begun: &ResponseStart, told: &ResponseSummary) -> Option<Save> {
        let conversation = Uuid::try_parse(begun.conversation.as_deref()?).ok()?;
        let message = Uuid::try_parse(&begun.id).ok();
        let text = told.text.clone();
        Some(Box::pin(async move {
            let Self { shared, pending, _turn } = self;
            let finished = FinishedTurn { pending, conversation, assistant: &text, message };
            shared.conversation_store().finish(finished).await.map_err(|error| down(&error))
        }))
    }
}

fn turns_of(messages: &[Message]) -> impl DoubleEndedIterator<Item = Turn<'_>> + Clone {
    messages.iter().map(turn_of)
}

fn turn_of(message: &Message) -> Turn<'_> {
    let role = match message.role {
        Role::Assistant => conversation::Role::Assistant,
        Role::User | Role::Tool => conversation::Role::User,
    };
    let files = message.attachments.iter().map(|file| Cow::Owned(file.digest())).collect();
    Turn { role, text: Cow::Borrowed(&message.text), files }
}
