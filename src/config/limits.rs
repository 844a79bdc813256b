//! How much the gateway takes and remembers. These are written as they are used.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bodies::{self, BodiesMemory};
use crate::model::units::{age, maybe_whole, size, whole, write_size};
use crate::model::value_schema;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// How much the gateway takes. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest request body; a larger one is refused with 413.
    #[serde(deserialize_with = "size::<_, _, 1, TIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub max_body: u64,
    /// How much of a body is kept in memory before it goes to `spool_dir`.
    #[serde(deserialize_with = "size::<_, _, 0, TIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub memory_body: u64,
    /// How much memory all request bodies that are being kept may take together: a share of the
    /// machine's memory (of the control group's limit, where that is less), or a size. What would
    /// exceed it is refused with 503 and `Retry-After`.
    #[serde(with = "bodies")]
    #[schemars(schema_with = "value_schema::size_or_share")]
    pub all_bodies_memory: BodiesMemory,
    /// The largest request head, from 8KiB (the least that the HTTP library works with) to 1MiB.
    #[serde(deserialize_with = "size::<_, _, 8192, MIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub header_bytes: usize,
    /// The most headers in a request.
    #[serde(deserialize_with = "whole::<_, _, 16, 4096>")]
    #[schemars(schema_with = "value_schema::whole::<16, 4096>")]
    pub headers: usize,
    /// The longest request target, from 256 bytes to 65534 (the most that the HTTP library holds).
    #[serde(deserialize_with = "size::<_, _, 256, 65534>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub uri_bytes: usize,
    /// Requests at a time on one HTTP/2 connection.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000>")]
    pub h2_streams: u32,
    /// Client connections at most; absent: what the limit of file descriptors allows.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 10_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000_000>")]
    pub max_connections: Option<usize>,
    /// Connections of one client's address at once (of IPv6, of one /64); further ones get 429, or
    /// with `tls` are closed without a word. Absent: no limit. Trusted proxies have none.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 10_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000_000>")]
    pub connections_per_address: Option<u32>,
    /// Connections that the system holds for each worker until it accepts them; the system may hold
    /// fewer (`net.core.somaxconn` of Linux).
    #[serde(deserialize_with = "whole::<_, _, 1, 65535>")]
    #[schemars(schema_with = "value_schema::whole::<1, 65535>")]
    pub backlog: u16,
    /// The least that a request's body must come with on average, in bytes per second, once
    /// `timeouts.body` is over: else 408. 0: no limit.
    #[serde(deserialize_with = "size::<_, _, 0, MIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub body_rate: u64,
    /// The least that a client must take of an answer on average, in bytes per second, while more is
    /// ready for it: one that takes less over `timeouts.write` is treated as one that went away. 0: no
    /// limit.
    #[serde(deserialize_with = "size::<_, _, 0, MIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub min_answer_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 100 * MIB,
            memory_body: 256 << 10,
            all_bodies_memory: BodiesMemory::default(),
            header_bytes: 64 << 10,
            headers: 100,
            uri_bytes: 8 << 10,
            h2_streams: 128,
            max_connections: None,
            connections_per_address: None,
            backlog: 4096,
            body_rate: 512,
            min_answer_rate: 0,
        }
    }
}

/// What is remembered of Dify's ids: which instance owns which conversation, message, file, run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Owners {
    /// How many ids; the ones used longest ago give way. Each takes 16 bytes of memory once used.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 100_000_000>")]
    pub max_entries: usize,
    /// How long after their last use.
    #[serde(with = "age")]
    #[schemars(schema_with = "value_schema::age")]
    pub max_age: Duration,
}

impl Default for Owners {
    fn default() -> Self {
        Self { max_entries: 1_000_000, max_age: Duration::from_secs(30 * 24 * 3600) }
    }
}
