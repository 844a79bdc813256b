//! What a good answer to a probe is.

use std::ops::RangeInclusive;

/// What a good answer to a probe is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProbeExpect {
    /// A Dify, of whatever version: 200, or the 404 page that Dify from 1.8 on gives at `/v1/`, with
    /// Dify's `X-Version` and `X-Env`.
    Dify,
    /// One of these statuses, from whomever.
    Statuses(Vec<RangeInclusive<u16>>),
}

impl ProbeExpect {
    /// The path that every Dify answers without a key or a database, also behind its own nginx.
    pub const DIFY_PATH: &str = "/v1/";

    /// What is expected at a path where nothing else is written.
    pub fn at(path: &str) -> Self {
        match path {
            Self::DIFY_PATH => Self::Dify,
            _ => Self::Statuses(vec![200..=399]),
        }
    }
}
