//! Certificates: files that the gateway shows, and files that it trusts. What is in them is read by
//! `control`; here are only their paths.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::value_schema;

/// How TLS is spoken with an instance whose `url` begins with `https://`. Its certificate is always
/// checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceTls {
    /// A PEM file of authorities that may vouch for it beside the public ones; absent: none. A
    /// relative path starts at the configuration's folder.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have, and that is asked for (SNI); absent: the host of its
    /// `url`.
    pub sni: Option<String>,
}

/// A certificate that clients are shown. Its files are read again at each reload and when they
/// change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// A PEM file with the certificate and those that lead from it to an authority. A relative path
    /// starts at the configuration's folder.
    pub cert: PathBuf,
    /// A PEM file with its private key, without a passphrase.
    #[schemars(schema_with = "value_schema::private_key")]
    pub key: PathBuf,
    /// The names that it is shown for, such as `a.example` or `*.b.example`; absent: those that it
    /// is for.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Certificates that clients show of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// A PEM file of the authorities that vouch for clients.
    pub ca: PathBuf,
    /// Whether a client without one is turned away. One that shows a wrong certificate always is.
    #[serde(default = "yes")]
    #[schemars(schema_with = "value_schema::boolean")]
    pub required: bool,
}

fn yes() -> bool {
    true
}
