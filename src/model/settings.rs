//! Choices that the configuration reads and other rooms follow. The doc comments are the descriptions
//! in the JSON Schema.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What places users and instances on the ring.
// These numbers decide which instance holds a user's conversations, so they must never change: tests
// pin them. Two gateways with the same configuration agree because of it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HashAlgorithm {
    /// SHA-256, its first 64 bits.
    Sha256,
    /// XXH3 with 64 bits: faster, the same spread.
    Xxh3,
    /// SHA-1, its first 64 bits.
    Sha1,
    /// MD5, its first 64 bits.
    Md5,
    /// CRC-32: an uneven spread; for a ring that exists already.
    Crc32,
}

impl HashAlgorithm {
    /// The name in the configuration and in `/status`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Xxh3 => "xxh3",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Crc32 => "crc32",
        }
    }
}

/// Whether TLS is spoken with clients at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// If there are certificates.
    #[default]
    Auto,
    /// Nothing else is.
    On,
    /// Never.
    Off,
}

/// What happens when every instance of an app is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LastResort {
    /// They are tried anyway, in the request's own order.
    #[default]
    Try,
    /// The client gets 503 with `Retry-After`.
    Refuse,
}

/// What becomes of a run whose client went away. Where nothing is chosen, a streamed run is stopped, and
/// a blocking one drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// Dify is told to stop it, as far as it can be, and its answer is read to the end, for a bounded
    /// time. A blocking run cannot be stopped; it is drained.
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

impl OnOwnerDown {
    /// As it is written.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Queue => "queue",
            Self::Restart => "restart",
        }
    }
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

/// What happens to requests while the store of conversations fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreFailure {
    /// They are served in new conversations, and what has to be written waits in memory.
    #[default]
    Continue,
    /// They are answered with 503.
    Refuse,
}
