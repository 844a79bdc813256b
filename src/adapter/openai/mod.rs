//! OpenAI's protocols.

pub mod audio;
pub mod chat;
mod chunks;
mod common;
pub mod completions;
pub mod error;
mod extra;
mod messages;
pub mod models;
mod pass;
pub mod responses;

#[cfg(test)]
mod tests;
