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

/// One Dify instance, as used by one app.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Instance")]
#[schemars(transform = object_schema::instance)]
pub(crate) struct RawInstance {
    /// Its name within the app, 1 to 64 characters of `A-Z a-z 0-9 . _ -`. The hash ring uses the
    /// name, so an instance keeps its users when its address changes.
    #[serde(default)]
    pub(crate) name: String,
    /// Host of Dify's API: a name or an IP address. Instead of `url`.
    pub(crate) host: Option<String>,
    /// The port at `host`; absent: 5001, where Dify's API listens.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 65535>")]
    #[schemars(schema_with = "value_schema::whole::<1, 65535>")]
    pub(crate) port: Option<u16>,
    /// Instead of `host` and `port`: `http://10.0.0.2:5001`, or `https://` and a name. A path,
    /// `http://10.0.0.2/dify`, is put before each path that is asked for there.
    pub(crate) url: Option<String>,
    /// Where clients get this instance's files (Dify's `FILES_URL`, as clients reach it): file
    /// links for AI clients begin with it. Absent: with the address at which the client reached the
    /// gateway, which gets each file from the instance that has it.
    #[serde(default, deserialize_with = "web_url")]
    #[schemars(schema_with = "value_schema::web_url")]
    pub(crate) files_url: Option<String>,
    /// TLS settings, if its `url` begins with `https://`.
    #[serde(default)]
    pub(crate) tls: InstanceTls,
    /// Address of its web app for people, such as `https://dify.example.org`: links to forms that a
    /// run waits for go there (`/form/…` below it). Absent: they go to the gateway, at the address
    /// the client used.
    #[serde(default, deserialize_with = "web_url")]
    #[schemars(schema_with = "value_schema::web_url")]
    pub(crate) web_url: Option<String>,
    /// The app's key in this Dify: the key itself, or `file:` and a path.
    #[schemars(schema_with = "value_schema::secret")]
    pub(crate) token: Option<Token>,
    /// A key of this Dify's knowledge API (`dataset-…`), written like `token`. It lets the app's
    /// clients read and change every dataset of its workspace. Either all instances of an app have
    /// one or none; without it the knowledge API is closed to its clients. A `token` that begins
    /// with `dataset-` counts as one.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::secret")]
    pub(crate) dataset_token: Option<Token>,
    /// Its share of users relative to the others.
    #[serde(default = "one", deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000>")]
    pub(crate) weight: u32,
    /// Failed requests within `fail_timeout` that take it out.
    #[serde(default = "three", deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000>")]
    pub(crate) max_fails: u32,
    /// Time in which failures count, and how long it then stays out.
    #[serde(default = "half_a_minute", with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub(crate) fail_timeout: Duration,
    /// Most connections to it, including idle ones and probes. A Dify API container serves 10
    /// (`SERVER_WORKER_CONNECTIONS`) and lets the next one hang: raise both or neither.
    #[serde(default = "ten", deserialize_with = "whole::<_, _, 1, 1_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 1_000_000>")]
    pub(crate) max_concurrent: u32,
    /// Most streamed chatflows and workflows in progress there; further ones wait in the gateway.
    /// From Dify 1.13 on they run in a worker with `CELERY_WORKER_AMOUNT` places (1 if empty):
    /// write the same number. Absent: no limit, and they wait in Dify.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 1_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 1_000_000>")]
    pub(crate) max_runs: Option<u32>,
    /// The queue for connections and for places of `max_runs`.
    #[serde(default)]
    pub(crate) queue: Queue,
    /// Active health check, if different from the app.
    #[serde(default)]
    pub(crate) probe: RawProbe,
    /// How long to ramp traffic back to it, if different from the app.
    #[serde(default, deserialize_with = "slow_start")]
    #[schemars(schema_with = "value_schema::duration_or_zero")]
    pub(crate) slow_start: Option<Duration>,
    /// Drain: it keeps its conversations and gets no new ones.
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

    /// Gives an instance an address whose own is not known, so that the rest can be looked at.
    pub(crate) fn stand_in(&mut self) {
        if self.address().is_none() {
            self.address = OnceCell::from(address::from_host("not-set.invalid", None).ok());
        }
        self.token.get_or_insert_with(|| Token::new("not-set"));
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
