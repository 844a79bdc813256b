//! What an app does when something goes wrong: what is tried again, what becomes of a run whose client
//! went away, of a conversation whose instance is out.
//!
//! All of it stands at the top and may stand in an app, which then takes what it leaves out from the
//! top.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// What is tried again, every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Further attempts after the first.
    pub attempts: u32,
    /// Retries as a share of requests, in thousandths.
    #[serde(serialize_with = "write_share")]
    pub budget: u32,
    /// Statuses, 500 to 599, after which the next instance is asked.
    pub statuses: Vec<u16>,
    /// Whether also a request that may have been executed is sent to another instance.
    pub non_idempotent: bool,
    /// Whether a streamed flow is taken up again whose stream broke off.
    pub resume: bool,
}

/// Writes thousandths as they are read: `20%`, `12.5%`.
fn write_share<S: Serializer>(thousandths: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    let (whole, tenths) = (thousandths / 10, thousandths % 10);
    match tenths {
        0 => serializer.collect_str(&format_args!("{whole}%")),
        _ => serializer.collect_str(&format_args!("{whole}.{tenths}%")),
    }
}

impl Default for Retry {
    fn default() -> Self {
        let statuses = Vec::new();
        Self { attempts: 2, budget: 200, statuses, non_idempotent: false, resume: true }
    }
}

/// What becomes of a run whose client went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// Dify is told to stop it, as far as it can be: a blocking run cannot.
    Stop,
    /// It goes on, and its answer is read to the end.
    Drain,
    /// The connection is closed. Dify 1.5.0 loses the answer and may run on.
    Close,
}

/// What becomes of a request whose data is on an instance that is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnOwnerDown {
    /// The client gets 503 with `Retry-After`.
    #[default]
    Fail,
    /// It waits for the instance as long as for a connection: `queue.timeout`.
    Queue,
    /// A chat goes on in a new conversation on another instance; the header
    /// `X-Difygate-Conversation` says so. Anything else gets 503.
    Restart,
}

/// Whether the instances of an app share their database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Each has its own: a conversation exists on one of them.
    #[default]
    Independent,
    /// All use one database and one Redis: any of them can answer anything.
    Shared,
}
