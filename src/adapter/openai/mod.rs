//! OpenAI's protocols.

pub mod chat;
pub mod completions;
pub mod error;
mod extra;
mod fields;
mod frames;
mod messages;
mod pass;
