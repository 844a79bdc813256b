//! DNS as a source: each address of a name is an endpoint.
//!
//! A name is asked for again when its time to live is over, but after `max_ttl` at the latest: Docker's
//! own DNS says 600 s of containers that are gone in two. What fails, or finds nothing, changes nothing.
//!
//! Deliberately absent: search domains (see [`HostName`]), a cache, DNSSEC, DNS over TLS.

mod error;
mod host_name;
mod lookup;
mod merge;
mod numbers;
mod settings;
mod source;

pub use error::DnsError;
pub use host_name::{HostName, HostNameError};
pub use settings::{DnsRecords, DnsSettings};
pub use source::DnsSource;
