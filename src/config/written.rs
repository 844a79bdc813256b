//! The configuration as an operator writes it, for serde and for the JSON Schema.
//!
//! Only what differs from `types` stands here: two spellings of `apps`, an address in two forms,
//! settings that an app takes over from the top. The doc comments are the schema's descriptions.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::ai::WrittenAi;
use super::health::{self, WrittenProbe};
use super::kept::{Conversations, Store};
use super::keys::WrittenKey;
use super::policy::{OnDisconnect, OnOwnerDown, Storage, WrittenRetry};
use super::scalar::{self, duration, max_load, maybe_whole, networks, whole};
use super::schema;
use super::tls::{Certificate, ClientCertificates, InstanceTls};
use super::types::{
    AccessLog, Admin, ConsistentHash, HashAlgorithm, LastResort, Limits, LogFormat, MaxLoad,
    Method, Owners, Queue, Timeouts,
};
use super::web_url::web_url;
use crate::model::{Address, Token};

/// The configuration of difygate: one program in front of several Dify instances. Any value may
/// name an environment variable, `${NAME}` or `${NAME:-default}`; keys at the top that begin with
/// `x-` are ignored and may hold anchors.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Configuration")]
#[schemars(transform = schema::finish)]
pub(super) struct Written {
    /// Where clients connect. Port 0 lets the system choose.
    #[serde(default = "default_listen", deserialize_with = "scalar::listen")]
    #[schemars(schema_with = "schema::listen")]
    pub(super) listen: SocketAddr,
    /// The certificates that clients are shown, the first where no other fits the name that they ask
    /// for. With them `listen` speaks TLS alone, HTTP/2 and HTTP/1.1; absent: HTTP/1.1 in the clear.
    #[serde(default)]
    pub(super) tls: Vec<Certificate>,
    /// Certificates that clients must show; absent: they need none.
    #[serde(default)]
    pub(super) client_certificates: Option<ClientCertificates>,
    /// The listener for those who run the gateway. It answers loopback clients and those named
    /// here.
    #[serde(default)]
    pub(super) admin: Admin,
    /// How many worker threads serve; absent: one per core.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 1024>")]
    #[schemars(schema_with = "schema::whole::<1, 1024>")]
    pub(super) workers: Option<usize>,
    /// Whether each worker is bound to a core.
    #[serde(default)]
    #[schemars(schema_with = "schema::boolean")]
    pub(super) pin_cpus: bool,
    /// Without effect since there is one engine for HTTP/1.1; the next release refuses it.
    #[serde(default)]
    pub(super) engine: Option<Engine>,
    /// Where the record of each request goes: `json` or `combined` on standard output, `off`, or
    /// a map of `path` and `format`.
    #[serde(default)]
    #[schemars(schema_with = "schema::access_log")]
    pub(super) access_log: AccessLog,
    /// Networks and addresses of proxies whose `X-Forwarded-For` is believed.
    #[serde(default, with = "networks")]
    #[schemars(schema_with = "schema::networks")]
    pub(super) trusted_proxies: Vec<IpNet>,
    /// What happens when every instance of an app is out: `try` them anyway, or `refuse` with 503.
    #[serde(default)]
    pub(super) last_resort: LastResort,
    /// Whether answers say which instance gave them, in the header `X-Difygate-Instance`.
    #[serde(default = "yes")]
    #[schemars(schema_with = "schema::boolean")]
    pub(super) instance_header: bool,
    /// Where bodies beyond `limits.memory_body` are kept; absent: the system's folder for
    /// temporary files.
    #[serde(default)]
    pub(super) spool_dir: Option<PathBuf>,
    /// How requests are spread over the instances of every app; absent: `consistent_hash`.
    #[serde(default)]
    pub(super) method: Method,
    /// How far above its fair share an instance of any app may be before requests that no id ties
    /// down pass it over: a factor from 1 to 100 or `off`; absent: `off`.
    #[serde(default, deserialize_with = "max_load")]
    #[schemars(schema_with = "schema::max_load")]
    pub(super) max_load: Option<MaxLoad>,
    /// The ring and its hash, for the methods that have one, for every app.
    #[serde(default)]
    pub(super) consistent_hash: WrittenHash,
    /// How every instance is asked whether it answers.
    #[serde(default)]
    pub(super) probe: WrittenProbe,
    /// Statuses from 500 to 599 that take an instance out for the app when `max_fails` answers in a
    /// row have them: one, a list, or `[]` for none; absent: 500, 502, 503 and 504.
    #[serde(default, deserialize_with = "health::fail_statuses")]
    #[schemars(schema_with = "schema::fail_statuses")]
    pub(super) fail_statuses: Option<Vec<u16>>,
    /// How many instances of an app failed requests may take out at a time, from `1%` to `100%`,
    /// and at least one; absent: `100%`.
    #[serde(default, deserialize_with = "health::percent")]
    #[schemars(schema_with = "schema::percent")]
    pub(super) max_ejected_share: Option<u32>,
    /// For how long users of an instance that came back go home little by little; absent: `0s`, all
    /// at once.
    #[serde(default, deserialize_with = "health::slow_start")]
    #[schemars(schema_with = "schema::duration_or_zero")]
    pub(super) slow_start: Option<Duration>,
    /// What is tried again.
    #[serde(default)]
    pub(super) retry: WrittenRetry,
    /// What becomes of a run whose client went away: `stop` it, `drain` it to its end, or `close`
    /// the connection; absent: `stop` for streamed runs, `drain` for blocking ones.
    #[serde(default)]
    pub(super) on_disconnect: Option<OnDisconnect>,
    /// What becomes of a request whose conversation, message, file or run is on an instance that is
    /// out; absent: `fail`.
    #[serde(default)]
    pub(super) on_owner_down: OnOwnerDown,
    /// Whether the instances of an app have databases of their own (`independent`) or `shared` ones;
    /// absent: `independent`.
    #[serde(default)]
    pub(super) storage: Storage,
    /// Whether a second turn of a conversation waits until the first has ended: Dify lets both run
    /// and mixes them up.
    #[serde(default)]
    #[schemars(schema_with = "schema::boolean")]
    pub(super) one_turn_at_a_time: bool,
    /// How every app is offered to OpenAI and Anthropic clients.
    #[serde(default, alias = "doors")]
    pub(super) ai: WrittenAi,
    /// How long the gateway waits, and for what.
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    /// How much the gateway takes.
    #[serde(default)]
    pub(super) limits: Limits,
    /// What is remembered of Dify's ids: which instance owns which conversation, message, file, run.
    #[serde(default)]
    pub(super) owners: Owners,
    /// Where what must survive a restart is kept: a map, or the URL of a Redis alone.
    #[serde(default)]
    #[schemars(schema_with = "schema::store")]
    pub(super) store: Store,
    /// Keys that open several apps.
    #[serde(default)]
    pub(super) keys: Vec<WrittenKey>,
    /// What is remembered of conversations with OpenAI and Anthropic clients. No text is kept.
    #[serde(default)]
    pub(super) conversations: Conversations,
    /// The apps by their names, which are 1 to 64 of `A-Z a-z 0-9 . _ -`. For OpenAI and
    /// Anthropic clients the name is the model.
    #[serde(default, alias = "applications")]
    #[schemars(with = "BTreeMap<String, WrittenApp>")]
    pub(super) apps: IndexMap<String, WrittenApp>,
    /// Files of secrets and certificates; no key.
    #[serde(skip)]
    pub(super) watched_files: Vec<PathBuf>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))
}

/// The ring and its hash. An app takes what it leaves out from the top.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "ConsistentHash")]
pub(super) struct WrittenHash {
    /// Points on the ring per unit of weight; absent: 160.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "schema::whole::<1, 10_000>")]
    pub(super) virtual_nodes: Option<u32>,
    /// What places users and instances on the ring; absent: `sha256`.
    pub(super) hash_algorithm: Option<HashAlgorithm>,
}

impl WrittenHash {
    /// Fills what is left out.
    pub(super) fn or(self, other: ConsistentHash) -> ConsistentHash {
        ConsistentHash {
            virtual_nodes: self.virtual_nodes.unwrap_or(other.virtual_nodes),
            hash_algorithm: self.hash_algorithm.unwrap_or(other.hash_algorithm),
        }
    }
}

/// One app: who may use it and who answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "App")]
#[schemars(transform = schema::app)]
pub(super) struct WrittenApp {
    /// The tokens of its clients, each `file:` and a path or the token itself. A token may stand
    /// in several apps. Needed unless one of `keys` opens the app.
    #[serde(default)]
    #[schemars(schema_with = "schema::secrets")]
    pub(super) user_tokens: Vec<Token>,
    /// More model ids beside its name, for clients that ask for a model of theirs.
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    /// How requests are spread over its instances, where it differs from the top.
    #[serde(default)]
    pub(super) method: Option<Method>,
    /// How far above its fair share an instance may be before requests that no id ties down pass
    /// it over, where it differs from the top.
    #[serde(default, deserialize_with = "max_load")]
    #[schemars(schema_with = "schema::max_load")]
    pub(super) max_load: Option<MaxLoad>,
    /// The ring and its hash, where they differ from the top.
    #[serde(default)]
    pub(super) consistent_hash: WrittenHash,
    /// How its instances are asked whether they answer, where it differs from the top.
    #[serde(default)]
    pub(super) probe: WrittenProbe,
    /// Statuses that take an instance out, where they differ from the top.
    #[serde(default, deserialize_with = "health::fail_statuses")]
    #[schemars(schema_with = "schema::fail_statuses")]
    pub(super) fail_statuses: Option<Vec<u16>>,
    /// How many of its instances failed requests may take out, where it differs from the top.
    #[serde(default, deserialize_with = "health::percent")]
    #[schemars(schema_with = "schema::percent")]
    pub(super) max_ejected_share: Option<u32>,
    /// For how long users go home little by little, where it differs from the top.
    #[serde(default, deserialize_with = "health::slow_start")]
    #[schemars(schema_with = "schema::duration_or_zero")]
    pub(super) slow_start: Option<Duration>,
    /// What is tried again, where it differs from the top.
    #[serde(default)]
    pub(super) retry: WrittenRetry,
    /// What becomes of a run whose client went away, where it differs from the top.
    #[serde(default)]
    pub(super) on_disconnect: Option<OnDisconnect>,
    /// What becomes of a request whose data is on an instance that is out, where it differs from the
    /// top.
    #[serde(default)]
    pub(super) on_owner_down: Option<OnOwnerDown>,
    /// Whether its instances have databases of their own, where it differs from the top.
    #[serde(default)]
    pub(super) storage: Option<Storage>,
    /// Whether a second turn of a conversation waits for the first, where it differs from the top.
    #[serde(default)]
    #[schemars(schema_with = "schema::boolean")]
    pub(super) one_turn_at_a_time: Option<bool>,
    /// How it is offered to OpenAI and Anthropic clients, where it differs from the top.
    #[serde(default, alias = "doors")]
    pub(super) ai: WrittenAi,
    /// The Dify installations that answer.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) instances: Vec<WrittenInstance>,
}

/// One Dify installation as one app uses it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Instance")]
#[schemars(transform = schema::instance)]
pub(super) struct WrittenInstance {
    /// Its name within the app, 1 to 64 of `A-Z a-z 0-9 . _ -`. The ring is keyed by it: with the
    /// same name and another address it keeps its users.
    #[serde(default)]
    pub(super) name: String,
    /// Where Dify's API listens: a name or an IP address. Needs no `url`.
    pub(super) host: Option<String>,
    /// The port at `host`; absent: 5001, where Dify's API listens.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 65535>")]
    #[schemars(schema_with = "schema::whole::<1, 65535>")]
    pub(super) port: Option<u16>,
    /// In place of `host` and `port`: `http://10.0.0.2:5001`, or `https://` and a name, without a path.
    pub(super) url: Option<String>,
    /// Where clients get this installation's files (Dify's `FILES_URL`, as they reach it): in answers to
    /// AI clients the addresses of files begin with it. Absent: with the address at which the client
    /// has reached the gateway, which gets each file from the instance that has it.
    #[serde(default, deserialize_with = "web_url")]
    #[schemars(schema_with = "schema::web_url")]
    pub(super) files_url: Option<String>,
    /// How TLS is spoken with it, if its `url` begins with `https://`.
    #[serde(default)]
    pub(super) tls: InstanceTls,
    /// Where people reach its web app, as `https://dify.example.org`: links of forms that a run waits
    /// for lead there (`/form/…` below it). Absent: they lead to the gateway, where the client found it.
    #[serde(default, deserialize_with = "web_url")]
    #[schemars(schema_with = "schema::web_url")]
    pub(super) web_url: Option<String>,
    /// The app's key in this installation: the key itself, or `file:` and a path.
    #[schemars(schema_with = "schema::secret")]
    pub(super) token: Option<Token>,
    /// A key of this installation's knowledge API (`dataset-…`), as `token` is written: with it the
    /// app's clients may read and change every dataset of its workspace. All instances of an app have
    /// one, or none has: then the knowledge API is not open to its clients. A `token` that begins with
    /// `dataset-` is one by itself.
    #[serde(default)]
    #[schemars(schema_with = "schema::secret")]
    pub(super) dataset_token: Option<Token>,
    /// Its share of users relative to the others.
    #[serde(default = "one", deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "schema::whole::<1, 10_000>")]
    pub(super) weight: u32,
    /// Failures within `fail_timeout` that take it out.
    #[serde(default = "three", deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "schema::whole::<1, 10_000>")]
    pub(super) max_fails: u32,
    /// How long it then stays out.
    #[serde(default = "half_a_minute", with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    pub(super) fail_timeout: Duration,
    /// Connections to it at most; idle ones and probes count. A Dify API container serves 10
    /// (`SERVER_WORKER_CONNECTIONS`) and lets the next one hang: raise both or neither.
    #[serde(default = "ten", deserialize_with = "whole::<_, _, 1, 1_000_000>")]
    #[schemars(schema_with = "schema::whole::<1, 1_000_000>")]
    pub(super) max_concurrent: u32,
    /// Streamed chatflows and workflows under way there at most; the others wait here. From Dify 1.13
    /// on they are done by a worker with `CELERY_WORKER_AMOUNT` places (1 where it is empty): write the
    /// same number. Absent: no limit here, and they wait in Dify.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 1_000_000>")]
    #[schemars(schema_with = "schema::whole::<1, 1_000_000>")]
    pub(super) max_runs: Option<u32>,
    /// Who waits when all connections, or all places of `max_runs`, are taken.
    #[serde(default)]
    pub(super) queue: Queue,
    /// How it is asked whether it answers, where it differs from the app.
    #[serde(default)]
    pub(super) probe: WrittenProbe,
    /// For how long its users go home little by little, where it differs from the app.
    #[serde(default, deserialize_with = "health::slow_start")]
    #[schemars(schema_with = "schema::duration_or_zero")]
    pub(super) slow_start: Option<Duration>,
    /// Whether it keeps what it has and takes nothing new.
    #[serde(default)]
    #[schemars(schema_with = "schema::boolean")]
    pub(super) drain: bool,
    /// What `host`, `port` and `url` come to, worked out once; no key.
    #[serde(skip)]
    pub(super) address: OnceCell<Option<Address>>,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn three() -> u32 {
    3
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn ten() -> u32 {
    10
}

/// An access log that goes to a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "AccessLogFile")]
pub(super) struct LogFile {
    /// The file; a relative path starts at the working directory.
    path: PathBuf,
    /// How a record looks.
    #[serde(default)]
    format: LogFormat,
}

struct AccessLogVisitor<'de>(PhantomData<&'de ()>);

impl<'de> Visitor<'de> for AccessLogVisitor<'de> {
    type Value = AccessLog;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`json`, `combined`, `off` or a map of `path` and `format`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AccessLog, E> {
        if text == "off" {
            return Ok(AccessLog::Off);
        }
        let word: StrDeserializer<'_, E> = text.into_deserializer();
        let format = LogFormat::deserialize(word)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Other("text"), &self))?;
        Ok(AccessLog::Stdout(format))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AccessLog, A::Error> {
        let LogFile { path, format } = LogFile::deserialize(MapAccessDeserializer::new(map))?;
        Ok(AccessLog::File { path, format })
    }
}

impl<'de> Deserialize<'de> for AccessLog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AccessLogVisitor(PhantomData))
    }
}

impl Serialize for AccessLog {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Stdout(format) => format.serialize(serializer),
            Self::File { path, format } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("path", path)?;
                map.serialize_entry("format", format)?;
                map.end()
            }
        }
    }
}

/// What once chose who speaks HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Engine {
    /// The gateway's own.
    Own,
    /// The library hyper.
    Hyper,
}
