//! What an answer of Dify says: the ids that it made, the tokens that it used, and whether it is
//! the answer of an instance that does not have what was asked for.
//!
//! Nothing here changes or holds an answer; it is read beside the way to the client. Answers are
//! read as far as they are there: of a long one only a prefix is kept, and the ids stand at its
//! beginning.
//!
//! Deliberately absent: ids in lists of what belongs to a user (`GET /v1/conversations`,
//! `GET /v1/messages`). Whoever asks for such a list has been sent to the right instance already. And
//! whatever a dataset holds: no route names it without the dataset.

mod catch_up;
mod complete_events;
mod envelope;
mod event_learner;
mod event_name;
mod explain;
mod first_event;
mod json_members;
mod learned_ids;
mod refusal;
mod sent_events;
mod unauthenticated;
mod usage;

#[cfg(test)]
mod tests;

pub use self::catch_up::{CatchUp, CaughtUp, OnDifference, RunIds};
pub use self::complete_events::{Whole, WholeEvents};
pub use self::envelope::learn_json;
pub use self::event_learner::{EventLearner, Pauses, is_skippable};
pub use self::event_name::event_name;
pub use self::explain::{explanation, failed_flow};
pub use self::first_event::{FirstEvent, first_event};
pub use self::learned_ids::{LearnedIds, MAX_OTHERS};
pub use self::refusal::{KnownRefusal, is_newer_route, is_null_run, refusal};
pub use self::sent_events::SentEvents;
pub use self::unauthenticated::{is_unknown_code, is_unknown_link, may_be_unknown_code};
pub use self::usage::Usage;
