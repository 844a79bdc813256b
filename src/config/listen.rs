//! Where clients connect: one address or several, each with TLS or without.

use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::model::units;
use crate::model::{TlsMode, value_schema};

/// Where clients connect. A checked configuration has at least one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(Vec<Listener>);

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// An address of this machine. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: TlsMode,
}

impl Listen {
    const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

    /// All of them, in the order in which they are written.
    pub fn listeners(&self) -> &[Listener] {
        &self.0
    }

    /// The first address: the one that a client on this machine is told.
    pub fn first(&self) -> SocketAddr {
        self.0.first().map_or(Self::DEFAULT, |listener| listener.address)
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self::DEFAULT.into()
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self(vec![address.into()])
    }
}

impl From<SocketAddr> for Listener {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: TlsMode::Auto }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = match self.tls {
            TlsMode::Auto => "",
            TlsMode::On => " with TLS",
            TlsMode::Off => " without TLS",
        };
        write!(f, "{}{tls}", self.address)
    }
}

impl fmt::Display for Listen {
    /// The addresses with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, listener) in self.0.iter().enumerate() {
            write!(f, "{}{listener}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Serialize for Listen {
    /// As one writes it; for `difygate plan` too, which shows it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [Listener { address, tls: TlsMode::Auto }] => serializer.collect_str(address),
            several => serializer.collect_seq(several.iter().map(ToString::to_string)),
        }
    }
}

/// An address to listen on, with TLS or without.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Listener")]
struct RawListener {
    /// Where clients connect. Port 0 lets the system choose.
    #[serde(deserialize_with = "units::listen")]
    #[schemars(schema_with = "value_schema::listen")]
    address: SocketAddr,
    /// Whether to accept TLS only, by the certificates of `tls`, or no TLS; absent: TLS if there are
    /// certificates.
    #[serde(default)]
    #[schemars(schema_with = "value_schema::boolean")]
    tls: Option<bool>,
}

struct ListenerVisitor<'de>(PhantomData<&'de ()>);

impl<'de> Visitor<'de> for ListenerVisitor<'de> {
    type Value = Listener;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address with a port, or a map of `address` and `tls`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Listener, E> {
        units::listen(text.into_deserializer()).map(Listener::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listener, A::Error> {
        let written = RawListener::deserialize(MapAccessDeserializer::new(map))?;
        let tls = match written.tls {
            None => TlsMode::Auto,
            Some(true) => TlsMode::On,
            Some(false) => TlsMode::Off,
        };
        Ok(Listener { address: written.address, tls })
    }
}

impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListenerVisitor(PhantomData))
    }
}

struct ListenVisitor<'de>(PhantomData<&'de ()>);

impl<'de> Visitor<'de> for ListenVisitor<'de> {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address with a port, or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Listen, E> {
        units::listen(text.into_deserializer()).map(|address: SocketAddr| address.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listen, A::Error> {
        ListenerVisitor(PhantomData).visit_map(map).map(|listener| Listen(vec![listener]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Listen, A::Error> {
        let mut all = Vec::new();
        while let Some(listener) = items.next_element()? {
            all.push(listener);
        }
        Ok(Listen(all))
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListenVisitor(PhantomData))
    }
}

/// An address, or a list of addresses and maps.
pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let address = value_schema::listen(generator);
    let map = generator.subschema_for::<RawListener>();
    let items = json_schema!({ "anyOf": [address.clone(), map] });
    json_schema!({ "anyOf": [address, { "type": "array", "minItems": 1, "items": items }] })
}
