//! How requests to services are passed on.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::web_url::web_url;
use crate::model::units::duration;
use crate::model::value_schema;

/// Requests to `services`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ingress {
    /// How clients reach the gateway, such as `https://dify.example.org`: scheme, host and port that
    /// services are told (`X-Forwarded-Proto`, `-Host`, `-Port`, `Forwarded`) where no trusted proxy
    /// says them. Absent: as the client connects and what its `Host` says.
    #[serde(deserialize_with = "web_url")]
    #[schemars(schema_with = "value_schema::web_url")]
    pub public_url: Option<String>,
    /// How long a request waits for an instance of a service that has none, before it gets 503.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub wait: Duration,
}

impl Default for Ingress {
    fn default() -> Self {
        Self { public_url: None, wait: Duration::from_secs(10) }
    }
}
