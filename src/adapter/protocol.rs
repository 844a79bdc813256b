//! The protocols that clients speak, each with its own form of an error.

use bytes::Bytes;

use super::{anthropic, openai};
use crate::dify;
use crate::dify::error::StreamError;
use crate::model::GatewayError;

/// How a client is told what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `{"code", "message", "status"}`
    Dify,
    /// `{"error": {"message", "type", "param", "code"}}`
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}, "request_id"}`
    Anthropic,
}

impl Protocol {
    /// The HTTP status of an error.
    pub fn status(self, error: &GatewayError) -> u16 {
        match (self, error.status) {
            // Their clients repeat it; 507 says nothing to them.
            (Self::OpenAi | Self::Anthropic, 507) => 503,
            (_, status) => status,
        }
    }

    /// An error as the body of a response.
    pub fn body(self, error: &GatewayError, request_id: &str) -> Bytes {
        match self {
            Self::Dify => dify::error::body(&error.code, &error.message, error.status),
            Self::OpenAi => openai::error::body(error),
            Self::Anthropic => anthropic::error::body(error, request_id),
        }
    }

    /// An error as the only event of a stream.
    pub fn event(self, error: &GatewayError) -> Bytes {
        match self {
            Self::Dify => StreamError {
                conversation_id: None,
                message_id: None,
                created_at: None,
                code: &error.code,
                status: error.status,
                message: &error.message,
            }
            .event(),
            Self::OpenAi => format!("data: {}\n\n", openai::error::value(error)).into(),
            Self::Anthropic => {
                format!("event: error\ndata: {}\n\n", anthropic::error::value(error)).into()
            }
        }
    }

    /// Whether its clients repeat a failed request unless `x-should-retry: false` says not to.
    pub fn has_should_retry(self) -> bool {
        self != Self::Dify
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    #[test]
    fn each_protocol_has_its_own_form() {
        let error = GatewayError::instance(Reason::InstanceClosed, 502, "bad_gateway", "It broke.")
            .with_detail("http://10.0.0.7 is out")
            .for_good();
        let dify = "{\"code\": \"bad_gateway\", \"message\": \"It broke.\", \"status\": 502}\n";
        assert_eq!(Protocol::Dify.body(&error, "r"), dify);
        let openai = "{\"error\":{\"message\":\"It broke.\",\"type\":\"server_error\",\
                      \"param\":null,\"code\":\"upstream_error\"}}";
        assert_eq!(Protocol::OpenAi.body(&error, "r"), openai);
        assert_eq!(Protocol::OpenAi.event(&error), format!("data: {openai}\n\n"));
        let anthropic = "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\
                         \"message\":\"It broke.\"}";
        assert_eq!(
            Protocol::Anthropic.body(&error, "r"),
            format!("{anthropic},\"request_id\":\"r\"}}")
        );
        assert_eq!(
            Protocol::Anthropic.event(&error),
            format!("event: error\ndata: {anthropic}}}\n\n")
        );
        let event = "data: {\"event\": \"error\", \"code\": \"bad_gateway\", \"status\": 502, \
                     \"message\": \"It broke.\"}\n\n";
        assert_eq!(Protocol::Dify.event(&error), event);
    }

    #[test]
    fn a_full_disk_is_an_overload_to_ai_clients() {
        let error =
            GatewayError::gateway(Reason::SpoolFailed, 507, "insufficient_storage", "Full.");
        let status = |protocol: Protocol| protocol.status(&error);
        assert_eq!(status(Protocol::Dify), 507);
        assert_eq!((status(Protocol::OpenAi), status(Protocol::Anthropic)), (503, 503));
    }
}
