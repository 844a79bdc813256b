//! Where the record of each request goes.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

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
        /// The file; a relative path starts at the configuration's folder.
        path: PathBuf,
        /// Format of a line.
        format: LogFormat,
    },
}

impl Default for AccessLog {
    fn default() -> Self {
        Self::Stdout(LogFormat::Json)
    }
}

/// Format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

/// An access log in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "AccessLogFile")]
pub(super) struct LogFile {
    /// The file; a relative path starts at the configuration's folder.
    path: PathBuf,
    /// Format of a line.
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

/// One of the short forms, or the map.
pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let file = generator.subschema_for::<LogFile>();
    json_schema!({ "anyOf": [{ "enum": ["json", "combined", "off"] }, file] })
}
