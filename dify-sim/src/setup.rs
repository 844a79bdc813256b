//! What a simulated Dify is made of: where it listens, its apps, its speed, its faults.
//!
//! Everything here is plain data with public fields, so that a test can write down the Dify it
//! wants in a few lines. The defaults are those of the newest Dify: ten connections served at a time,
//! idle connections closed after two seconds, a ping every ten seconds.

use crate::app::App;
use crate::release::Release;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How to start a simulated Dify.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where to listen; port 0 (the default, on 127.0.0.1) takes a free port.
    pub listen: SocketAddr,
    /// Which Dify it is; the newest one by default.
    pub release: Release,
    /// Its apps, one key each.
    pub apps: Vec<App>,
    /// Keys for the dataset routes, each with the workspace it is of; `""` is the first one.
    pub dataset_keys: Vec<(String, String)>,
    /// What its signed links to files begin with (Dify's `FILES_URL`): `http://<addr>` unless set;
    /// `""` makes them relative.
    pub files_url: Option<String>,
    /// What stands in front of the API.
    pub nginx: Front,
    /// Runs that its worker does at a time, where a worker streams flows; further ones queue.
    /// `None` is what the release is shipped, or was recorded, with: 1, from 1.14 on 4.
    pub workers: Option<usize>,
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
            release: Release::default(),
            apps: Vec::new(),
            dataset_keys: Vec::new(),
            files_url: None,
            nginx: Front::default(),
            workers: None,
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

    /// The same as another Dify.
    #[must_use]
    pub fn with_release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// The same with signed links to files that begin with this; `""` makes them relative.
    #[must_use]
    pub fn with_files_url(mut self, url: impl Into<String>) -> Self {
        self.files_url = Some(url.into());
        self
    }

    /// The same behind an nginx as Dify ships it: the address is nginx's, and the API is reached
    /// through it alone.
    #[must_use]
    pub fn with_nginx(mut self) -> Self {
        self.nginx = Front::Nginx;
        self
    }

    /// The same with a worker of so many runs at a time (at least one).
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The same with one app more.
    #[must_use]
    pub fn with_app(mut self, app: App) -> Self {
        self.apps.push(app);
        self
    }

    /// The same with a key for the dataset routes of the first workspace.
    #[must_use]
    pub fn with_dataset_key(self, key: impl Into<String>) -> Self {
        self.with_workspace_key("", key)
    }

    /// The same with a key for the dataset routes of this workspace.
    #[must_use]
    pub fn with_workspace_key(
        mut self,
        workspace: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        self.dataset_keys.push((key.into(), workspace.into()));
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

/// What stands in front of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Front {
    /// Nothing.
    #[default]
    None,
    /// nginx as Dify's Compose file has it, with the web page behind it, too.
    Nginx,
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
    /// `slowname`), or that is waited for a lost Redis or by nginx for a lost API: 1 s, unless a
    /// test is in a hurry.
    pub second: Duration,
    /// From the last event of a flow that a worker streams to the terminal chunk: 1 s. Failed and
    /// stopped chatflows end at once.
    pub linger: Duration,
    /// How long such a stream stays open without any event before it ends: 300 s.
    pub silence: Duration,
    /// How long a user who was never seen before is unknown to other requests of theirs that come
    /// meanwhile (1.12 and later): 10 ms.
    pub newcomer: Duration,
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
            linger: Duration::from_secs(1),
            silence: Duration::from_secs(300),
            newcomer: Duration::from_millis(10),
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
    /// As under SIGKILL of all processes of the API: the listening socket and every connection are
    /// closed at once, streams without their terminal chunk. What a worker streams goes on and is
    /// stored. SIGKILL of gunicorn's child alone, whose master keeps the socket, is this and then
    /// `Frozen`.
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
    /// Redis is down: runs and stops answer 500, `GET /v1/info` and `/health` are still fine. From
    /// 1.12 on every request with a key hangs for half a minute first, and streamed flows get a
    /// ping and are cut off.
    RedisDown,
    /// As SIGKILL of the worker, and no new one: flows it streamed fall silent and stay `running`
    /// for ever, new ones wait until the fault is healed. No effect before 1.13.
    WorkerKilled,
    /// As SIGTERM to the worker, and no new one: what it runs goes on to its end, new flows wait
    /// until the fault is healed. No effect before 1.13.
    WorkerAbsent,
}

impl Fault {
    /// Whether nothing is read or written.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Frozen | Self::BlackHole)
    }
}
