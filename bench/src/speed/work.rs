//! What contenders are asked to do.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::speed::line::Expected;
use crate::speed::scene::{Setup, chat, key, token};

/// Users of the requests of a work.
const USERS: usize = 1_024;
/// Size of an upload.
const UPLOAD: usize = 20 << 20;

/// A row of the comparison.
#[derive(Debug)]
pub struct Work {
    /// Short, for `BENCH_WORKS` and the files.
    pub name: &'static str,
    /// The work whose rounds it shares, because the two are compared; none: it has its own.
    pub beside: Option<&'static str>,
    /// What it is, for the table.
    pub title: &'static str,
    /// What its cost is counted by.
    pub unit: &'static str,
    /// So many units a request; streams count events.
    pub units: f64,
    /// How contenders are configured.
    pub setup: Setup,
    /// What clients do.
    pub kind: Kind,
    /// What they send.
    pub sends: Sends,
    /// Clients.
    pub connections: usize,
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One request after the other; latencies are taken at this rate, if there is one.
    Answers(Option<u32>),
    /// All have a stream at the same time.
    Streams,
    /// All are connected, and then all ask at once.
    Crowd,
    /// One request after the other at this rate, in a quiet moment and beside large bodies.
    Beside(u32),
    /// One request after the other at this rate, in a quiet moment and beside reloads.
    Reloads(u32),
}

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    /// A blocking chat of so many bytes.
    Chat(usize),
    /// A streamed chat.
    ChatStream,
    /// A file.
    Upload,
    /// A chat completion of OpenAI's, `stream` or not.
    Completion(&'static str),
}

/// Who is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// A contender.
    Proxy(SocketAddr),
    /// The instance itself.
    Instance(SocketAddr),
}

const FULL: Work = Work {
    name: "full",
    beside: None,
    title: "token to app, user in 523 bytes of JSON to instance, key replaced",
    unit: "request",
    units: 1.0,
    setup: Setup::Full,
    kind: Kind::Answers(Some(3_000)),
    sends: Sends::Chat(523),
    connections: 64,
};

/// All works.
pub const ALL: &[Work] = &[
    Work { name: "plain", title: "reverse proxy to one instance", setup: Setup::Plain, ..FULL },
    FULL,
    Work {
        name: "many",
        beside: Some("full"),
        title: "full with 10,000 tokens, 1,000 apps and 64 instances an app",
        setup: Setup::Many,
        kind: Kind::Answers(None),
        ..FULL
    },
    Work {
        name: "full-8k",
        title: "full with 8 KiB of JSON",
        sends: Sends::Chat(8_192),
        kind: Kind::Answers(None),
        ..FULL
    },
    Work {
        name: "sse",
        title: "full, with 2,000 streams of 10 events of 200 bytes a second",
        unit: "event",
        kind: Kind::Streams,
        sends: Sends::ChatStream,
        connections: 2_000,
        ..FULL
    },
    Work {
        name: "openai",
        beside: Some("sse"),
        title: "the same streams asked for and told in OpenAI's protocol",
        unit: "event",
        kind: Kind::Streams,
        sends: Sends::Completion("true"),
        connections: 2_000,
        ..FULL
    },
    Work {
        name: "completion",
        title: "a whole chat completion in OpenAI's protocol",
        kind: Kind::Answers(None),
        sends: Sends::Completion("false"),
        ..FULL
    },
    Work {
        name: "upload",
        beside: None,
        title: "reverse proxy with files of 20 MiB",
        unit: "MiB",
        units: 20.0,
        setup: Setup::Plain,
        kind: Kind::Answers(None),
        sends: Sends::Upload,
        connections: 4,
    },
    Work {
        name: "large",
        title: "full at 1,000 a second, quiet and beside a body of 30 MB (native JSON: 14 MB)",
        kind: Kind::Beside(1_000),
        ..FULL
    },
    Work {
        name: "reloads",
        title: "many at 1,000 a second, quiet and while one reload follows the other",
        setup: Setup::Many,
        kind: Kind::Reloads(1_000),
        ..FULL
    },
    Work {
        name: "crowd",
        title: "full, 8,192 connections: idle, all waiting, and all asking at once",
        kind: Kind::Crowd,
        connections: 8_192,
        ..FULL
    },
];

impl Work {
    /// Whether clients speak OpenAI's protocol.
    #[must_use]
    pub fn speaks_openai(&self) -> bool {
        matches!(self.sends, Sends::Completion(_))
    }

    /// What an answer has to be like.
    #[must_use]
    pub fn expected(&self) -> Expected {
        if self.speaks_openai() { Expected::Made(200) } else { Expected::Ordinary }
    }

    /// The requests that clients send in turn: users and tokens change with each.
    #[must_use]
    pub fn requests(&self, to: To) -> Arc<[Vec<u8>]> {
        self.requests_with(to, "")
    }

    /// The same with more lines in their heads.
    #[must_use]
    pub fn requests_with(&self, to: To, more: &str) -> Arc<[Vec<u8>]> {
        // Uploads are large, and one is like the other.
        let users = if self.sends == Sends::Upload { 4 } else { USERS };
        (0..users).map(|user| self.request(to, user, more)).collect()
    }

    /// One request of this user with more lines in its head.
    #[must_use]
    pub fn request(&self, to: To, user: usize, more: &str) -> Vec<u8> {
        let (apps, tokens, _) = self.setup.size();
        let number = user % tokens;
        let (host, token) = match to {
            To::Proxy(host) => (host, token(number)),
            To::Instance(host) => (host, key(number, 0)),
        };
        let app = number % apps;
        let (path, kind, body) = match self.sends {
            Sends::Chat(bytes) => {
                ("chat-messages", "application/json", chat(user, "blocking", bytes))
            }
            Sends::ChatStream => {
                ("chat-messages", "application/json", chat(user, "streaming", 523))
            }
            Sends::Upload => ("files/upload", FORM, upload(user, UPLOAD)),
            Sends::Completion(stream) => {
                ("chat/completions", "application/json", completion(app, user, stream))
            }
        };
        let plain = if self.setup == Setup::Plain { "X-Plain: 1\r\n" } else { "" };
        let length = body.len();
        let mut request = format!(
            "POST /v1/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             User-Agent: bench/1\r\nAccept: */*\r\nContent-Type: {kind}\r\n{plain}{more}\
             Content-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body.as_bytes());
        request
    }
}

/// The content type of [`upload`].
pub const FORM: &str = "multipart/form-data; boundary=difygatebench";

/// A form with a file of so many bytes.
#[must_use]
pub fn upload(user: usize, bytes: usize) -> String {
    let (line, file) =
        ("--difygatebench\r\nContent-Disposition: form-data; name=", "x".repeat(bytes));
    format!(
        "{line}\"user\"\r\n\r\nuser-{user:05}\r\n{line}\"file\"; filename=\"a.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n{file}\r\n--difygatebench--\r\n"
    )
}

fn completion(app: usize, user: usize, stream: &str) -> String {
    let how = if stream == "true" { "" } else { "in brief: " };
    let question = "what is the shortest way from here to there? ".repeat(8);
    format!(
        "{{\"model\": \"app{app:04}\", \"stream\": {stream}, \"user\": \"user-{user:05}\", \
         \"messages\": [{{\"role\": \"user\", \"content\": \"{how}{question}\"}}]}}"
    )
}
