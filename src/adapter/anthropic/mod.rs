//! Anthropic's Messages API, version 2023-06-01.

mod content;
mod encoder;
pub mod error;
pub mod messages;
pub mod models;

#[cfg(test)]
mod tests;

pub use self::encoder::MessagesEncoder;
pub use self::messages::{count_tokens, counted, read};
