//! Anthropic's Messages API.

pub mod error;
