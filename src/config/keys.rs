//! Keys that open several apps, and what is known of who sends them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::model::{AppName, Token};

/// A key of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its name, which no other key has.
    pub name: String,
    /// What clients send, which no other key has; `None`: the key of who brings none.
    pub secret: Option<Token>,
    /// The apps that it opens; `None`: all.
    pub apps: Option<Vec<AppName>>,
    /// Whether it may see and clean up the conversations of all keys.
    pub admin: bool,
    /// Whether it may name any end user on Dify's own paths, and list and change what is not its own.
    pub impersonate: bool,
    /// Whether headers that name the end user are believed.
    pub trusted_proxy: bool,
    /// The end user of requests that name none.
    pub user: Option<String>,
}

/// A key of clients that opens several apps, on Dify's own paths and for OpenAI and Anthropic
/// clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Key")]
#[schemars(transform = schema::key)]
pub(super) struct WrittenKey {
    /// Its name, 1 to 64 of `A-Z a-z 0-9 . _ -`: the users that Dify sees begin with it.
    pub(super) name: String,
    /// What clients send: the secret itself, or `file:` and a path.
    #[schemars(schema_with = "schema::secret")]
    pub(super) secret: Option<Token>,
    /// In place of `secret`: the key of requests that bring none, or one that nobody knows. Anybody
    /// who reaches the gateway may then use its apps.
    #[schemars(schema_with = "schema::boolean")]
    pub(super) anonymous: bool,
    /// The apps that it opens; absent: all.
    pub(super) apps: Option<Vec<String>>,
    /// Whether it may see and clean up the conversations of all keys.
    #[schemars(schema_with = "schema::boolean")]
    pub(super) admin: bool,
    /// Whether it may name any end user on Dify's own paths, and list and change there what is not
    /// its own; else the users that it names there begin with its name, as for AI clients.
    #[schemars(schema_with = "schema::boolean")]
    pub(super) impersonate: bool,
    /// Whether headers that name the end user are believed, as a chat front end sends them.
    #[schemars(schema_with = "schema::boolean")]
    pub(super) trusted_proxy: bool,
    /// The end user of requests that name none, up to 128 characters; absent: `default`.
    pub(super) user: Option<String>,
}

impl WrittenKey {
    /// Whether it opens this app.
    pub(super) fn opens(&self, app: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.iter().any(|name| name == app))
    }
}

impl From<WrittenKey> for Key {
    fn from(written: WrittenKey) -> Self {
        Self {
            name: written.name,
            secret: written.secret,
            apps: written.apps.map(|apps| apps.into_iter().map(AppName::from).collect()),
            admin: written.admin,
            impersonate: written.impersonate,
            trusted_proxy: written.trusted_proxy,
            user: written.user,
        }
    }
}
