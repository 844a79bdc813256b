//! The configuration as other rooms use it: plain values, every default filled in.
//!
//! Why two layers: an operator may leave out, share and override; a consumer wants one value. What
//! differs between the two stands in `raw`; what is the same on both sides is defined once, in
//! `limits`, `admin`, `tls` and the like, or in `model` if other rooms use it as it is written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use ipnet::IpNet;
use serde::Serialize;

use super::access_log::AccessLog;
use super::admin::Admin;
use super::ai::Ai;
use super::balancing::{ConsistentHash, MaxLoad, Method};
use super::error_log::ErrorLog;
use super::ingress::Ingress;
use super::keys::Key;
use super::limits::{Limits, Owners};
use super::listen::Listen;
use super::probe::Probe;
use super::retry::Retry;
use super::service_route::ServiceRoute;
use super::store::{Conversations, Store};
use super::tls::{Certificate, ClientCertificates, InstanceTls};
use crate::model::units::{self, duration, networks};
use crate::model::{
    Address, AppName, InstanceName, LastResort, OnDisconnect, OnOwnerDown, Queue, Storage,
    Timeouts, Token,
};

/// A configuration that has been read and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// The certificates that clients are shown; empty: they are spoken to in the clear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<Certificate>,
    /// What clients must show; `None`: nothing.
    pub client_certificates: Option<ClientCertificates>,
    /// The listener for those who run the gateway.
    pub admin: Admin,
    /// How many worker threads serve; `None` is one per core.
    pub workers: Option<usize>,
    /// Pin each worker to a core.
    pub pin_cpus: bool,
    /// Where the record of each request goes.
    pub access_log: AccessLog,
    /// Where what goes wrong is told.
    pub error_log: ErrorLog,
    /// Proxies whose `X-Forwarded-For` is believed.
    #[serde(with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// What happens when every instance of an app is out.
    pub last_resort: LastResort,
    /// Whether answers say which instance gave them, as `X-Difygate-Instance`.
    pub instance_header: bool,
    /// Where large bodies are kept; `None` is the system's folder for temporary files.
    pub spool_dir: Option<PathBuf>,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Limits.
    pub limits: Limits,
    /// What is remembered of Dify's ids.
    pub owners: Owners,
    /// Persistent storage.
    pub store: Store,
    /// Client keys that open several apps. No two have the same name or secret, and none has a user token.
    #[serde(skip)]
    pub keys: Vec<Key>,
    /// What is remembered of conversations with AI clients.
    pub conversations: Conversations,
    /// Requests to services.
    pub ingress: Ingress,
    /// What requests are passed to that belong to no app, Dify's own services first.
    #[serde(skip)]
    pub services: IndexMap<AppName, Arc<Service>>,
    /// The apps in the order in which they are written. Empty only if there are services.
    #[serde(skip)]
    pub apps: IndexMap<AppName, Arc<App>>,
    /// What the error log holds, where the environment says it.
    #[serde(skip)]
    pub log_level: Option<&'static str>,
    /// What the default folder of the store is called, if not as usual: several processes may run in one folder.
    #[serde(skip)]
    pub state_name: Option<String>,
    /// Files beside the configuration that it is made of: of secrets and of certificates.
    #[serde(skip)]
    pub watched_files: Vec<PathBuf>,
}

impl Config {
    /// The instances of all apps and then of all services; one that is of several comes as often.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        let of_services = self.services.values().flat_map(|service| &service.instances);
        self.apps.values().flat_map(|app| &app.instances).chain(of_services)
    }
}

/// One app: its clients and its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct App {
    /// The tokens of its clients, each once; a token may stand in several apps. Empty only if one of
    /// `keys` opens the app.
    pub user_tokens: Vec<Token>,
    /// Whether its name is a model id: not where it was made up for a model whose name no app can
    /// have.
    #[serde(skip)]
    pub name_is_model: bool,
    /// Whether its model id is what Dify calls it, which is asked there.
    #[serde(skip)]
    pub named_by_dify: bool,
    /// More model ids beside its name. No two apps have the same.
    pub aliases: Vec<String>,
    /// How requests are spread over the instances.
    pub method: Method,
    /// How far above its fair share an instance may be.
    pub max_load: MaxLoad,
    /// The ring and its hash, for the methods that have one.
    pub consistent_hash: ConsistentHash,
    /// Statuses of answers, from 500 to 599, that count against an instance.
    pub fail_statuses: Vec<u16>,
    /// How many of the instances passive judgement may take out at a time, in percent.
    #[serde(rename = "max_ejected_share", serialize_with = "units::write_percent")]
    pub max_ejected_percent: u32,
    /// Retries.
    pub retry: Retry,
    /// What becomes of a run whose client went away.
    pub on_disconnect: Option<OnDisconnect>,
    /// What becomes of a request whose data is on an instance that is out.
    pub on_owner_down: OnOwnerDown,
    /// Whether the instances share their database.
    pub storage: Storage,
    /// Whether a conversation's second turn waits for the first.
    pub one_turn_at_a_time: bool,
    /// How OpenAI and Anthropic clients see it.
    pub ai: Ai,
    /// Who answers. Never empty, names differ.
    #[serde(skip)]
    pub instances: Vec<Instance>,
}

/// A pool of instances that can stand in for each other, and the requests that it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// The requests that it gets. Empty only if all of them were given to another service.
    pub routes: Vec<ServiceRoute>,
    /// How requests are spread.
    pub method: Method,
    /// Retries.
    pub retry: Retry,
    /// Who answers. Never empty, names differ. Their `token` is empty: nothing is sent for it.
    #[serde(skip)]
    pub instances: Vec<Instance>,
}

/// One Dify instance, as used by one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Its name within the app; the ring is keyed by it.
    pub name: InstanceName,
    /// Where it listens.
    #[serde(rename = "url")]
    pub address: Address,
    /// How TLS is spoken with it, if its address says so.
    pub tls: InstanceTls,
    /// Where people reach its web app, without a slash at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
    /// What addresses of its files begin with in answers to AI clients, without a slash at the end; none:
    /// the gateway's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_url: Option<String>,
    /// The app's key in this installation. Empty for an instance of a service, which has none.
    pub token: Token,
    /// A key of its knowledge API. All instances of an app have one, or none has.
    pub dataset_token: Option<Token>,
    /// Its share of users relative to the others, 1 to 10000.
    pub weight: u32,
    /// Failed requests within `fail_timeout` that take it out.
    pub max_fails: u32,
    /// Time in which failures count, and how long it then stays out.
    #[serde(with = "duration")]
    pub fail_timeout: Duration,
    /// Connections to it at most, idle ones counted.
    pub max_concurrent: u32,
    /// Streamed chatflows and workflows under way there at most; none: no limit.
    pub max_runs: Option<u32>,
    /// Who waits when all connections are taken.
    pub queue: Queue,
    /// How it is asked whether it answers.
    pub probe: Arc<Probe>,
    /// For how long its users come home little by little after it came back; zero: all at once.
    #[serde(with = "duration")]
    pub slow_start: Duration,
    /// Drain: it keeps its conversations and gets no new ones.
    pub drain: bool,
}
