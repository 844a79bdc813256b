//! What a client may send and how long anything may take.

use std::path::PathBuf;
use std::time::Duration;

/// Bounds on what a client may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request body, in bytes.
    pub max_body_bytes: u64,
    /// The body of an AI client's request, before its app is known: as much as any app takes.
    pub client_body_bytes: u64,
    /// What of a body is kept in memory; the rest goes to `spool_dir`.
    pub memory_body_bytes: u64,
    /// Where larger bodies are spooled.
    pub spool_dir: PathBuf,
    /// A request's line and headers, in bytes.
    pub header_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// A request's URI, in bytes.
    pub uri_bytes: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub h2_streams: u32,
    /// The least that a body must come with on average, in bytes per second, after
    /// [`Timeouts::body`]; 0: nothing is asked.
    pub body_rate: u64,
    /// The least that a client must take of an answer on average, in bytes per second; 0: nothing is
    /// asked.
    pub min_answer_rate: u64,
    /// Connections of one client's address at once.
    pub connections_per_address: Option<u32>,
}

/// How long to wait for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to an instance, with the TLS handshake.
    pub connect: Duration,
    /// For the head of an answer to GET and HEAD, while another candidate is left.
    pub first_byte_idempotent: Duration,
    /// For the head of any other answer.
    pub first_byte: Duration,
    /// For the head of an answer over all attempts, waiting for a slot included.
    pub all_attempts: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For the first event of a streamed flow.
    pub run_start: Duration,
    /// From the first byte of a request's head to its last, and for a TLS handshake.
    pub header: Duration,
    /// Between two pieces of a request's body.
    pub body: Duration,
    /// For a client to take the next byte of its answer.
    pub write: Duration,
    /// A client's connection between two requests.
    pub keep_alive: Duration,
}

/// How large a body may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit {
    /// The limit.
    pub bytes: u64,
    /// The key that says so.
    pub key: &'static str,
}

impl BodyLimit {
    /// What holds for every request.
    pub(crate) fn any(limits: &Limits) -> Self {
        Self { bytes: limits.max_body_bytes, key: "limits.max_body" }
    }
}
