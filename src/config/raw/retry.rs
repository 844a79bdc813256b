//! What is tried again, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::statuses::fail_statuses;
use crate::config::retry::Retry;
use crate::model::units::{maybe_share, maybe_whole};
use crate::model::value_schema;

/// Retries. An app inherits what it leaves out from the top.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Retry")]
pub(crate) struct RawRetry {
    /// Further attempts after the first; absent: 2.
    #[serde(deserialize_with = "maybe_whole::<_, _, 0, 10>")]
    #[schemars(schema_with = "value_schema::whole::<0, 10>")]
    pub(crate) attempts: Option<u32>,
    /// Limit of retries, as a share of the app's requests, with a reserve of 100; absent: `20%`.
    #[serde(deserialize_with = "maybe_share")]
    #[schemars(schema_with = "value_schema::share")]
    pub(crate) budget: Option<u32>,
    /// Response statuses from 500 to 599 on which the next instance is tried; absent: none.
    #[serde(deserialize_with = "fail_statuses")]
    #[schemars(schema_with = "value_schema::fail_statuses")]
    pub(crate) statuses: Option<Vec<u16>>,
    /// Also retry a POST that an instance may have executed. It may then run twice; absent:
    /// `false`.
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) non_idempotent: Option<bool>,
    /// Resume a streamed flow of Dify 1.14 or later when its API process dies: the run continues in
    /// the worker, and the client gets the rest; absent: `true`. With `false` its stream ends with
    /// an error.
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) resume: Option<bool>,
}

impl RawRetry {
    /// Fills what is left out.
    pub(crate) fn or(self, other: &Retry) -> Retry {
        Retry {
            attempts: self.attempts.unwrap_or(other.attempts),
            budget: self.budget.unwrap_or(other.budget),
            statuses: self.statuses.unwrap_or_else(|| other.statuses.clone()),
            non_idempotent: self.non_idempotent.unwrap_or(other.non_idempotent),
            resume: self.resume.unwrap_or(other.resume),
        }
    }
}
