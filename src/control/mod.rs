//! From a configuration to a running gateway: builds snapshots, reloads them, ends the process in
//! order. The only room that knows both `config` and `gateway`.

mod build;
mod by_address;
mod host;
mod labels;
mod lifecycle;
mod naming;
pub mod plan;
mod probes;
mod reload;
mod tls;
mod watch;

pub use build::{Before, snapshot};
pub use lifecycle::{ADMIN_CONNECTIONS, Capacity, Signal, Signals, capacity, signals};
pub use reload::{Refused, ReloadError, Reloaded, Reloader, Requests, Running};
pub use tls::{CERTIFICATES, RENEW, certificates, warnings as certificate_warnings};
pub use watch::Watch;
