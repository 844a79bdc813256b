//! Keys that open several apps, and what is known of who sends them.

use serde::Serialize;

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
