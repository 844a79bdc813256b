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

/// One app: who may use it and who answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "App")]
#[schemars(transform = object_schema::app)]
pub(crate) struct RawApp {
    /// The tokens of its clients, each `file:` and a path or the token itself. A token may stand
    /// in several apps. Needed unless one of `keys` opens the app.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::secrets")]
    pub(crate) user_tokens: Vec<Token>,
    /// More model ids beside its name, for clients that ask for a model of theirs.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// How requests are spread over its instances, where it differs from the top.
    #[serde(default)]
    pub(crate) method: Option<Method>,
    /// How far above its fair share an instance may be before requests that no id ties down pass
    /// it over, where it differs from the top.
    #[serde(default, deserialize_with = "max_load")]
    #[schemars(schema_with = "value_schema::max_load")]
    pub(crate) max_load: Option<MaxLoad>,
    /// The ring and its hash, where they differ from the top.
    #[serde(default)]
    pub(crate) consistent_hash: RawHash,
    /// How its instances are asked whether they answer, where it differs from the top.
    #[serde(default)]
    pub(crate) probe: RawProbe,
    /// Statuses that take an instance out, where they differ from the top.
    #[serde(default, deserialize_with = "fail_statuses")]
    #[schemars(schema_with = "value_schema::fail_statuses")]
    pub(crate) fail_statuses: Option<Vec<u16>>,
    /// How many of its instances failed requests may take out, where it differs from the top.
    #[serde(default, deserialize_with = "percent")]
    #[schemars(schema_with = "value_schema::percent")]
    pub(crate) max_ejected_share: Option<u32>,
    /// For how long users go home little by little, where it differs from the top.
    #[serde(default, deserialize_with = "slow_start")]
    #[schemars(schema_with = "value_schema::duration_or_zero")]
    pub(crate) slow_start: Option<Duration>,
    /// What is tried again, where it differs from the top.
    #[serde(default)]
    pub(crate) retry: RawRetry,
    /// What becomes of a run whose client went away, where it differs from the top.
    #[serde(default)]
    pub(crate) on_disconnect: Option<OnDisconnect>,
    /// What becomes of a request whose data is on an instance that is out, where it differs from the
    /// top.
    #[serde(default)]
    pub(crate) on_owner_down: Option<OnOwnerDown>,
    /// Whether its instances have databases of their own, where it differs from the top.
    #[serde(default)]
    pub(crate) storage: Option<Storage>,
    /// Whether a second turn of a conversation waits for the first, where it differs from the top.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) one_turn_at_a_time: Option<bool>,
    /// How it is offered to OpenAI and Anthropic clients, where it differs from the top.
    #[serde(default, alias = "doors")]
    pub(crate) ai: RawAi,
    /// The Dify installations that answer.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) instances: Vec<RawInstance>,
}
