//! The shape of a door's errors.

use bytes::Bytes;

use super::fault::Fault;
use super::{anthropic, openai};

/// How a door says what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error": {"message", "type", "param", "code"}}`
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}, "request_id"}`
    Anthropic,
}

impl Shape {
    /// A fault as the body of an answer.
    pub fn body(self, fault: &Fault, request_id: &str) -> Bytes {
        match self {
            Self::OpenAi => openai::error::body(fault),
            Self::Anthropic => anthropic::error::body(fault, request_id),
        }
    }

    /// A fault as the only event of a stream.
    pub fn event(self, fault: &Fault) -> Bytes {
        match self {
            Self::OpenAi => format!("data: {}\n\n", openai::error::value(fault)),
            Self::Anthropic => {
                format!("event: error\ndata: {}\n\n", anthropic::error::value(fault))
            }
        }
        .into()
    }
}
