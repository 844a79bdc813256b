//! How a source fails.

use super::dns::DnsError;
use super::docker::EngineError;
use super::endpoint::MAX_ENDPOINTS;

/// Why a source has no answer. The text says how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Of DNS.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// Of the Docker engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The answer cannot be meant.
    #[error(
        "{count} endpoints were found, at most {MAX_ENDPOINTS} are used: is it the right name?"
    )]
    TooMany {
        /// How many.
        count: usize,
    },
}
