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
    /// For a connection to an instance: name, TCP and, with https, TLS.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub connect: Duration,
    /// For the head of the answer to a GET or HEAD, before another instance is asked.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub first_byte_idempotent: Duration,
    /// For the head of any other answer.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub first_byte: Duration,
    /// For the head of an answer over all attempts, waiting for a connection included.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub all_attempts: Duration,
    /// For the next piece of an answer that has begun.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub idle: Duration,
    /// For the first event of a streamed chatflow or workflow that Dify has taken, which from 1.13 on
    /// waits for a worker. A ping is none.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub run_start: Duration,
    /// For the rest of a client's request head, from its first byte, and for a TLS handshake.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub header: Duration,
    /// For the next piece of a client's request body.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub body: Duration,
    /// For the client to take the next byte of its answer: one that takes none is treated as one that
    /// went away.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub write: Duration,
    /// For the next request on a client's connection.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub keep_alive: Duration,
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
        }
    }
}

/// Who waits when all connections to an instance, or all places of `max_runs`, are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Requests that wait at most; 0 lets none wait.
    #[serde(deserialize_with = "whole::<_, _, 0, 1_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<0, 1_000_000>")]
    pub size: u32,
    /// How long one waits for a connection before it is refused with 429.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub timeout: Duration,
    /// How long a streamed flow waits for a place of `max_runs` before it is refused with 429.
    #[serde(with = "duration")]
    #[schemars(schema_with = "value_schema::duration")]
    pub run_timeout: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { size: 100, timeout: Duration::from_secs(30), run_timeout: Duration::from_secs(300) }
    }
}
