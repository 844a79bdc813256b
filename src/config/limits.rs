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
    /// Largest request body; a larger one gets 413.
    #[serde(deserialize_with = "size::<_, _, 1, TIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub max_body: u64,
    /// Bodies up to this size stay in memory; larger ones go to `spool_dir`.
    #[serde(deserialize_with = "size::<_, _, 0, TIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub memory_body: u64,
    /// Memory for all buffered request bodies together: a share of the machine's memory (or of the
    /// control group's limit, if that is less), or a size. Requests beyond it get 503 and
    /// `Retry-After`.
    #[serde(with = "bodies")]
    #[schemars(schema_with = "value_schema::size_or_share")]
    pub all_bodies_memory: BodiesMemory,
    /// Largest request head, from 8KiB (the minimum of the HTTP library) to 1MiB.
    #[serde(deserialize_with = "size::<_, _, 8192, MIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub header_bytes: usize,
    /// Most headers in a request.
    #[serde(deserialize_with = "whole::<_, _, 16, 4096>")]
    #[schemars(schema_with = "value_schema::whole::<16, 4096>")]
    pub headers: usize,
    /// Longest request target, from 256 bytes to 65534 (the maximum of the HTTP library).
    #[serde(deserialize_with = "size::<_, _, 256, 65534>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub uri_bytes: usize,
    /// Requests at a time on one HTTP/2 connection.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000>")]
    pub h2_streams: u32,
    /// Most client connections; absent: what the file descriptor limit allows.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 10_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000_000>")]
    pub max_connections: Option<usize>,
    /// Most connections from one client address (for IPv6, from one /64); further ones get 429, or
    /// with `tls` are closed without a response. Absent: no limit. Trusted proxies are exempt.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 10_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000_000>")]
    pub connections_per_address: Option<u32>,
    /// Listen backlog of each worker; the system may allow less (`net.core.somaxconn` on Linux).
    #[serde(deserialize_with = "whole::<_, _, 1, 65535>")]
    #[schemars(schema_with = "value_schema::whole::<1, 65535>")]
    pub backlog: u16,
    /// Minimum average rate of a request body, in bytes per second, after `timeouts.body` has
    /// passed; slower ones get 408. 0: no limit.
    #[serde(deserialize_with = "size::<_, _, 0, MIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "value_schema::size")]
    pub body_rate: u64,
    /// Minimum average rate at which a client must read a response, in bytes per second, while more
    /// is ready for it; a client that is slower over `timeouts.write` is treated as disconnected.
    /// 0: no limit.
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

/// Remembered ids: which instance has which conversation, message, file and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Owners {
    /// Most ids; the least recently used are forgotten. Each takes 16 bytes of memory once used.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 100_000_000>")]
    pub max_entries: usize,
    /// Time since their last use after which they are forgotten.
    #[serde(with = "age")]
    #[schemars(schema_with = "value_schema::age")]
    pub max_age: Duration,
}

impl Default for Owners {
    fn default() -> Self {
        Self { max_entries: 1_000_000, max_age: Duration::from_secs(30 * 24 * 3600) }
    }
}
