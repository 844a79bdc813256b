//! Services as an operator writes them: pools of instances of any HTTP server, and their routes.

use std::cell::OnceCell;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::object_schema;
use super::probe::RawProbe;
use super::retry::RawRetry;
use crate::config::address;
use crate::config::balancing::Method;
use crate::config::tls::InstanceTls;
use crate::model::Address;
use crate::model::units::{maybe_whole, whole};
use crate::model::value_schema;

/// The key of `services` that is no service.
pub(crate) const DIFY: &str = "dify";

/// Services by their names, and whether Dify's own are among them.
#[derive(Debug, Default)]
pub(crate) struct RawServices {
    pub(crate) dify: Option<DifyServices>,
    pub(crate) named: IndexMap<String, RawService>,
}

/// Where the services of a Dify come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DifyServices {
    /// The names, ports and paths of Dify's `docker-compose.yaml`.
    Compose,
}

/// A pool of instances that can stand in for each other, and the paths that lead to it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Service")]
pub(crate) struct RawService {
    /// The servers, of which any can answer any request: they share their database and files.
    /// Absent: with `dify: compose` the one of that name, else required.
    #[serde(default)]
    pub(crate) instances: Option<Vec<RawServiceInstance>>,
    /// The requests that it gets. Absent: with `dify: compose` those of Dify, else required.
    #[serde(default)]
    pub(crate) routes: Option<Vec<RawRoute>>,
    /// Load balancing method: `least_connections`, `weighted_round_robin` or `ip_hash`; absent:
    /// `least_connections`, for `api_websocket` of `dify: compose` `ip_hash`.
    #[serde(default)]
    pub(crate) method: Option<Method>,
    /// Active health checks. Times and counts are inherited from the top. Absent: any HTTP response
    /// below 500 at `/` is a success, and for `api` of `dify: compose` what `dify` says at `/v1/`.
    #[serde(default)]
    pub(crate) probe: RawProbe,
    /// Retries, if different from the top.
    #[serde(default)]
    pub(crate) retry: RawRetry,
}

/// One server of a service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "ServiceInstance")]
#[schemars(transform = object_schema::service_instance)]
pub(crate) struct RawServiceInstance {
    /// Its name within the service, 1 to 64 characters of `A-Z a-z 0-9 . _ -`; absent: the
    /// service's, with a number if there are several.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// A host name or an IP address, with `port`. Instead of `url`.
    #[serde(default)]
    pub(crate) host: Option<String>,
    /// The port at `host`.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 65535>")]
    #[schemars(schema_with = "value_schema::whole::<1, 65535>")]
    pub(crate) port: Option<u16>,
    /// Instead of `host` and `port`: `http://10.0.0.2:3000`, or `https://` and a name.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// TLS settings, if its `url` begins with `https://`.
    #[serde(default)]
    pub(crate) tls: InstanceTls,
    /// Its share of requests relative to the others.
    #[serde(default = "one", deserialize_with = "whole::<_, _, 1, 10_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 10_000>")]
    pub(crate) weight: u32,
    /// Most connections to it, including idle ones and probes; absent: what an app says of the same
    /// address, else 10 for the `api` of `dify: compose` and 256 for others.
    #[serde(default, deserialize_with = "maybe_whole::<_, _, 1, 1_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 1_000_000>")]
    pub(crate) max_concurrent: Option<u32>,
    /// Drain: it gets no new requests while another instance can answer.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) drain: bool,
    /// What `host`, `port` and `url` come to, worked out once; no key.
    #[serde(skip)]
    pub(crate) address: OnceCell<Option<Address>>,
}

/// Requests that go to a service. The longest prefix decides; routes with `hosts`, then those with
/// `methods`, come before others of the same prefix.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "ServiceRoute")]
#[schemars(transform = object_schema::service_route)]
pub(crate) struct RawRoute {
    /// The beginning of the path, in whole segments: `/api` is `/api` and what is below it, `/e/` is
    /// only what is below `/e`, `/` is everything.
    pub(crate) prefix: String,
    /// Host names that clients ask for, without a port; `*.example.com` is every name below it.
    /// Absent: any.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// HTTP methods; absent: any.
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    /// Tell the service the URL that the client asked for, as `Dify-Hook-Url`; Dify's plugin daemon
    /// needs it. A header of this name that a client sends is never passed on.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) dify_hook_url: bool,
}

impl RawServiceInstance {
    /// Its address, if it is a good one.
    pub(crate) fn address(&self) -> Option<&Address> {
        let read = || match (&self.host, &self.url) {
            (Some(host), None) => address::from_host(host, Some(self.port?)).ok(),
            (None, Some(url)) if self.port.is_none() => address::from_url(url).ok(),
            _ => None,
        };
        self.address.get_or_init(read).as_ref()
    }

    /// Gives an instance an address whose own is not known, so that the rest can be looked at.
    fn stand_in(&mut self) {
        if self.address().is_none() {
            self.address = OnceCell::from(address::from_host("not-set.invalid", None).ok());
        }
    }
}

impl RawServices {
    /// All instances that are written.
    pub(crate) fn instances_mut(&mut self) -> impl Iterator<Item = &mut RawServiceInstance> {
        self.named.values_mut().filter_map(|service| service.instances.as_mut()).flatten()
    }

    /// Addresses in place of those that are not known.
    pub(crate) fn stand_in(&mut self) {
        self.instances_mut().for_each(RawServiceInstance::stand_in);
    }
}

struct ServicesVisitor;

impl<'de> Visitor<'de> for ServicesVisitor {
    type Value = RawServices;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of services by their names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawServices, A::Error> {
        let mut services = RawServices::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == DIFY {
                services.dify = Some(map.next_value()?);
            } else {
                services.named.insert(name, map.next_value()?);
            }
        }
        Ok(services)
    }
}

impl<'de> Deserialize<'de> for RawServices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ServicesVisitor)
    }
}

/// A service, or `compose` for the key `dify`.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let service = generator.subschema_for::<RawService>();
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z0-9._-]{1,64}$" },
        "additionalProperties": { "anyOf": [{ "enum": ["compose"] }, service] },
    })
}

fn one() -> u32 {
    1
}
