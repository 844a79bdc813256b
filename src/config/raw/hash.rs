//! The ring and its hash, of which an app may leave out what the top has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::balancing::ConsistentHash;
use crate::model::HashAlgorithm;
use crate::model::units::maybe_whole;
use crate::model::value_schema;

/// The hash ring. An app inherits what it leaves out from the top.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "ConsistentHash")]
pub(crate) struct RawHash {
    /// Points on the ring per unit of weight; absent: 160.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000>")]
    pub(crate) virtual_nodes: Option<u32>,
    /// Hash function of users and instances; absent: `sha256`.
    pub(crate) hash_algorithm: Option<HashAlgorithm>,
}

impl RawHash {
    /// Fills what is left out.
    pub(crate) fn or(self, other: ConsistentHash) -> ConsistentHash {
        ConsistentHash {
            virtual_nodes: self.virtual_nodes.unwrap_or(other.virtual_nodes),
            hash_algorithm: self.hash_algorithm.unwrap_or(other.hash_algorithm),
        }
    }
}
