//! How an instance is asked whether it answers.

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::model::units::duration;
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

/// Statuses that count against an instance where nothing else is written.
pub(super) const FAIL_STATUSES: [u16; 4] = [500, 502, 503, 504];

/// For `serialize_with`: as one writes it.
pub(super) fn write_expect<S: Serializer>(
    expect: &ProbeExpect,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let ranges = match expect {
        ProbeExpect::Dify => return serializer.serialize_str("dify"),
        ProbeExpect::Statuses(ranges) => ranges,
    };
    serializer.collect_seq(ranges.iter().map(|range| match (range.start(), range.end()) {
        (from, to) if from == to => from.to_string(),
        (from, to) => format!("{from}-{to}"),
    }))
}
