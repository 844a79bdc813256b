//! What a DNS source is told.

use std::net::SocketAddr;
use std::time::Duration;

use super::host_name::HostName;
use crate::discovery::source::KeepLast;

/// Which name, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// What the endpoints are called: `api` makes `api#1`, `api#2`.
    pub name: String,
    /// The name to look up.
    pub host: HostName,
    /// Which records.
    pub records: DnsRecords,
    /// The name is asked for again after so long, or after the records' time to live if that is less; a
    /// second at least.
    pub max_ttl: Duration,
    /// How long the last good answer holds.
    pub keep_last: KeepLast,
    /// The DNS servers; empty: the system's, read anew each time.
    pub servers: Vec<SocketAddr>,
}

/// Which records make endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsRecords {
    /// A and AAAA: all addresses, each with this port.
    Addresses {
        /// The TCP port.
        port: u16,
    },
    /// A alone.
    Ipv4 {
        /// The TCP port.
        port: u16,
    },
    /// AAAA alone.
    Ipv6 {
        /// The TCP port.
        port: u16,
    },
    /// SRV: port, weight and priority come from it, each address of a host it names is an endpoint.
    Srv,
}

impl DnsSettings {
    /// The defaults: A and AAAA, `max_ttl` 5 s, the last good answer for ever, the system's servers.
    pub fn new(name: impl Into<String>, host: HostName, records: DnsRecords) -> Self {
        Self {
            name: name.into(),
            host,
            records,
            max_ttl: Duration::from_secs(5),
            keep_last: KeepLast::Forever,
            servers: Vec::new(),
        }
    }
}
