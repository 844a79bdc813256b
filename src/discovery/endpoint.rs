//! What a source finds.

use std::net::SocketAddr;

/// Most endpoints of one set. More is taken for a mistake (a name of somebody else's).
pub const MAX_ENDPOINTS: usize = 1_000;

/// The largest weight of an endpoint, which is that of a configured instance.
pub const MAX_WEIGHT: u32 = 10_000;

/// All that a source knows of at a time. It replaces what it said before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveredSet {
    /// At most [`MAX_ENDPOINTS`], in a stable order; no name and no address stands twice.
    pub endpoints: Vec<Endpoint>,
    /// For operators: what was left out, or could be meant in two ways, and how to mend it.
    pub notes: Vec<String>,
}

/// One address that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its identity (`api#2`), which it keeps for as long as it lives: what a ring is made of.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share relative to the others, from 1 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// As in an SRV record: those of the lowest number are asked, the others while none of them can be
    /// reached (nginx: `backup`). 0 for all where a source has none.
    pub priority: u16,
    /// Whether it takes new requests.
    pub state: EndpointState,
    /// For operators: why it is not ready.
    pub why: Option<String>,
}

/// Whether an endpoint takes new requests. That it can be reached is for probes to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// It takes requests.
    Ready,
    /// It takes no new requests and finishes what it has.
    Draining,
    /// It takes no requests yet.
    Starting,
}

impl EndpointState {
    /// For status and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Starting => "starting",
        }
    }
}
