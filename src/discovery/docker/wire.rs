//! What of the engine's answers is read. Fields that are absent or `null` are empty.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer};

/// Of `GET /version`.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    #[serde(rename = "ApiVersion")]
    pub(super) api: String,
    #[serde(rename = "MinAPIVersion", default)]
    pub(super) oldest_api: String,
}

/// A container, of `GET /containers/json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    /// Each begins with a slash.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) names: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) labels: HashMap<String, String>,
    /// `running`, `paused`, `exited`, …
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) state: String,
    /// For people: `Up 3 minutes (healthy)`.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) status: String,
    /// When it was made, in seconds.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) created: i64,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) ports: Vec<Port>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) network_settings: NetworkSettings,
    /// In words of its own since API 1.52; before, only `status` has it.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) health: HealthSummary,
}

/// What its health check says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthSummary {
    /// `none`, `starting`, `healthy`, `unhealthy`.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) status: String,
}

/// A port that it exposes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Port {
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) private_port: u16,
    /// `tcp`, `udp`, `sctp`.
    #[serde(rename = "Type", default, deserialize_with = "or_empty")]
    pub(super) kind: String,
}

/// Its networks by their names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) networks: BTreeMap<String, Network>,
}

/// Its place in a network; addresses are empty where it has none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Network {
    #[serde(rename = "IPAddress", default, deserialize_with = "or_empty")]
    pub(super) ipv4: String,
    #[serde(rename = "GlobalIPv6Address", default, deserialize_with = "or_empty")]
    pub(super) ipv6: String,
}

/// One line of `GET /events`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Event {
    /// `container` or `network`.
    #[serde(rename = "Type", default, deserialize_with = "or_empty")]
    pub(super) kind: String,
    /// `start`, `die`, `health_status: healthy`, …
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) action: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) actor: Actor,
}

/// Whom an event is about.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Actor {
    /// The id of the container or of the network.
    #[serde(rename = "ID", default, deserialize_with = "or_empty")]
    pub(super) id: String,
    /// Of a container its labels, name and image, and what belongs to the action; of a network its name
    /// and the id of the container.
    #[serde(rename = "Attributes", default, deserialize_with = "or_empty")]
    pub(super) attributes: HashMap<String, String>,
}

/// What an engine says when it refuses.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) message: String,
}

/// Go writes `null` for a list or map that is empty.
fn or_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
