//! Where what must survive a restart is kept, as an operator writes it: a map, or a URL alone.

use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::json;

use crate::config::store::Store;
use crate::model::Token;
use crate::model::value_schema::{self, REFERENCE};

/// Where what must survive a restart is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Store")]
pub(crate) struct RawStore {
    /// The folder; it is created if missing. A relative path starts at the configuration's folder.
    /// Absent: the first of `$STATE_DIRECTORY`, which systemd sets, else `difygate-data` beside the
    /// configuration. If it cannot be written, everything is kept in memory, and the status says
    /// so.
    path: Option<PathBuf>,
    /// A Redis for the conversations of OpenAI and Anthropic clients, which several gateways then
    /// share: `redis://user:password@host:6379/0`, or `file:` and a path. Without TLS. As durable as
    /// that Redis: with `appendfsync always` nothing is lost. Owners of ids stay in the folder.
    #[schemars(schema_with = "value_schema::secret")]
    redis: Option<Token>,
}

struct StoreVisitor;

impl<'de> Visitor<'de> for StoreVisitor {
    type Value = Store;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`redis://host:6379` or a map of `path` and `redis`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Store, E> {
        Ok(Store { path: None, redis: Some(Token::new(text)) })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Store, A::Error> {
        let RawStore { path, redis } = RawStore::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Store { path, redis })
    }
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StoreVisitor)
    }
}

/// The URL of a Redis alone, or the map.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let map = generator.subschema_for::<RawStore>();
    let pattern = format!("^redis://|{REFERENCE}");
    // It may hold a password.
    let url = json!({ "type": "string", "pattern": pattern, "format": "password" });
    json_schema!({ "anyOf": [url, map] })
}
