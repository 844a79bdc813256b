//! The configuration as an operator writes it, for serde and for the JSON Schema.
//!
//! Only what differs from `types` stands here: two spellings of `apps`, an address in two forms,
//! settings that an app takes over from the top. The doc comments are the schema's descriptions.

mod ai;
mod app;
mod hash;
mod instance;
mod key;
mod object_schema;
mod probe;
mod retry;
mod service;
mod statuses;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::access_log::{self, AccessLog};
use super::admin::Admin;
use super::balancing::{MaxLoad, Method, max_load};
use super::error_log::{self, ErrorLog};
use super::ingress::Ingress;
use super::limits::{Limits, Owners};
use super::listen::{self, Listen};
use super::store::{Conversations, Store};
use super::tls::{Certificate, ClientCertificates};
use crate::model::units::{maybe_whole, networks, percent, slow_start};
use crate::model::value_schema;
use crate::model::{LastResort, OnDisconnect, OnOwnerDown, Storage, Timeouts};
use statuses::fail_statuses;

pub(super) use ai::{RawAi, is_variable};
pub(super) use app::RawApp;
use hash::RawHash;
pub(super) use instance::RawInstance;
pub(super) use key::RawKey;
pub(super) use probe::RawProbe;
use retry::RawRetry;
pub(super) use service::{DifyServices, RawRoute, RawService, RawServiceInstance, RawServices};

/// The configuration of difygate: one program in front of several Dify instances. Any value may
/// name an environment variable, `${NAME}` or `${NAME:-default}`; keys at the top that begin with
/// `x-` are ignored and may hold anchors.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Configuration")]
#[schemars(transform = object_schema::finish)]
pub(crate) struct RawConfig {
    /// Where clients connect: an address, or a list of them, of which each may say whether it
    /// speaks TLS: `[0.0.0.0:82, { address: "0.0.0.0:443", tls: true }]`. Port 0 lets the system
    /// choose. Absent: `$DIFYGATE_LISTEN`, which the container image sets to `0.0.0.0:8080`, else the
    /// default.
    #[serde(default)]
    #[schemars(schema_with = "listen::schema")]
    pub(crate) listen: Listen,
    /// Server certificates, chosen by SNI; the first is the default. With them `listen` accepts TLS
    /// only where it says nothing else, with HTTP/2 and HTTP/1.1; absent: HTTP/1.1 without TLS.
    #[serde(default)]
    pub(crate) tls: Vec<Certificate>,
    /// Client certificates; absent: none are requested.
    #[serde(default)]
    pub(crate) client_certificates: Option<ClientCertificates>,
    /// The admin listener: status, metrics and reload. It serves loopback clients and those allowed
    /// here.
    #[serde(default)]
    pub(crate) admin: Admin,
    /// Number of worker threads; absent: one per core.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 1024>")]
    #[schemars(schema_with = "value_schema::whole::<1, 1024>")]
    pub(crate) workers: Option<usize>,
    /// Pin each worker to a core.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) pin_cpus: bool,
    /// No effect any more; the next release refuses it.
    #[serde(default)]
    pub(crate) engine: Option<Engine>,
    /// Access log: `json` or `combined` on standard output, `off`, or a map of `path` and `format`.
    #[serde(default)]
    #[schemars(schema_with = "access_log::schema")]
    pub(crate) access_log: AccessLog,
    /// Error log: `stderr`, or a map of `path`. SIGUSR1 opens the file again. `RUST_LOG` sets its
    /// level.
    #[serde(default)]
    #[schemars(schema_with = "error_log::schema")]
    pub(crate) error_log: ErrorLog,
    /// Networks and addresses of proxies whose `X-Forwarded-For` is trusted.
    #[serde(default, with = "networks")]
    #[schemars(schema_with = "value_schema::networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// When all instances of an app are out: `try` them anyway, or `refuse` with 503.
    #[serde(default)]
    pub(crate) last_resort: LastResort,
    /// Add the response header `X-Difygate-Instance` with the name of the instance.
    #[serde(default = "yes")]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) instance_header: bool,
    /// Folder for bodies larger than `limits.memory_body`. A relative path starts at the
    /// configuration's folder; absent: the system's temporary folder.
    #[serde(default)]
    pub(crate) spool_dir: Option<PathBuf>,
    /// Load balancing method of every app; absent: `consistent_hash`.
    #[serde(default)]
    pub(crate) method: Method,
    /// Bounded load: requests without an id skip an instance that has more than this many times its
    /// fair share of requests in flight. A factor from 1 to 100, or `off`; absent: `off`.
    #[serde(default, deserialize_with = "max_load")]
    #[schemars(schema_with = "value_schema::max_load")]
    pub(crate) max_load: Option<MaxLoad>,
    /// The hash ring of every app, for methods that use one.
    #[serde(default)]
    pub(crate) consistent_hash: RawHash,
    /// Active health checks of every instance.
    #[serde(default)]
    pub(crate) probe: RawProbe,
    /// Response statuses from 500 to 599 that take an instance out for the app after `max_fails` in
    /// a row: one, a list, or `[]` for none; absent: 500, 502, 503 and 504.
    #[serde(default, deserialize_with = "fail_statuses")]
    #[schemars(schema_with = "value_schema::fail_statuses")]
    pub(crate) fail_statuses: Option<Vec<u16>>,
    /// Share of an app's instances that failed requests may take out at a time, from `1%` to
    /// `100%`, but at least one instance; absent: `100%`.
    #[serde(default, deserialize_with = "percent")]
    #[schemars(schema_with = "value_schema::percent")]
    pub(crate) max_ejected_share: Option<u32>,
    /// How long to ramp traffic back to a recovered instance; absent: `0s`, all at once.
    #[serde(default, deserialize_with = "slow_start")]
    #[schemars(schema_with = "value_schema::duration_or_zero")]
    pub(crate) slow_start: Option<Duration>,
    /// What is tried again.
    #[serde(default)]
    pub(crate) retry: RawRetry,
    /// When the client disconnects during a run: `stop` the run, `drain` it (read to its end), or
    /// `close` the connection; absent: `stop` for streamed runs, `drain` for blocking ones.
    #[serde(default)]
    pub(crate) on_disconnect: Option<OnDisconnect>,
    /// When the conversation, message, file or run is on an instance that is out: `fail` with 503,
    /// `queue` for it, or `restart` chat turns in a new conversation elsewhere; absent: `fail`.
    #[serde(default)]
    pub(crate) on_owner_down: OnOwnerDown,
    /// Whether the instances of an app have separate databases (`independent`) or one `shared`
    /// database, Redis and file store; absent: `independent`.
    #[serde(default)]
    pub(crate) storage: Storage,
    /// Make a second turn of a conversation wait until the first has ended. Dify itself would run
    /// both at once and mix them up.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) one_turn_at_a_time: bool,
    /// The AI endpoints (OpenAI's and Anthropic's protocols), for every app.
    #[serde(default, alias = "doors")]
    pub(crate) ai: RawAi,
    /// How long the gateway waits, and for what.
    #[serde(default)]
    pub(crate) timeouts: Timeouts,
    /// Limits on sizes, rates and connections.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// Remembered ids: which instance has which conversation, message, file and run.
    #[serde(default)]
    pub(crate) owners: Owners,
    /// Persistent storage: a map, or just the URL of a Redis.
    #[serde(default)]
    #[schemars(schema_with = "store::schema")]
    pub(crate) store: Store,
    /// Keys that open several apps.
    #[serde(default)]
    pub(crate) keys: Vec<RawKey>,
    /// Stored conversations of OpenAI and Anthropic clients. No text is stored.
    #[serde(default)]
    pub(crate) conversations: Conversations,
    /// Services by their names: whatever else the gateway passes requests to, such as Dify's web app
    /// and console. `dify: compose` among them adds those of Dify's `docker-compose.yaml`, `api`,
    /// `plugin_daemon` and `web`, and what leads to them; a service of that name changes them.
    /// Requests of apps and AI endpoints, and the gateway's own paths, are never theirs.
    #[serde(default)]
    #[schemars(schema_with = "service::schema")]
    pub(crate) services: RawServices,
    /// Requests to `services`.
    #[serde(default)]
    pub(crate) ingress: Ingress,
    /// The apps by their names, which are 1 to 64 of `A-Z a-z 0-9 . _ -`. For OpenAI and
    /// Anthropic clients the name is the model.
    #[serde(default, alias = "applications")]
    #[schemars(with = "BTreeMap<String, RawApp>")]
    pub(crate) apps: IndexMap<String, RawApp>,
    /// Files of secrets and certificates; no key.
    #[serde(skip)]
    pub(crate) watched_files: Vec<PathBuf>,
    /// Whether a secret stands in the text itself; no key.
    #[serde(skip)]
    pub(crate) holds_secrets: bool,
}

/// No effect any more: it chose the HTTP/1.1 engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Engine {
    /// The gateway's own.
    Own,
    /// The library hyper.
    Hyper,
}

fn yes() -> bool {
    true
}
