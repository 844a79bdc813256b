//! Where instances are, as the world says it: sources that find endpoints (Envoy: EDS; nginx: `resolve`
//! of an upstream's server) and keep a full set of them up to date.
//!
//! This room knows names, addresses and what the source says of them; nothing of pools, probes or breakers.
//! `control` is to merge its sets into the snapshot, and needs of it:
//!
//! - [`DnsSource`] or [`DockerSource`], made of their settings, and [`spawn`], which begins one on the
//!   runtime that it is called on;
//! - [`SourceHandle::subscribe`]: a `watch` channel that wakes for a new set and for a change between
//!   working and failing, never for an answer that is the same as before;
//! - [`SourceHandle::refresh`], to be called when a connection to an endpoint could not be made.
//!
//! A source never gives up. While it fails, the last good set holds, for as long as [`KeepLast`] says, and
//! [`SourceState`] says since when and why.
//!
//! Identity is a name, never an address: engines hand out a freed address at once. An endpoint whose name
//! has another address than before is another instance, to be begun cold.
//!
//! A further source (Kubernetes) is a further [`Source`]; how it fails is a variant of [`SourceError`].

mod dns;
mod docker;
mod endpoint;
mod error;
mod source;

pub use dns::{DnsError, DnsRecords, DnsSettings, DnsSource, HostName, HostNameError};
pub use docker::{
    DockerSettings, DockerSource, DockerTiming, EngineAddress, EngineAddressError, EngineError,
    Selection,
};
pub use endpoint::{DiscoveredSet, Endpoint, EndpointState, MAX_ENDPOINTS, MAX_WEIGHT};
pub use error::SourceError;
pub use source::{
    KeepLast, LastError, Publisher, Refresh, Source, SourceHandle, SourceState, spawn,
};
