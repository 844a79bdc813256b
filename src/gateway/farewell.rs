//! How a client's connection ends: with the last answer delivered, also when the request could not
//! even be read.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dify;
use crate::gateway::client::{Client, Ending};
use crate::gateway::tls::Transport;

/// What a client that was refused early may still send before its connection is cut. Closing with
/// unread bytes would reset the connection and could take the answer with it.
const LINGER_BYTES: usize = 32 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// Why a head was refused before it became a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadFault {
    /// It is not HTTP/1.
    Malformed,
    /// Its target is longer than any that can be taken.
    UriTooLong,
    /// It has too many headers, or they are too long.
    TooLarge,
    /// It was not complete in time.
    TooSlow,
    /// It came in the clear where TLS is spoken.
    NotTls,
    /// None was read: the client's address has too many connections.
    Crowd,
}

impl HeadFault {
    /// What the client is told.
    pub(super) fn answer(self) -> Vec<u8> {
        let (status, phrase, code, message) = match self {
            Self::Malformed => {
                (400, "Bad Request", "bad_request", "The request's head is not valid HTTP/1.1.")
            }
            Self::UriTooLong => {
                (414, "URI Too Long", "uri_too_long", "The URI is too long (`limits.uri_bytes`).")
            }
            Self::TooLarge => (
                431,
                "Request Header Fields Too Large",
                "request_header_fields_too_large",
                "The headers are too long or too many (`limits.header_bytes`, `limits.headers`).",
            ),
            Self::TooSlow => (
                408,
                "Request Timeout",
                "request_timeout",
                "The request's head was not complete in time (`timeouts.header`).",
            ),
            Self::NotTls => {
                (400, "Bad Request", "bad_request", "TLS is spoken at this port: use https://.")
            }
            Self::Crowd => (
                429,
                "Too Many Requests",
                "too_many_connections",
                "Your address has too many connections (`limits.connections_per_address`).",
            ),
        };
        let body = dify::error::body(code, message, status);
        let head = format!(
            "HTTP/1.1 {status} {phrase}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             access-control-allow-origin: *\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), &body].concat()
    }
}

/// Closes a connection after its last request, so that the last answer arrives. Gives the fault of
/// a head that never became a request.
pub(super) async fn close(
    client: &Client,
    mut stream: Transport,
    ending: Option<Ending>,
) -> Option<HeadFault> {
    if client.needs_reset() {
        // RFC 9112 §8: closed properly, the answer would pass for whole.
        stream.reset_on_drop();
        return None;
    }
    if ending == Some(Ending::NotTaken) {
        // What the system still holds for it would wait as long as it does.
        stream.reset_on_drop();
        return None;
    }
    let fault = match ending {
        Some(Ending::HeaderTimeout) => Some(HeadFault::TooSlow),
        _ => client.head_fault(),
    };
    if let Some(fault) = fault {
        // Best effort: a client that does not read either is simply closed.
        let _ = timeout(LINGER, stream.write_all(&fault.answer())).await;
    }
    let shut = timeout(LINGER, stream.shutdown()).await.is_ok_and(|shut| shut.is_ok());
    if shut && (fault.is_some() || client.has_unread()) {
        // Whatever comes after that is the client's loss.
        let _ = timeout(LINGER, swallow(&mut stream)).await;
    }
    fault
}

/// Refuses a connection on which no HTTP was spoken yet.
pub(super) async fn refuse(mut stream: TcpStream, fault: HeadFault) {
    // Best effort, as above.
    let _ = timeout(LINGER, async {
        stream.write_all(&fault.answer()).await?;
        stream.shutdown().await?;
        swallow(&mut stream).await;
        Ok::<_, std::io::Error>(())
    })
    .await;
}

async fn swallow(stream: &mut (impl AsyncRead + Unpin)) {
    let mut waste = vec![0; 16 * 1024];
    let mut left = LINGER_BYTES;
    while let Ok(read @ 1..) = stream.read(&mut waste).await {
        left = left.saturating_sub(read);
        if left == 0 {
            break;
        }
    }
}
