//! An instance as an operator writes it, with its address in two forms.

use std::cell::OnceCell;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::object_schema;
use super::probe::RawProbe;
use crate::config::address;
use crate::config::tls::InstanceTls;
use crate::config::web_url::web_url;
use crate::model::units::{duration, maybe_whole, slow_start, whole};
use crate::model::value_schema;
use crate::model::{Address, Queue, Token};

/// One Dify installation as one app uses it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Instance")]
#[schemars(transform = object_schema::instance)]
pub(crate) struct RawInstance {
    /// Its name within the app, 1 to 64 of `A-Z a-z 0-9 . _ -`. The ring is keyed by it: with the
    /// same name and another address it keeps its users.
    #[serde(default)]
    pub(crate) name: String,
    /// Where Dify's API listens: a name or an IP address. Needs no `url`.
    pub(crate) host: Option<String>,
    /// The port at `host`; absent: 5001, where Dify's API listens.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 65535>")]
    #[schemars(schema_with = "value_schema::whole::<1, 65535>")]
    pub(crate) port: Option<u16>,
    /// In place of `host` and `port`: `http://10.0.0.2:5001`, or `https://` and a name, without a path.
    pub(crate) url: Option<String>,
    /// Where clients get this installation's files (Dify's `FILES_URL`, as they reach it): in answers to
    /// AI clients the addresses of files begin with it. Absent: with the address at which the client
    /// has reached the gateway, which gets each file from the instance that has it.
    #[serde(default, deserialize_with = "web_url")]
    #[schemars(schema_with = "value_schema::web_url")]
    pub(crate) files_url: Option<String>,
    /// How TLS is spoken with it, if its `url` begins with `https://`.
    #[serde(default)]
    pub(crate) tls: InstanceTls,
    /// Where people reach its web app, as `https://dify.example.org`: links of forms that a run waits
    /// for lead there (`/form/…` below it). Absent: they lead to the gateway, where the client found it.
    #[serde(default, deserialize_with = "web_url")]
    #[schemars(schema_with = "value_schema::web_url")]
    pub(crate) web_url: Option<String>,
    /// The app's key in this installation: the key itself, or `file:` and a path.
    #[schemars(schema_with = "value_schema::secret")]
    pub(crate) token: Option<Token>,
    /// A key of this installation's knowledge API (`dataset-…`), as `token` is written: with it the
    /// app's clients may read and change every dataset of its workspace. All instances of an app have
    /// one, or none has: then the knowledge API is not open to its clients. A `token` that begins with
    /// `dataset-` is one by itself.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::secret")]
    pub(crate) dataset_token: Option<Token>,
    /// Its share of users relative to the others.
    #[serde(default = "one", deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000>")]
    pub(crate) weight: u32,
    /// Failures within `fail_timeout` that take it out.
    #[serde(default = "three", deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000>")]
    pub(crate) max_fails: u32,
    /// How long it then stays out.
    #[serde(default = "half_a_minute", with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub(crate) fail_timeout: Duration,
    /// Connections to it at most; idle ones and probes count. A Dify API container serves 10
    /// (`SERVER_WORKER_CONNECTIONS`) and lets the next one hang: raise both or neither.
    #[serde(default = "ten", deserialize_with = "whole::<_, _, 1, 1_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 1_000_000>")]
    pub(crate) max_concurrent: u32,
    /// Streamed chatflows and workflows under way there at most; the others wait here. From Dify 1.13
    /// on they are done by a worker with `CELERY_WORKER_AMOUNT` places (1 where it is empty): write the
    /// same number. Absent: no limit here, and they wait in Dify.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 1_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 1_000_000>")]
    pub(crate) max_runs: Option<u32>,
    /// Who waits when all connections, or all places of `max_runs`, are taken.
    #[serde(default)]
    pub(crate) queue: Queue,
    /// How it is asked whether it answers, where it differs from the app.
    #[serde(default)]
    pub(crate) probe: RawProbe,
    /// For how long its users go home little by little, where it differs from the app.
    #[serde(default, deserialize_with = "slow_start")]
    #[schemars(schema_with = "value_schema::duration_or_zero")]
    pub(crate) slow_start: Option<Duration>,
    /// Whether it keeps what it has and takes nothing new.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) drain: bool,
    /// What `host`, `port` and `url` come to, worked out once; no key.
    #[serde(skip)]
    pub(crate) address: OnceCell<Option<Address>>,
}

impl RawInstance {
    /// Its address, if it is a good one.
    pub(crate) fn address(&self) -> Option<&Address> {
        let read = || match (&self.host, &self.url) {
            (Some(host), None) => address::from_host(host, self.port).ok(),
            (None, Some(url)) if self.port.is_none() => address::from_url(url).ok(),
            _ => None,
        };
        self.address.get_or_init(read).as_ref()
    }
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
