//! How instances are judged, as an operator writes it: probes, statuses that count, slow start.
//!
//! An instance takes what it leaves out from its app, and the app from the top, key by key.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::scalar::{duration, from_text, maybe_whole, parse_duration};
use super::schema;
use crate::model::{ProbeExpect, Token};

/// How an instance is asked whether it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Whether it is asked at all.
    pub enabled: bool,
    /// What is asked for; begins with `/`.
    pub path: String,
    /// How.
    pub method: ProbeMethod,
    /// Sent with it. Names and values are fit for a request.
    pub headers: IndexMap<String, Token>,
    /// Whether the app's key is sent with it.
    pub with_key: bool,
    /// From one probe to the next.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// The same while the instance is out, or on its way out.
    #[serde(with = "duration")]
    pub fast_interval: Duration,
    /// For the whole of a probe.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Good ones in a row that bring an instance back.
    pub rise: u32,
    /// Bad ones in a row that take it out.
    pub fall: u32,
    /// What a good answer is.
    #[serde(serialize_with = "write_expect")]
    pub expect: ProbeExpect,
    /// `expect` as it is written here or above; else it follows from the path.
    #[serde(skip)]
    pub(super) written_expect: Option<ProbeExpect>,
    /// What a good answer holds.
    pub expect_body: Option<String>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            enabled: true,
            path: ProbeExpect::DIFY_PATH.to_owned(),
            method: ProbeMethod::Get,
            headers: IndexMap::new(),
            with_key: false,
            interval: Duration::from_secs(1),
            fast_interval: Duration::from_millis(250),
            timeout: Duration::from_millis(500),
            rise: 1,
            fall: 2,
            expect: ProbeExpect::Dify,
            written_expect: None,
            expect_body: None,
        }
    }
}

/// Methods that change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProbeMethod {
    /// The whole answer.
    #[default]
    Get,
    /// Its head alone.
    Head,
    /// What may be asked.
    Options,
}

/// How an instance is asked whether it answers. An instance takes what it leaves out from its app,
/// and the app from the top.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Probe")]
pub(super) struct WrittenProbe {
    /// Whether it is asked at all; absent: `true`.
    #[schemars(schema_with = "schema::boolean")]
    pub(super) enabled: Option<bool>,
    /// What is asked for; absent: `/v1/`, which Dify answers without a key and without its
    /// database.
    #[serde(deserialize_with = "path")]
    #[schemars(schema_with = "schema::path")]
    pub(super) path: Option<String>,
    /// How it is asked for; absent: `GET`.
    pub(super) method: Option<ProbeMethod>,
    /// Headers to send, by their names; they replace those from above. A value may be `file:` and a
    /// path.
    #[schemars(schema_with = "schema::headers")]
    pub(super) headers: Option<IndexMap<String, Token>>,
    /// Whether the app's key is sent, for a deeper check such as `path: /v1/info`, which needs
    /// Dify's database; absent: `false`.
    #[schemars(schema_with = "schema::boolean")]
    pub(super) with_key: Option<bool>,
    /// From one probe to the next, less 5 to 15 %; absent: `1s`.
    #[serde(deserialize_with = "maybe_duration")]
    #[schemars(schema_with = "schema::duration")]
    pub(super) interval: Option<Duration>,
    /// The same while the instance is out, or on its way out; absent: `250ms`.
    #[serde(deserialize_with = "maybe_duration")]
    #[schemars(schema_with = "schema::duration")]
    pub(super) fast_interval: Option<Duration>,
    /// For the whole of a probe; absent: `500ms`.
    #[serde(deserialize_with = "maybe_duration")]
    #[schemars(schema_with = "schema::duration")]
    pub(super) timeout: Option<Duration>,
    /// Good ones in a row that bring an instance back; absent: 1.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 100>")]
    #[schemars(schema_with = "schema::whole::<1, 100>")]
    pub(super) rise: Option<u32>,
    /// Bad ones in a row that take it out; absent: 2.
    #[serde(deserialize_with = "maybe_whole::<_, _, 1, 100>")]
    #[schemars(schema_with = "schema::whole::<1, 100>")]
    pub(super) fall: Option<u32>,
    /// What a good answer is: `dify` for a Dify of whatever version, or statuses such as `200` or
    /// `200-399`, or a list of them; absent: `dify` at `/v1/`, else `200-399`.
    #[serde(deserialize_with = "expect", serialize_with = "write_maybe_expect")]
    #[schemars(schema_with = "schema::probe_expect")]
    pub(super) expect: Option<ProbeExpect>,
    /// A text that must stand in the first 64KiB of a good answer; absent or empty: none.
    pub(super) expect_body: Option<String>,
}

impl WrittenProbe {
    /// Fills what is left out; where all of it is, the one above is shared.
    pub(super) fn or(self, above: &Arc<Probe>) -> Arc<Probe> {
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

/// Statuses that count against an instance where nothing else is written.
pub(super) const FAIL_STATUSES: [u16; 4] = [500, 502, 503, 504];

/// For `serialize_with`: as one writes it.
fn write_expect<S: Serializer>(expect: &ProbeExpect, serializer: S) -> Result<S::Ok, S::Error> {
    let ranges = match expect {
        ProbeExpect::Dify => return serializer.serialize_str("dify"),
        ProbeExpect::Statuses(ranges) => ranges,
    };
    serializer.collect_seq(ranges.iter().map(|range| match (range.start(), range.end()) {
        (from, to) if from == to => from.to_string(),
        (from, to) => format!("{from}-{to}"),
    }))
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

/// For `serialize_with`: as one writes it.
pub(super) fn write_percent<S: Serializer>(percent: &u32, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{percent}%"))
}

fn maybe_duration<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(de).map(Some)
}

/// A duration, or `0s` for none.
pub(super) fn slow_start<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Duration>, D::Error> {
    from_text(de, |text| {
        let longest = Duration::from_secs(24 * 3600);
        parse_duration(text)
            .filter(|duration| *duration <= longest)
            .map(Some)
            .ok_or_else(|| "must be a duration such as `30s` or `2m`, at most `24h`".to_owned())
    })
}

/// `50%`, as a number from 1 to 100.
pub(super) fn percent<'de, D: Deserializer<'de>>(de: D) -> Result<Option<u32>, D::Error> {
    from_text(de, |text| {
        let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
        number
            .filter(|percent| (1..=100).contains(percent))
            .map(Some)
            .ok_or_else(|| "must be a share from `1%` to `100%`".to_owned())
    })
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

/// `dify`, one status or a range of them, or a list of such.
fn expect<'de, D: Deserializer<'de>>(de: D) -> Result<Option<ProbeExpect>, D::Error> {
    let items = one_or_many::<D, Expected>(de)?;
    let mut ranges = Vec::new();
    for item in &items {
        match item {
            Expected::Dify if items.len() == 1 => return Ok(Some(ProbeExpect::Dify)),
            Expected::Dify => return Err(D::Error::custom("must be `dify` alone, or statuses")),
            Expected::Status(range) => ranges.push(range.clone()),
        }
    }
    Ok(Some(ProbeExpect::Statuses(ranges)))
}

/// Statuses that may count against an instance: one or a list.
pub(super) fn fail_statuses<'de, D>(de: D) -> Result<Option<Vec<u16>>, D::Error>
where
    D: Deserializer<'de>,
{
    let statuses = one_or_many::<D, FailStatus>(de)?;
    Ok(Some(statuses.into_iter().map(|FailStatus(status)| status).collect()))
}

enum Expected {
    Dify,
    Status(RangeInclusive<u16>),
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        from_text(de, |text| match text {
            "dify" => Ok(Self::Dify),
            _ => read_range(text).map(Self::Status),
        })
    }
}

fn read_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.trim().parse().ok().filter(|s| (100..=599).contains(s));
    match (status(from), status(to)) {
        (Some(from), Some(to)) if from <= to => Ok(from..=to),
        _ => Err("must be `dify`, a status such as `200` or a range such as `200-399`".to_owned()),
    }
}

struct FailStatus(u16);

impl<'de> Deserialize<'de> for FailStatus {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        from_text(de, |text| {
            let status = text.parse().ok().filter(|status| (500..=599).contains(status));
            // A line break parts the predicate from its hint.
            status.map(Self).ok_or_else(|| {
                "must be a status from 500 to 599\nothers are the client's or a model provider's \
                 doing, and say nothing about the instance"
                    .to_owned()
            })
        })
    }
}

/// A list, or one item alone.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(de: D) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a status or a list of them")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
            let text: serde::de::value::StrDeserializer<'_, E> =
                serde::de::IntoDeserializer::into_deserializer(text);
            T::deserialize(text).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = items.next_element()? {
                all.push(item);
            }
            Ok(all)
        }
    }

    de.deserialize_any(Items(PhantomData))
}
