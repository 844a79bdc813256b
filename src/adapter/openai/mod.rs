//! OpenAI's protocols.

pub mod audio;
pub mod chat;
pub mod completions;
pub mod error;
mod extra;
mod fields;
mod frames;
mod messages;
pub mod models;
mod pass;
pub mod responses;

#[cfg(test)]
mod tests;
