//! The configuration: what the operator wrote, read, checked and made plain.
//!
//! One YAML text becomes a [`Config`] or a list of everything that is wrong with it, each finding
//! with file, line, column and a hint. The way of a text: `yaml` (a tree with places, `${NAME}`
//! replaced) → `raw` (serde types) → `secret` (`file:`) → `check` (what no single key can tell)
//! → `resolve` (defaults and inheritance) → `types`. Where there is no file, `opendify` makes such a
//! text of environment variables, which takes the same way; `source` says which of the two it is.
//!
//! What the rest of the program may rely on:
//! - A [`Config`] is complete: no optional value where a default exists, nothing out of range, every
//!   token fit for a header.
//! - No finding shows a secret or a value from the environment, whichever way it is printed
//!   ([`Diagnostics`], `diagnostic::redact`).
//! - Nothing here reads the process's environment, opens a socket or looks up a name. The only IO is
//!   reading the configuration, a file of variables and the files of secrets, and looking at who owns
//!   what is out of reach.
//!
//! Deliberately absent: reload and comparison with an older configuration (`control`), several
//! files, and options whose code has not landed.

mod access_log;
mod address;
mod admin;
mod admin_place;
mod ai;
mod balancing;
mod bodies;
mod certificate_paths;
mod check;
mod compose;
mod diagnostic;
mod environment;
mod error_log;
mod files;
mod flat;
mod full_width;
mod ingress;
mod key_table;
mod keys;
mod limits;
mod listen;
mod listening;
mod literal;
mod load;
mod markdown;
mod opendify;
mod probe;
mod raw;
mod resolve;
mod retry;
mod schema;
mod secret;
mod service_route;
mod services;
mod source;
mod spelling;
mod store;
mod tls;
mod types;
mod unset;
mod web_url;
mod yaml;

#[cfg(test)]
mod tests;

pub use access_log::{AccessLog, LogFormat};
pub use admin::Admin;
pub use admin_place::{AdminPlace, NoAdminPlace, admin_place};
pub use ai::{Ai, UserJwt};
pub use balancing::{ConsistentHash, MaxLoad, Method};
pub use bodies::BodiesMemory;
pub use diagnostic::{Diagnostics, Finding, Place, Related, Severity, Style};
pub use error_log::ErrorLog;
pub use files::bounded_read::read_past;
pub use files::file_access::{Role, Wanted, access_hint};
pub use flat::{
    Difference, FlatApp, FlatConfig, Setting, Settings, difference, flatten, mark, top,
};
pub use ingress::Ingress;
pub use key_table::is_name;
pub use keys::Key;
pub use limits::{Limits, Owners};
pub use listen::{Listen, Listener};
pub use listening::Listening;
pub use load::{Environment, Loaded, load, parse};
pub use markdown::markdown;
pub use probe::{Probe, ProbeMethod};
pub use retry::Retry;
pub use schema::schema;
pub use service_route::ServiceRoute;
pub use source::Source;
pub use store::{Conversations, Store};
pub use tls::{Certificate, ClientCertificates, InstanceTls};
pub use types::{App, Config, Instance, Service};
pub use unset::{Missing, Unset};
