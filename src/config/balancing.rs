//! How requests are spread over instances.

use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use crate::model::HashAlgorithm;
use crate::model::units::{from_text, parse_thousandths};

/// How requests are spread over instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Each user has an instance, found on a ring.
    #[default]
    ConsistentHash,
    /// Each user has an instance, found by highest random weight.
    Rendezvous,
    /// In turn, by weight; a user has no instance of their own.
    WeightedRoundRobin,
    /// The least busy; a user has no instance of their own.
    LeastConnections,
    /// Each client address has an instance, found on a ring.
    IpHash,
}

impl Method {
    /// As it is written.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::ConsistentHash => "consistent_hash",
            Self::Rendezvous => "rendezvous",
            Self::WeightedRoundRobin => "weighted_round_robin",
            Self::LeastConnections => "least_connections",
            Self::IpHash => "ip_hash",
        }
    }

    /// Whether the method has a ring with points.
    pub(super) fn has_ring(self) -> bool {
        matches!(self, Self::ConsistentHash | Self::IpHash)
    }

    /// Whether the method hashes, and so has an order of its own that `max_load` can move along.
    pub(super) fn hashes(self) -> bool {
        self.has_ring() || self == Self::Rendezvous
    }
}

/// How far above its fair share of the requests in flight an instance may be. Written as a number
/// from 1 to 100 or `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxLoad {
    /// As far as it comes.
    #[default]
    Off,
    /// A factor in thousandths.
    Thousandths(u32),
}

impl Serialize for MaxLoad {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Thousandths(factor) => serializer.serialize_f64(f64::from(*factor) / 1000.0),
        }
    }
}

/// The ring and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ConsistentHash {
    /// Points on the ring per unit of weight.
    pub virtual_nodes: u32,
    /// What places users and instances on the ring.
    pub hash_algorithm: HashAlgorithm,
}

impl Default for ConsistentHash {
    fn default() -> Self {
        Self { virtual_nodes: 160, hash_algorithm: HashAlgorithm::Sha256 }
    }
}

/// `off` or a factor from 1 to 100 with up to three decimals, for a key that may be absent.
pub(super) fn max_load<'de, D: Deserializer<'de>>(de: D) -> Result<Option<MaxLoad>, D::Error> {
    from_text(de, |text| {
        if text == "off" {
            return Ok(Some(MaxLoad::Off));
        }
        let thousandths =
            parse_thousandths(text).filter(|factor| (1000..=100_000).contains(factor));
        let message = "must be a number from 1 to 100 with up to three decimals, or `off`";
        thousandths.map(|factor| Some(MaxLoad::Thousandths(factor))).ok_or(message.to_owned())
    })
}
