//! The store of conversations: which conversation of Dify a client's transcript continues.
//!
//! OpenAI and Anthropic clients send the whole transcript each time and name no conversation; Dify
//! keeps a conversation itself and wants the next question. A transcript is known by a keyed digest
//! of everybody's turns so far ([`Turn`]), within one key, app, user and chat ([`Thread`]). Where it
//! ends as a stored conversation does, that one is resumed; where it does not, the caller begins a
//! new one, so that a regenerated or edited answer never corrupts the old one.
//!
//! [`ConversationStore`] is a handle for all workers. Digests are made where they are asked for; one thread reads
//! and writes, and commits what waits together. What is acknowledged is durable. No text of any
//! message is stored.
//!
//! Retention: `conversations.max_entries` conversations, 16 times as many turns, answers and chats, all
//! for `conversations.max_age` after their last use; 10,000 changes while the store fails; names of
//! chats of 256 bytes, in place of longer ones stands a digest.
//!
//! Deliberately absent: waiting for a turn that is under way (the second one is a branch), and titles
//! or texts of conversations, which Dify has.

mod codec;
mod conversation_store;
mod expiry;
mod import_export;
mod lookup;
mod maintenance;
mod pending_turn;
mod store_failure;
mod store_thread;
mod transcript_digest;
mod write_op;

#[cfg(test)]
mod tests;

pub use self::codec::{Conversation, ConversationState};
pub use self::conversation_store::{ConversationStore, FinishedTurn, Stats};
pub use self::import_export::{ExportHeader, ExportRow, ParseError, ParsedImport, parse};
pub use self::lookup::{AnswerMatch, ConversationMatch, TranscriptMatch};
pub use self::maintenance::{ImportSummary, Mappings, Slice};
pub use self::pending_turn::{PendingTurn, TranscriptQuery};
pub use self::store_failure::StoreDown;
pub use self::transcript_digest::{Digest, Role, Thread, Turn};
pub use crate::model::OnStoreFailure;
pub use crate::store::{Retention, now_s};
