//! OpenAI's protocols.

pub mod error;
