//! The configuration as other rooms use it: plain values, every default filled in.
//!
//! Why two layers: an operator may leave out, share and override; a consumer wants one value. What
//! differs between the two stands in `written`; what is the same on both sides is defined once,
//! here. The doc comments of these fields are the descriptions in the JSON Schema.
//!
//! Limits of numbers are kept by the readers in `scalar`. Deliberately absent: options whose code
//! has not landed yet.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ai::Ai;
use super::bodies::{self, BodiesMemory};
use super::health::{self, Probe};
use super::kept::{Conversations, Store};
use super::keys::Key;
use super::policy::{OnDisconnect, OnOwnerDown, Retry, Storage};
use super::scalar::{self, age, duration, maybe_whole, networks, size, whole, write_size};
use super::schema;
use super::tls::{Certificate, ClientCertificates, InstanceTls};
use crate::model::{Address, AppName, InstanceName, Token};

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// A configuration that has been read and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The certificates that clients are shown; empty: they are spoken to in the clear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<Certificate>,
    /// What clients must show; `None`: nothing.
    pub client_certificates: Option<ClientCertificates>,
    /// The listener for those who run the gateway.
    pub admin: Admin,
    /// How many worker threads serve; `None` is one per core.
    pub workers: Option<usize>,
    /// Whether each worker is bound to a core.
    pub pin_cpus: bool,
    /// Where the record of each request goes.
    pub access_log: AccessLog,
    /// Proxies whose `X-Forwarded-For` is believed.
    #[serde(with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// What happens when every instance of an app is out.
    pub last_resort: LastResort,
    /// Whether answers say which instance gave them, as `X-Difygate-Instance`.
    pub instance_header: bool,
    /// Where large bodies are kept; `None` is the system's folder for temporary files.
    pub spool_dir: Option<PathBuf>,
    /// How long the gateway waits, and for what.
    pub timeouts: Timeouts,
    /// How much the gateway takes.
    pub limits: Limits,
    /// What is remembered of Dify's ids.
    pub owners: Owners,
    /// Where what must survive a restart is kept.
    pub store: Store,
    /// Keys that open several apps. No two have the same name or secret, and none has a user token.
    #[serde(skip)]
    pub keys: Vec<Key>,
    /// What is remembered of conversations with AI clients.
    pub conversations: Conversations,
    /// The apps in the order in which they are written. Never empty.
    #[serde(skip)]
    pub apps: IndexMap<AppName, Arc<App>>,
    /// What the error log holds, where the environment says it.
    #[serde(skip)]
    pub log_level: Option<&'static str>,
    /// Files beside the configuration that it is made of: of secrets and of certificates.
    #[serde(skip)]
    pub watched_files: Vec<PathBuf>,
}

/// One app: who may use it and who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct App {
    /// The tokens of its clients, each once; a token may stand in several apps. Empty only if one of
    /// `keys` opens the app.
    pub user_tokens: Vec<Token>,
    /// Whether its name is a model id: not where it was made up for a model whose name no app can
    /// have.
    #[serde(skip)]
    pub name_is_model: bool,
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
    #[serde(rename = "max_ejected_share", serialize_with = "health::write_percent")]
    pub max_ejected_percent: u32,
    /// What is tried again.
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

/// One Dify installation as one app uses it.
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
    /// The app's key in this installation.
    pub token: Token,
    /// A key of its knowledge API. All instances of an app have one, or none has.
    pub dataset_token: Option<Token>,
    /// Its share of users relative to the others, 1 to 10000.
    pub weight: u32,
    /// Failures within `fail_timeout` that take it out.
    pub max_fails: u32,
    /// How long it then stays out.
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
    /// Whether it keeps what it has and takes nothing new.
    pub drain: bool,
}

/// How requests are spread over instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Each user has an instance, found on a ring.
    #[default]
    ConsistentHash,
    /// Each user has an instance, found by highest random weight.
    Rendezvous,
    /// In turn, by weight; a user has no instance of their own.
    WeightedRoundRobin,
    /// The least busy; a user has no instance of their own.
    LeastConnections,
    /// Each client address has an instance, found on a ring.
    IpHash,
}

impl Method {
    /// As it is written.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::ConsistentHash => "consistent_hash",
            Self::Rendezvous => "rendezvous",
            Self::WeightedRoundRobin => "weighted_round_robin",
            Self::LeastConnections => "least_connections",
            Self::IpHash => "ip_hash",
        }
    }

    /// Whether the method has a ring with points.
    pub(super) fn has_ring(self) -> bool {
        matches!(self, Self::ConsistentHash | Self::IpHash)
    }

    /// Whether the method hashes, and so has an order of its own that `max_load` can move along.
    pub(super) fn hashes(self) -> bool {
        self.has_ring() || self == Self::Rendezvous
    }
}

/// How far above its fair share of the requests in flight an instance may be. Written as a number
/// from 1 to 100 or `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxLoad {
    /// As far as it comes.
    #[default]
    Off,
    /// A factor in thousandths.
    Thousandths(u32),
}

impl Serialize for MaxLoad {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Thousandths(factor) => serializer.serialize_f64(f64::from(*factor) / 1000.0),
        }
    }
}

/// The ring and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ConsistentHash {
    /// Points on the ring per unit of weight.
    pub virtual_nodes: u32,
    /// What places users and instances on the ring.
    pub hash_algorithm: HashAlgorithm,
}

impl Default for ConsistentHash {
    fn default() -> Self {
        Self { virtual_nodes: 160, hash_algorithm: HashAlgorithm::Sha256 }
    }
}

/// What places users and instances on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashAlgorithm {
    /// SHA-256, its first 64 bits.
    Sha256,
    /// XXH3 with 64 bits: faster, the same spread.
    Xxh3,
    /// SHA-1, its first 64 bits.
    Sha1,
    /// MD5, its first 64 bits.
    Md5,
    /// CRC-32: an uneven spread; for a ring that exists already.
    Crc32,
}

/// The listener for those who run the gateway. It answers loopback clients and those named here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    #[serde(deserialize_with = "scalar::listen")]
    #[schemars(schema_with = "schema::listen")]
    pub listen: SocketAddr,
    /// The secret that opens it to clients from anywhere, as `Authorization: Bearer …`.
    #[schemars(schema_with = "schema::secret")]
    pub token: Option<Token>,
    /// Networks and addresses whose clients need no token.
    #[serde(with = "networks")]
    #[schemars(schema_with = "schema::networks")]
    pub allow: Vec<IpNet>,
    /// Names by which operators without the token ask, such as `a.example` or `*.b.example`, beside
    /// addresses, `localhost`, names without a dot, `*.svc` and `*.cluster.local`. A web page can have any
    /// other name lead here.
    pub hosts: Vec<String>,
}

impl Default for Admin {
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090));
        Self { listen, token: None, allow: Vec::new(), hosts: Vec::new() }
    }
}

/// What happens when every instance of an app is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LastResort {
    /// They are tried anyway, in the order of the ring.
    #[default]
    Try,
    /// The client gets 503 with `Retry-After`.
    Refuse,
}

/// Where the record of each request goes. Written as `json`, `combined`, `off`, or a map of `path`
/// and `format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout(LogFormat),
    /// To a file, which is opened again after a rotation.
    File {
        /// The file; a relative path starts at the working directory.
        path: PathBuf,
        /// How a record looks.
        format: LogFormat,
    },
}

impl Default for AccessLog {
    fn default() -> Self {
        Self::Stdout(LogFormat::Json)
    }
}

/// How a record looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

/// How long the gateway waits, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection to an instance: name, TCP and, with https, TLS.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub connect: Duration,
    /// For the head of the answer to a GET or HEAD, before another instance is asked.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub first_byte_idempotent: Duration,
    /// For the head of any other answer.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub first_byte: Duration,
    /// For the head of an answer over all attempts, waiting for a connection included.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub all_attempts: Duration,
    /// For the next piece of an answer that has begun.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub idle: Duration,
    /// For the first event of a streamed chatflow or workflow that Dify has taken, which from 1.13 on
    /// waits for a worker. A ping is none.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub run_start: Duration,
    /// For the rest of a client's request head, from its first byte, and for a TLS handshake.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub header: Duration,
    /// For the next piece of a client's request body.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub body: Duration,
    /// For the client to take the next byte of its answer: one that takes none is treated as one that
    /// went away.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub write: Duration,
    /// For the next request on a client's connection.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte_idempotent: Duration::from_secs(3),
            first_byte: Duration::from_secs(1200),
            all_attempts: Duration::from_secs(1260),
            idle: Duration::from_secs(3600),
            run_start: Duration::from_secs(60),
            header: Duration::from_secs(10),
            body: Duration::from_secs(60),
            write: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
        }
    }
}

/// How much the gateway takes. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest request body; a larger one is refused with 413.
    #[serde(deserialize_with = "size::<_, _, 1, TIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "schema::size")]
    pub max_body: u64,
    /// How much of a body is kept in memory before it goes to `spool_dir`.
    #[serde(deserialize_with = "size::<_, _, 0, TIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "schema::size")]
    pub memory_body: u64,
    /// How much memory all request bodies that are being kept may take together: a share of the
    /// machine's memory (of the control group's limit, where that is less), or a size. What would
    /// exceed it is refused with 503 and `Retry-After`.
    #[serde(with = "bodies")]
    #[schemars(schema_with = "schema::size_or_share")]
    pub all_bodies_memory: BodiesMemory,
    /// The largest request head, from 8KiB (the least that the HTTP library works with) to 1MiB.
    #[serde(deserialize_with = "size::<_, _, 8192, MIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "schema::size")]
    pub header_bytes: usize,
    /// The most headers in a request.
    #[serde(deserialize_with = "whole::<_, _, 16, 4096>")]
    #[schemars(schema_with = "schema::whole::<16, 4096>")]
    pub headers: usize,
    /// The longest request target, from 256 bytes to 65534 (the most that the HTTP library holds).
    #[serde(deserialize_with = "size::<_, _, 256, 65534>", serialize_with = "write_size")]
    #[schemars(schema_with = "schema::size")]
    pub uri_bytes: usize,
    /// Requests at a time on one HTTP/2 connection.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "schema::whole::<1, 10_000>")]
    pub h2_streams: u32,
    /// Client connections at most; absent: what the limit of file descriptors allows.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 10_000_000>")]
    #[schemars(schema_with = "schema::whole::<1, 10_000_000>")]
    pub max_connections: Option<usize>,
    /// Connections of one client's address at once (of IPv6, of one /64); further ones get 429, or
    /// with `tls` are closed without a word. Absent: no limit. Trusted proxies have none.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 10_000_000>")]
    #[schemars(schema_with = "schema::whole::<1, 10_000_000>")]
    pub connections_per_address: Option<u32>,
    /// Connections that the system holds for each worker until it accepts them; the system may hold
    /// fewer (`net.core.somaxconn` of Linux).
    #[serde(deserialize_with = "whole::<_, _, 1, 65535>")]
    #[schemars(schema_with = "schema::whole::<1, 65535>")]
    pub backlog: u16,
    /// The least that a request's body must come with on average, in bytes per second, once
    /// `timeouts.body` is over: else 408. 0: no limit.
    #[serde(deserialize_with = "size::<_, _, 0, MIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "schema::size")]
    pub body_rate: u64,
    /// The least that a client must take of an answer on average, in bytes per second, while more is
    /// ready for it: one that takes less over `timeouts.write` is treated as one that went away. 0: no
    /// limit.
    #[serde(deserialize_with = "size::<_, _, 0, MIB>", serialize_with = "write_size")]
    #[schemars(schema_with = "schema::size")]
    pub min_answer_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 100 * MIB,
            memory_body: 256 << 10,
            all_bodies_memory: BodiesMemory::default(),
            header_bytes: 64 << 10,
            headers: 100,
            uri_bytes: 8 << 10,
            h2_streams: 128,
            max_connections: None,
            connections_per_address: None,
            backlog: 4096,
            body_rate: 512,
            min_answer_rate: 0,
        }
    }
}

/// What is remembered of Dify's ids: which instance owns which conversation, message, file, run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Owners {
    /// How many ids; the ones used longest ago give way. Each takes 16 bytes of memory once used.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000_000>")]
    #[schemars(schema_with = "schema::whole::<1, 100_000_000>")]
    pub max_entries: usize,
    /// How long after their last use.
    #[serde(with = "age")]
    #[schemars(schema_with = "schema::age")]
    pub max_age: Duration,
}

impl Default for Owners {
    fn default() -> Self {
        Self { max_entries: 1_000_000, max_age: Duration::from_secs(30 * 24 * 3600) }
    }
}

/// Who waits when all connections to an instance, or all places of `max_runs`, are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Requests that wait at most; 0 lets none wait.
    #[serde(deserialize_with = "whole::<_, _, 0, 1_000_000>")]
    #[schemars(schema_with = "schema::whole::<0, 1_000_000>")]
    pub size: u32,
    /// How long one waits for a connection before it is refused with 429.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Duration,
    /// How long a streamed flow waits for a place of `max_runs` before it is refused with 429.
    #[serde(with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub run_timeout: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { size: 100, timeout: Duration::from_secs(30), run_timeout: Duration::from_secs(300) }
    }
}

/// Whether two listeners would take the same port of the same interface.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = |address: SocketAddr| {
        address.ip() == Ipv4Addr::UNSPECIFIED || address.ip() == Ipv6Addr::UNSPECIFIED
    };
    let same_place = one.ip() == other.ip() || any(one) || any(other);
    one.port() != 0 && one.port() == other.port() && same_place
}
