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
mod statuses;
mod store;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::access_log::{self, AccessLog};
use super::admin::Admin;
use super::balancing::{MaxLoad, Method, max_load};
use super::limits::{Limits, Owners};
use super::store::{Conversations, Store};
use super::tls::{Certificate, ClientCertificates};
use crate::model::units::{self, maybe_whole, networks, percent, slow_start};
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

/// The configuration of difygate: one program in front of several Dify instances. Any value may
/// name an environment variable, `${NAME}` or `${NAME:-default}`; keys at the top that begin with
/// `x-` are ignored and may hold anchors.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Configuration")]
#[schemars(transform = object_schema::finish)]
pub(crate) struct RawConfig {
    /// Where clients connect. Port 0 lets the system choose.
    #[serde(default = "default_listen", deserialize_with = "units::listen")]
    #[schemars(schema_with = "value_schema::listen")]
    pub(crate) listen: SocketAddr,
    /// The certificates that clients are shown, the first where no other fits the name that they ask
    /// for. With them `listen` speaks TLS alone, HTTP/2 and HTTP/1.1; absent: HTTP/1.1 in the clear.
    #[serde(default)]
    pub(crate) tls: Vec<Certificate>,
    /// Certificates that clients must show; absent: they need none.
    #[serde(default)]
    pub(crate) client_certificates: Option<ClientCertificates>,
    /// The listener for those who run the gateway. It answers loopback clients and those named
    /// here.
    #[serde(default)]
    pub(crate) admin: Admin,
    /// How many worker threads serve; absent: one per core.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 1024>")]
    #[schemars(schema_with = "value_schema::whole::<1, 1024>")]
    pub(crate) workers: Option<usize>,
    /// Whether each worker is bound to a core.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) pin_cpus: bool,
    /// Without effect since there is one engine for HTTP/1.1; the next release refuses it.
    #[serde(default)]
    pub(crate) engine: Option<Engine>,
    /// Where the record of each request goes: `json` or `combined` on standard output, `off`, or
    /// a map of `path` and `format`.
    #[serde(default)]
    #[schemars(schema_with = "access_log::schema")]
    pub(crate) access_log: AccessLog,
    /// Networks and addresses of proxies whose `X-Forwarded-For` is believed.
    #[serde(default, with = "networks")]
    #[schemars(schema_with = "value_schema::networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// What happens when every instance of an app is out: `try` them anyway, or `refuse` with 503.
    #[serde(default)]
    pub(crate) last_resort: LastResort,
    /// Whether answers say which instance gave them, in the header `X-Difygate-Instance`.
    #[serde(default = "yes")]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) instance_header: bool,
    /// Where bodies beyond `limits.memory_body` are kept; absent: the system's folder for
    /// temporary files.
    #[serde(default)]
    pub(crate) spool_dir: Option<PathBuf>,
    /// How requests are spread over the instances of every app; absent: `consistent_hash`.
    #[serde(default)]
    pub(crate) method: Method,
    /// How far above its fair share an instance of any app may be before requests that no id ties
    /// down pass it over: a factor from 1 to 100 or `off`; absent: `off`.
    #[serde(default, deserialize_with = "max_load")]
    #[schemars(schema_with = "value_schema::max_load")]
    pub(crate) max_load: Option<MaxLoad>,
    /// The ring and its hash, for the methods that have one, for every app.
    #[serde(default)]
    pub(crate) consistent_hash: RawHash,
    /// How every instance is asked whether it answers.
    #[serde(default)]
    pub(crate) probe: RawProbe,
    /// Statuses from 500 to 599 that take an instance out for the app when `max_fails` answers in a
    /// row have them: one, a list, or `[]` for none; absent: 500, 502, 503 and 504.
    #[serde(default, deserialize_with = "fail_statuses")]
    #[schemars(schema_with = "value_schema::fail_statuses")]
    pub(crate) fail_statuses: Option<Vec<u16>>,
    /// How many instances of an app failed requests may take out at a time, from `1%` to `100%`,
    /// and at least one; absent: `100%`.
    #[serde(default, deserialize_with = "percent")]
    #[schemars(schema_with = "value_schema::percent")]
    pub(crate) max_ejected_share: Option<u32>,
    /// For how long users of an instance that came back go home little by little; absent: `0s`, all
    /// at once.
    #[serde(default, deserialize_with = "slow_start")]
    #[schemars(schema_with = "value_schema::duration_or_zero")]
    pub(crate) slow_start: Option<Duration>,
    /// What is tried again.
    #[serde(default)]
    pub(crate) retry: RawRetry,
    /// What becomes of a run whose client went away: `stop` it, `drain` it to its end, or `close`
    /// the connection; absent: `stop` for streamed runs, `drain` for blocking ones.
    #[serde(default)]
    pub(crate) on_disconnect: Option<OnDisconnect>,
    /// What becomes of a request whose conversation, message, file or run is on an instance that is
    /// out; absent: `fail`.
    #[serde(default)]
    pub(crate) on_owner_down: OnOwnerDown,
    /// Whether the instances of an app have databases of their own (`independent`) or `shared` ones;
    /// absent: `independent`.
    #[serde(default)]
    pub(crate) storage: Storage,
    /// Whether a second turn of a conversation waits until the first has ended: Dify lets both run
    /// and mixes them up.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) one_turn_at_a_time: bool,
    /// How every app is offered to OpenAI and Anthropic clients.
    #[serde(default, alias = "doors")]
    pub(crate) ai: RawAi,
    /// How long the gateway waits, and for what.
    #[serde(default)]
    pub(crate) timeouts: Timeouts,
    /// How much the gateway takes.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// What is remembered of Dify's ids: which instance owns which conversation, message, file, run.
    #[serde(default)]
    pub(crate) owners: Owners,
    /// Where what must survive a restart is kept: a map, or the URL of a Redis alone.
    #[serde(default)]
    #[schemars(schema_with = "store::schema")]
    pub(crate) store: Store,
    /// Keys that open several apps.
    #[serde(default)]
    pub(crate) keys: Vec<RawKey>,
    /// What is remembered of conversations with OpenAI and Anthropic clients. No text is kept.
    #[serde(default)]
    pub(crate) conversations: Conversations,
    /// The apps by their names, which are 1 to 64 of `A-Z a-z 0-9 . _ -`. For OpenAI and
    /// Anthropic clients the name is the model.
    #[serde(default, alias = "applications")]
    #[schemars(with = "BTreeMap<String, RawApp>")]
    pub(crate) apps: IndexMap<String, RawApp>,
    /// Files of secrets and certificates; no key.
    #[serde(skip)]
    pub(crate) watched_files: Vec<PathBuf>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))
}

/// What once chose who speaks HTTP/1.1.
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
