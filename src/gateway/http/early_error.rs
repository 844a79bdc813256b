//! What goes wrong before there is a request.

use http::StatusCode;

use crate::adapter::Protocol;
use crate::gateway::http::errors;
use crate::model::GatewayError;

/// Why a connection ends before a request could be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EarlyError {
    /// The head is not HTTP/1.
    Malformed,
    /// Its method is longer than any that is known.
    MethodTooLong,
    /// Its target is longer than any that can be taken.
    UriTooLong,
    /// It has too many headers, or they are too long.
    TooLarge,
    /// It was not complete in time.
    TooSlow,
    /// It came in the clear where TLS is spoken.
    NotTls,
    /// None was read: the client's address has too many connections.
    TooManyConnections,
}

impl EarlyError {
    /// What the client is told.
    pub(crate) fn error(self) -> GatewayError {
        match self {
            Self::Malformed => errors::bad_request(errors::BAD_HEAD),
            Self::MethodTooLong => errors::method_unknown(),
            Self::UriTooLong => errors::uri_too_long(),
            Self::TooLarge => errors::headers_too_large(),
            Self::TooSlow => errors::head_too_slow(),
            Self::NotTls => errors::bad_request(errors::NOT_TLS),
            Self::TooManyConnections => errors::too_many_connections(),
        }
    }

    /// The same as an HTTP/1.1 response, whole and after which the connection closes.
    pub(crate) fn response(self) -> Vec<u8> {
        let error = self.error();
        let body = Protocol::Dify.body(&error, "");
        let phrase = StatusCode::from_u16(error.status).ok().and_then(|it| it.canonical_reason());
        let head = format!(
            "HTTP/1.1 {} {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             access-control-allow-origin: *\r\ncontent-length: {}\r\n\r\n",
            error.status,
            phrase.unwrap_or_default(),
            body.len()
        );
        [head.as_bytes(), &body].concat()
    }
}
