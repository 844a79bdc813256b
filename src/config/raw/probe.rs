//! A probe as an operator writes it. An instance takes what it leaves out from its app, and the app
//! from the top, key by key.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};

use super::statuses::expect;
use crate::config::probe::{Probe, ProbeMethod, write_expect};
use crate::model::units::{duration, from_text, maybe_whole};
use crate::model::value_schema;
use crate::model::{ProbeExpect, Token};

/// Active health check of an instance. An instance inherits what it leaves out from its app, and
/// the app from the top.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Probe")]
pub(crate) struct RawProbe {
    /// Whether to probe; absent: `true`.
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) enabled: Option<bool>,
    /// Path of the probe; absent: `/v1/`, which Dify answers without a key and without its
    /// database.
    #[serde(deserialize_with = "path")]
    #[schemars(schema_with = "value_schema::path")]
    pub(crate) path: Option<String>,
    /// HTTP method of the probe; absent: `GET`.
    pub(crate) method: Option<ProbeMethod>,
    /// Headers to send, by name; they replace inherited ones. A value may be `file:` and a path.
    #[schemars(schema_with = "value_schema::headers")]
    pub(crate) headers: Option<IndexMap<String, Token>>,
    /// Send the app's key, for a deeper check such as `path: /v1/info`, which needs Dify's
    /// database; absent: `false`.
    #[schemars(schema_with = "value_schema::boolean")]
    pub(crate) with_key: Option<bool>,
    /// Time between probes, less 5 to 15 % of jitter; absent: `1s`.
    #[serde(deserialize_with = "maybe_duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub(crate) interval: Option<Duration>,
    /// Time between probes while the instance is out or has failed one; absent: `250ms`.
    #[serde(deserialize_with = "maybe_duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub(crate) fast_interval: Option<Duration>,
    /// Time for the whole probe; absent: `500ms`.
    #[serde(deserialize_with = "maybe_duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub(crate) timeout: Option<Duration>,
    /// Successes in a row that bring an instance back; absent: 1.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 100>")]
    #[schemars(schema_with = "value_schema::whole::<1, 100>")]
    pub(crate) rise: Option<u32>,
    /// Failures in a row that take it out; absent: 2.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 100>")]
    #[schemars(schema_with = "value_schema::whole::<1, 100>")]
    pub(crate) fall: Option<u32>,
    /// What counts as success: `dify` for any version of Dify, or statuses such as `200` or
    /// `200-399`, or a list of them; absent: `dify` at `/v1/`, else `200-399`.
    #[serde(deserialize_with = "expect", serialize_with = "write_maybe_expect")]
    #[schemars(schema_with = "value_schema::probe_expect")]
    pub(crate) expect: Option<ProbeExpect>,
    /// Text required in the first 64KiB of the response; absent or empty: none.
    pub(crate) expect_body: Option<String>,
}

impl RawProbe {
    /// Fills what is left out; where all of it is, the one above is shared.
    pub(crate) fn or(self, above: &Arc<Probe>) -> Arc<Probe> {
        if self == Self::default() {
            return Arc::clone(above);
        }
        let above = Probe::clone(above);
        let path = self.path.unwrap_or(above.path);
        let written_expect = self.expect.or(above.written_expect);
        Arc::new(Probe {
            enabled: self.enabled.unwrap_or(above.enabled),
            method: self.method.unwrap_or(above.method),
            headers: self.headers.unwrap_or(above.headers),
            with_key: self.with_key.unwrap_or(above.with_key),
            interval: self.interval.unwrap_or(above.interval),
            fast_interval: self.fast_interval.unwrap_or(above.fast_interval),
            timeout: self.timeout.unwrap_or(above.timeout),
            rise: self.rise.unwrap_or(above.rise),
            fall: self.fall.unwrap_or(above.fall),
            expect: written_expect.clone().unwrap_or_else(|| ProbeExpect::at(&path)),
            written_expect,
            path,
            expect_body: match self.expect_body {
                Some(text) if text.is_empty() => None,
                written => written.or(above.expect_body),
            },
        })
    }
}

fn maybe_duration<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(de).map(Some)
}

fn path<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    from_text(de, |text| {
        let fits = text.starts_with('/') && text.len() <= 2048;
        match text.parse::<PathAndQuery>() {
            Ok(_) if fits => Ok(Some(text.to_owned())),
            _ => Err("must be a path such as `/v1/`".to_owned()),
        }
    })
}

fn write_maybe_expect<S: Serializer>(
    expect: &Option<ProbeExpect>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match expect {
        Some(expect) => write_expect(expect, to),
        None => to.serialize_none(),
    }
}
