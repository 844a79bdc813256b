//! The listener for those who run the gateway.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Token;
use crate::model::units::{self, networks};
use crate::model::value_schema;

/// The admin listener: status, metrics and reload. It serves loopback clients and those allowed
/// here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    #[serde(deserialize_with = "units::listen")]
    #[schemars(schema_with = "value_schema::listen")]
    pub listen: SocketAddr,
    /// Secret that admits clients from any address, sent as `Authorization: Bearer …`.
    #[schemars(schema_with = "value_schema::secret")]
    pub token: Option<Token>,
    /// Networks and addresses that need no token.
    #[serde(with = "networks")]
    #[schemars(schema_with = "value_schema::networks")]
    pub allow: Vec<IpNet>,
    /// Host names accepted without the token, such as `a.example` or `*.b.example`, besides
    /// addresses, `localhost`, names without a dot, `*.svc` and `*.cluster.local`. Any other name
    /// could be a web page's own (DNS rebinding).
    pub hosts: Vec<String>,
}

impl Default for Admin {
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090));
        Self { listen, token: None, allow: Vec::new(), hosts: Vec::new() }
    }
}
