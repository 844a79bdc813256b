//! What a client may send and how long anything may take.

use std::path::PathBuf;

pub use crate::model::Timeouts;

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
    /// Header headers of a request.
    pub headers: usize,
    /// A request's URI, in bytes.
    pub uri_bytes: usize,
    /// Concurrent requests (streams) on one HTTP/2 connection.
    pub h2_streams: u32,
    /// The least that a body must come with on average, in bytes per second, after
    /// [`Timeouts::body`]; 0: nothing is asked.
    pub body_rate: u64,
    /// The least that a client must take of a response on average, in bytes per second; 0: nothing is
    /// asked.
    pub min_answer_rate: u64,
    /// Connections of one client's address at once.
    pub connections_per_address: Option<u32>,
}

/// How large a body may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit {
    pub bytes: u64,
    pub key: &'static str,
}

impl BodyLimit {
    pub(crate) fn any(limits: &Limits) -> Self {
        Self { bytes: limits.max_body_bytes, key: "limits.max_body" }
    }
}
