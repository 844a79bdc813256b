//! The configuration: what the operator wrote, read, checked and made plain.
//!
//! One YAML text becomes a [`Config`] or a list of everything that is wrong with it, each finding
//! with file, line, column and a hint. The way of a text: `yaml` (a tree with places, `${NAME}`
//! replaced) → `written` (serde types) → `secret` (`file:`) → `check` (what no single key can tell)
//! → `resolve` (defaults and inheritance) → `types`. Where there is no file, `opendify` makes such a
//! text of environment variables, which takes the same way; `source` says which of the two it is.
//!
//! What the rest of the program may rely on:
//! - A [`Config`] is complete: no optional value where a default exists, nothing out of range, every
//!   token fit for a header.
//! - No finding shows a secret or a value from the environment, whichever way it is printed
//!   ([`Diagnostics`], `mask`).
//! - Nothing here reads the process's environment, opens a socket or looks up a name. The only IO is
//!   reading the configuration, a file of variables and the files of secrets.
//!
//! Deliberately absent: reload and comparison with an older configuration (`control`), several
//! files, and options whose code has not landed.

mod address;
mod ai;
mod bodies;
mod check;
mod check_ai;
mod check_app;
mod check_health;
mod check_keys;
mod diagnostic;
mod dictionary;
mod env_file;
mod health;
mod kept;
mod keys;
mod load;
mod markdown;
mod mask;
mod notes;
mod opendify;
mod policy;
mod render;
mod resolve;
mod scalar;
mod schema;
mod secret;
mod shape;
mod source;
mod tls;
mod types;
mod upgrade;
mod web_url;
mod words;
mod written;
mod yaml;

#[cfg(test)]
mod tests_ai;
#[cfg(test)]
mod tests_findings;
#[cfg(test)]
mod tests_findings_app;
#[cfg(test)]
mod tests_findings_yaml;
#[cfg(test)]
mod tests_health;
#[cfg(test)]
mod tests_keys;
#[cfg(test)]
mod tests_load;
#[cfg(test)]
mod tests_mask;
#[cfg(test)]
mod tests_opendify;
#[cfg(test)]
mod tests_scalar;
#[cfg(test)]
mod tests_schema;
#[cfg(test)]
mod tests_secrets;
#[cfg(test)]
mod tests_tls;
#[cfg(test)]
mod tests_upgrade;

pub use ai::{Ai, UserJwt};
pub use bodies::BodiesMemory;
pub use diagnostic::{Diagnostics, Finding, Place, Related, Severity, Style};
pub use health::{Probe, ProbeMethod};
pub use kept::{Conversations, OnStoreFailure, Store};
pub use keys::Key;
pub use load::{Environment, Loaded, load, parse};
pub use markdown::markdown;
pub use policy::{OnDisconnect, OnOwnerDown, Retry, Storage};
pub use scalar::{format_duration, format_size, parse_duration, parse_size};
pub use schema::schema;
pub use shape::{AppShape, Difference, Setting, Settings, Shape, difference, mark, shape, top};
pub use source::Source;
pub use tls::{Certificate, ClientCertificates, InstanceTls};
pub use types::{
    AccessLog, Admin, App, Config, ConsistentHash, HashAlgorithm, Instance, LastResort, Limits,
    LogFormat, MaxLoad, Method, Owners, Queue, Timeouts,
};
