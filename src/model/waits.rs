//! How long the gateway waits, and who waits. These are used as they are written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{duration, whole};
use super::value_schema;

/// How long the gateway waits, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Connecting to an instance: DNS, TCP and, with https, TLS.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub connect: Duration,
    /// Waiting for the response head of a GET or HEAD, before another instance is tried.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub first_byte_idempotent: Duration,
    /// Waiting for the response head of any other request.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub first_byte: Duration,
    /// Waiting for a response head over all attempts, including the wait for a connection.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub all_attempts: Duration,
    /// Waiting for the next piece of a response that has started.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub idle: Duration,
    /// Waiting for the first event, other than a ping, of a streamed chatflow or workflow that Dify
    /// has accepted; from 1.13 on it waits for a worker.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub run_start: Duration,
    /// Receiving a client's request head, from its first byte, and a TLS handshake.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub header: Duration,
    /// Waiting for the next piece of a client's request body.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub body: Duration,
    /// Waiting for the client to read the next byte of its response; after that it is treated as
    /// disconnected.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub write: Duration,
    /// Waiting for the next request on a client's connection.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub keep_alive: Duration,
    /// How long an idle connection to an instance is kept for reuse. Keep it below 2s, when Dify closes
    /// idle connections.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub upstream_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte_idempotent: Duration::from_secs(3),
            first_byte: Duration::from_secs(1200),
            all_attempts: Duration::from_secs(1260),
            idle: Duration::from_secs(3600),
            run_start: Duration::from_secs(60),
            header: Duration::from_secs(10),
            body: Duration::from_secs(60),
            write: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            upstream_idle: Duration::from_secs(1),
        }
    }
}

/// Who waits when all connections to an instance, or all places of `max_runs`, are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Most waiting requests; 0: none waits.
    #[serde(deserialize_with = "whole::<_, _, 0, 1_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<0, 1_000_000>")]
    pub size: u32,
    /// How long a request waits for a connection before it gets 429.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub timeout: Duration,
    /// How long a streamed flow waits for a place of `max_runs` before it gets 429.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub run_timeout: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { size: 100, timeout: Duration::from_secs(30), run_timeout: Duration::from_secs(300) }
    }
}
