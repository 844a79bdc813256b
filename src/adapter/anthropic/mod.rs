//! Anthropic's Messages API, version 2023-06-01.

mod content;
pub mod error;
pub mod messages;
pub mod models;
mod voice;

#[cfg(test)]
mod tests;

pub use self::messages::{count_tokens, counted, read};
pub use self::voice::MessagesVoice;
