//! An app as an operator writes it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ai::RawAi;
use super::hash::RawHash;
use super::instance::RawInstance;
use super::object_schema;
use super::probe::RawProbe;
use super::retry::RawRetry;
use super::statuses::fail_statuses;
use crate::config::balancing::{MaxLoad, Method, max_load};
use crate::model::units::{percent, slow_start};
use crate::model::value_schema;
use crate::model::{OnDisconnect, OnOwnerDown, Storage, Token};

/// One app: its clients and its instances.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "App")]
#[schemars(transform = object_schema::app)]
pub(crate) struct RawApp {
    /// Tokens of its clients, each the token itself or `file:` and a path. A token may be used in
    /// several apps. Required unless one of `keys` opens the app.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::secrets")]
    pub(crate) user_tokens: Vec<Token>,
    /// More model ids besides its name, for clients with fixed model names.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// Load balancing method, if different from the top.
    #[serde(default)]
    pub(crate) method: Option<Method>,
    /// Bounded load, if different from the top.
    #[serde(default, deserialize_with = "max_load")]
    #[schemars(schema_with = "value_schema::max_load")]
    pub(crate) max_load: Option<MaxLoad>,
    /// Hash ring, if different from the top.
    #[serde(default)]
    pub(crate) consistent_hash: RawHash,
    /// Active health checks, if different from the top.
    #[serde(default)]
    pub(crate) probe: RawProbe,
    /// Statuses that take an instance out, if different from the top.
    #[serde(default, deserialize_with = "fail_statuses")]
    #[schemars(schema_with = "value_schema::fail_statuses")]
    pub(crate) fail_statuses: Option<Vec<u16>>,
    /// Share of its instances that failed requests may take out, if different from the top.
    #[serde(default, deserialize_with = "percent")]
    #[schemars(schema_with = "value_schema::percent")]
    pub(crate) max_ejected_share: Option<u32>,
    /// How long to ramp traffic back, if different from the top.
    #[serde(default, deserialize_with = "slow_start")]
    #[schemars(schema_with = "value_schema::duration_or_zero")]
    pub(crate) slow_start: Option<Duration>,
    /// Retries, if different from the top.
    #[serde(default)]
    pub(crate) retry: RawRetry,
    /// What to do when the client disconnects during a run, if different from the top.
    #[serde(default)]
    pub(crate) on_disconnect: Option<OnDisconnect>,
    /// What to do when a request's data is on an instance that is out, if different from the top.
    #[serde(default)]
    pub(crate) on_owner_down: Option<OnOwnerDown>,
    /// Whether its instances have separate databases, if different from the top.
    #[serde(default)]
    pub(crate) storage: Option<Storage>,
    /// Whether a second turn of a conversation waits for the first, if different from the top.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) one_turn_at_a_time: Option<bool>,
    /// The AI endpoints, if different from the top.
    #[serde(default, alias = "doors")]
    pub(crate) ai: RawAi,
    /// The Dify instances that serve it.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) instances: Vec<RawInstance>,
}
