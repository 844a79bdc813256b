//! What a simulated Dify is made of: where it listens, its apps, its speed, its faults.
//!
//! Everything here is plain data with public fields, so that a test can write down the Dify it
//! wants in a few lines. The defaults are those of Dify 1.5.0: ten connections served at a time,
//! idle connections closed after two seconds, a ping every ten seconds.

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

/// The kind of an app, as `GET /v1/info` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `chat`: a conversation with a model.
    Chat,
    /// `agent-chat`: streaming only.
    AgentChat,
    /// `advanced-chat`, called chatflow in Dify's console.
    AdvancedChat,
    /// `completion`: one answer, no conversation.
    Completion,
    /// `workflow`: inputs to outputs.
    Workflow,
}

impl Mode {
    /// The name Dify gives it on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::AgentChat => "agent-chat",
            Self::AdvancedChat => "advanced-chat",
            Self::Completion => "completion",
            Self::Workflow => "workflow",
        }
    }

    /// Whether its answers belong to a conversation.
    #[must_use]
    pub fn has_conversations(self) -> bool {
        matches!(self, Self::Chat | Self::AgentChat | Self::AdvancedChat)
    }
}

/// What an app does with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Chatflow: answers `You said: <query>`; workflow: input `text` becomes output `out`.
    Echo,
    /// Answers `Echo: <query>` word by word, as a model would (workflow: of input `text`, as
    /// `text_chunk` events and as output `out`). A query `tokens 40 0.25` gives 40
    /// tokens with 0.25 s between them (`tokens 40`: at the pace of the set-up). A query that
    /// contains `error400`, `error401`, `error429`, `error500`, `errconn` or `errmid` fails as the
    /// recorded model did; `slowname` makes naming the conversation take 4 s.
    Llm,
    /// Chatflow: `Before the wait. After: slept N.0`, where the query (workflow: input `text`) is
    /// N, the seconds to wait.
    Slow,
    /// Chatflow: `After: slept N.0`, without any text of its own before the wait.
    SlowFirst,
    /// Chatflow: names the files given, the query, the conversation and the user.
    Files,
    /// The second node of the flow fails.
    Failing,
    /// A model app whose model was never chosen.
    NoModel,
    /// A chatflow or workflow that was never published.
    Unpublished,
}

/// One app and its key.
#[derive(Debug, Clone)]
pub struct App {
    /// The app key, as in `Authorization: Bearer <key>`.
    pub key: String,
    /// Its kind.
    pub mode: Mode,
    /// Its name in `GET /v1/info`; the key unless set.
    pub name: String,
    /// Its description in `GET /v1/info`.
    pub description: String,
    /// What it does.
    pub flow: Flow,
    /// Whether its API is switched off (403).
    pub disabled: bool,
    /// Whether `GET /v1/messages/:id/suggested` is switched on (and gives an empty list).
    pub suggested: bool,
    /// Runs at a time before Dify refuses with 400 `Too many requests.…`; `None` is no limit.
    pub max_active_requests: Option<usize>,
}

impl App {
    /// An app of this kind: chatflows and workflows echo, the others speak as a model.
    #[must_use]
    pub fn new(mode: Mode, key: impl Into<String>) -> Self {
        let key = key.into();
        let flow = match mode {
            Mode::AdvancedChat | Mode::Workflow => Flow::Echo,
            Mode::Chat | Mode::AgentChat | Mode::Completion => Flow::Llm,
        };
        Self {
            name: key.clone(),
            key,
            mode,
            description: String::new(),
            flow,
            disabled: false,
            suggested: matches!(mode, Mode::Chat | Mode::AgentChat),
            max_active_requests: None,
        }
    }

    /// The same under another name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same doing something else.
    #[must_use]
    pub fn with_flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// The same with a limit of runs at a time.
    #[must_use]
    pub fn with_max_active_requests(mut self, limit: usize) -> Self {
        self.max_active_requests = Some(limit);
        self
    }

    /// The same with its API switched off.
    #[must_use]
    pub fn with_api_disabled(mut self) -> Self {
        self.disabled = true;
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
