//! Where the error log goes.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// Where the error log goes, written as `stderr` or a map of `path`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ErrorLog {
    /// To standard error.
    #[default]
    Stderr,
    /// To a file, which is opened again after a rotation. A relative path has been made to start at the
    /// configuration's folder.
    File(PathBuf),
}

/// An error log in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "ErrorLogFile")]
struct LogFile {
    /// The file; a relative path starts at the configuration's folder.
    path: PathBuf,
}

struct ErrorLogVisitor<'de>(PhantomData<&'de ()>);

impl<'de> Visitor<'de> for ErrorLogVisitor<'de> {
    type Value = ErrorLog;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`stderr` or a map of `path`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ErrorLog, E> {
        match text {
            "stderr" => Ok(ErrorLog::Stderr),
            _ => Err(E::invalid_value(serde::de::Unexpected::Other("text"), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ErrorLog, A::Error> {
        LogFile::deserialize(MapAccessDeserializer::new(map)).map(|log| ErrorLog::File(log.path))
    }
}

impl<'de> Deserialize<'de> for ErrorLog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ErrorLogVisitor(PhantomData))
    }
}

impl Serialize for ErrorLog {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stderr => serializer.serialize_str("stderr"),
            Self::File(path) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("path", path)?;
                map.end()
            }
        }
    }
}

/// The word, or the map.
pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let file = generator.subschema_for::<LogFile>();
    json_schema!({ "anyOf": [{ "enum": ["stderr"] }, file] })
}
