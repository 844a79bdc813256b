//! Certificates: files that the gateway shows, and files that it trusts. What is in them is read by
//! `control`; here are only their paths.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::value_schema;

/// TLS settings of an instance whose `url` begins with `https://`. Its certificate is always
/// verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceTls {
    /// PEM file with CAs trusted for it besides the public ones; absent: none. A relative path
    /// starts at the configuration's folder.
    pub ca: Option<PathBuf>,
    /// Server name to send (SNI) and to verify in its certificate; absent: the host of its `url`.
    pub sni: Option<String>,
}

/// A server certificate. Its files are read again at each reload and when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM file with the certificate followed by its intermediates. A relative path starts at the
    /// configuration's folder.
    pub cert: PathBuf,
    /// PEM file with its private key, without a passphrase.
    #[schemars(schema_with = "value_schema::private_key")]
    pub key: PathBuf,
    /// Server names (SNI) that it is used for, such as `a.example` or `*.b.example`; absent: the
    /// names in the certificate.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Client certificates (mutual TLS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// PEM file with the CAs of client certificates.
    pub ca: PathBuf,
    /// Reject clients without a certificate. A client with an invalid one is always rejected.
    #[serde(default = "yes")]
    #[schemars(schema_with = "value_schema::boolean")]
    pub required: bool,
}

fn yes() -> bool {
    true
}
