//! OpenAI's protocols.

pub mod audio;
pub mod chat;
mod chunks;

pub mod completions;
pub mod error;

mod allowed_values;
mod messages;
pub mod models;
mod request_fields;
pub mod responses;
mod x_dify;

#[cfg(test)]
mod tests;
