//! A key of clients as an operator writes it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::object_schema;
use crate::config::keys::Key;
use crate::model::value_schema;
use crate::model::{AppName, Token};

/// A client key that opens several apps, on Dify's own paths and for OpenAI and Anthropic clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Key")]
#[schemars(transform = object_schema::key)]
pub(crate) struct RawKey {
    /// Its name, 1 to 64 characters of `A-Z a-z 0-9 . _ -`. The users that Dify sees begin with it.
    pub(crate) name: String,
    /// What clients send: the secret itself, or `file:` and a path.
    #[schemars(schema_with = "value_schema::secret")]
    pub(crate) secret: Option<Token>,
    /// Instead of `secret`: this key is used for requests without a key or with an unknown one.
    /// Anybody who can reach the gateway may then use its apps.
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) anonymous: bool,
    /// Apps that it opens; absent: all.
    pub(crate) apps: Option<Vec<String>>,
    /// Whether it may see and clean up the conversations of all keys.
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) admin: bool,
    /// Whether it may name any end user on Dify's own paths, and list and change data of others
    /// there; otherwise users there are prefixed with its name, as for AI clients. Absent: `false`,
    /// with a warning at the start, since up to 0.1 every key could do this.
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) impersonate: Option<bool>,
    /// Trust headers that name the end user, as sent by a chat front end.
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) trusted_proxy: bool,
    /// End user of requests that name none, up to 128 characters; absent: the user `default`.
    pub(crate) user: Option<String>,
}

impl RawKey {
    /// Whether it opens this app.
    pub(crate) fn opens(&self, app: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.iter().any(|name| name == app))
    }
}

impl From<RawKey> for Key {
    fn from(raw: RawKey) -> Self {
        Self {
            name: raw.name,
            secret: raw.secret,
            apps: raw.apps.map(|apps| apps.into_iter().map(AppName::from).collect()),
            admin: raw.admin,
            impersonate: raw.impersonate == Some(true),
            trusted_proxy: raw.trusted_proxy,
            user: raw.user,
        }
    }
}
