//! What a simulated Dify is made of: where it listens, its apps, its speed, its faults.
//!
//! Everything here is plain data with public fields, so that a test can write down the Dify it
//! wants in a few lines. The defaults are those of Dify 1.5.0: ten connections served at a time,
//! idle connections closed after two seconds, a ping every ten seconds.

use crate::app::App;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How to start a simulated Dify.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where to listen; port 0 (the default, on 127.0.0.1) takes a free port.
    pub listen: SocketAddr,
    /// The version it gives in `X-Version`, `/health` and `/v1/`; `1.5.0` by default.
    pub version: String,
    /// Its apps, one key each.
    pub apps: Vec<App>,
    /// A key for the dataset routes, if any.
    pub dataset_key: Option<String>,
    /// How fast answers come.
    pub pace: Pace,
    /// Connections served at a time (Dify 1.5.0: 10). Further ones are accepted by the kernel and
    /// hang, unread, until one of these closes.
    pub slots: usize,
    /// An idle connection is closed after this (Dify 1.5.0: exactly 2 s).
    pub keep_alive: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            version: "1.5.0".to_owned(),
            apps: Vec::new(),
            dataset_key: None,
            pace: Pace::default(),
            slots: 10,
            keep_alive: Duration::from_secs(2),
        }
    }
}

impl Setup {
    /// The same with another address to listen on.
    #[must_use]
    pub fn with_listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// The same with another version string.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The same with one app more.
    #[must_use]
    pub fn with_app(mut self, app: App) -> Self {
        self.apps.push(app);
        self
    }

    /// The same with a key for the dataset routes.
    #[must_use]
    pub fn with_dataset_key(mut self, key: impl Into<String>) -> Self {
        self.dataset_key = Some(key.into());
        self
    }

    /// The same at another speed.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The same with another number of connections served at a time (at least one).
    #[must_use]
    pub fn with_slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// The same with another time after which an idle connection is closed.
    #[must_use]
    pub fn with_keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }
}

/// How fast answers come. The default is as fast as it can, with a ping every 10 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the start of a streamed run to its first token. A chatflow or workflow sends its
    /// `workflow_started` before this wait, other apps send nothing, not even the head.
    pub first_token: Duration,
    /// Between two tokens.
    pub between_tokens: Duration,
    /// Time of a whole blocking run.
    pub blocking: Duration,
    /// Between two pings of a stream, counted from the start of the run.
    pub ping_interval: Duration,
    /// How long naming a conversation takes: on the first turn of chat and agent-chat the stream
    /// stays open this long after `message_end`.
    pub title_delay: Duration,
    /// How long a second lasts that a query asks for (`Flow::Slow`, `tokens 40 0.25`,
    /// `slowname`): 1 s, unless a test is in a hurry.
    pub second: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_token: Duration::ZERO,
            between_tokens: Duration::ZERO,
            blocking: Duration::ZERO,
            ping_interval: Duration::from_secs(10),
            title_delay: Duration::ZERO,
            second: Duration::from_secs(1),
        }
    }
}

impl Pace {
    /// So many tokens a second, the first one after one such step. Zero or less is no wait.
    #[must_use]
    pub fn tokens_per_second(rate: f64) -> Self {
        let step = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::ZERO);
        Self { first_token: step, between_tokens: step, ..Self::default() }
    }
}

/// A way to be broken. Set with [`crate::Dify::set_fault`]; `None` heals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Healthy.
    #[default]
    None,
    /// As under SIGSTOP: connections are accepted by the kernel and nothing is read or written;
    /// running streams pause, and go on when healed.
    Frozen,
    /// As behind a firewall that drops packets: a new connection is not even answered by the
    /// kernel, and open ones are silent as under `Frozen`. Of a network that is cut only this much
    /// can be had on loopback: what is sent on open connections is still acknowledged.
    BlackHole,
    /// The listening socket is closed. Running requests finish, idle connections are closed.
    Refused,
    /// As SIGTERM to gunicorn: the listening socket is closed, running requests finish, and
    /// connections stay usable until they have been idle for the keep-alive time, as recorded.
    Stopped,
    /// As under SIGKILL of all processes: the listening socket and every connection are closed at
    /// once, streams without their terminal chunk. SIGKILL of the worker alone, whose master keeps
    /// the socket, is this and then `Frozen`.
    Killed,
    /// Each connection is reset (RST) once a request has been read.
    Reset,
    /// Each connection is closed (FIN) without an answer once a request has been read.
    CloseAfterRequest,
    /// Each connection is closed after so many bytes of an answer, head included.
    CutAfter(u64),
    /// Half of the head of the answer, then closed.
    HalfHead,
    /// Half of the body, then closed; of a stream, one event and half of the second.
    HalfBody,
    /// Bytes that are no HTTP, then closed.
    Garbage,
    /// Every request is answered with this status and nothing is run.
    Status(u16),
    /// As `Status`, but only for calls that start a run (chat, completion, workflow); the others,
    /// and so every health check, are served.
    RunStatus(u16),
    /// Every answer begins so much later.
    Slow(Duration),
    /// PostgreSQL is down: 500 for all that needs it, `/health` is still fine.
    DatabaseDown,
    /// Redis is down: runs and stops answer 500, `GET /v1/info` and `/health` are still fine.
    RedisDown,
}

impl Fault {
    /// Whether nothing is read or written.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Frozen | Self::BlackHole)
    }
}
