//! The ways to choose an instance.

use std::sync::Arc;

use crate::balance::{HashAlgorithm, Rendezvous, Ring, RoundRobin};

/// How a pool spreads its requests.
#[derive(Debug)]
pub enum Method {
    /// Each user has an instance of their own, the same on every gateway.
    ConsistentHash(Arc<Ring>),
    /// The same by highest random weight: shares are nearly even, and each choice looks at every
    /// member.
    Rendezvous(Box<Rendezvous>),
    /// Each request takes the next turn, whoever asks.
    WeightedRoundRobin(Box<RoundRobin>),
    /// Each request goes to the least busy, whoever asks.
    LeastConnections,
    /// Each client address has an instance of its own.
    IpHash(Arc<Ring>),
}

/// What tells requests apart: two that agree in it share an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The user; requests without one go to the least busy.
    ByUser,
    /// The client's address.
    ByAddress,
    /// Nothing.
    ByNothing,
}

impl Method {
    /// What its choice is keyed by.
    pub fn keyed(&self) -> HashKey {
        match self {
            Self::ConsistentHash(_) | Self::Rendezvous(_) => HashKey::ByUser,
            Self::IpHash(_) => HashKey::ByAddress,
            Self::WeightedRoundRobin(_) | Self::LeastConnections => HashKey::ByNothing,
        }
    }

    /// The hash it uses, if it uses one.
    pub fn hash_algorithm(&self) -> Option<HashAlgorithm> {
        match self {
            Self::ConsistentHash(ring) | Self::IpHash(ring) => Some(ring.algorithm()),
            Self::Rendezvous(rendezvous) => Some(rendezvous.algorithm()),
            Self::WeightedRoundRobin(_) | Self::LeastConnections => None,
        }
    }

    /// The name in the configuration and in `/status`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::ConsistentHash(_) => "consistent_hash",
            Self::Rendezvous(_) => "rendezvous",
            Self::WeightedRoundRobin(_) => "weighted_round_robin",
            Self::LeastConnections => "least_connections",
            Self::IpHash(_) => "ip_hash",
        }
    }
}
