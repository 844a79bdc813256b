//! Runs the table of cases from both sides: what the client gets and what the instance got.

use std::net::SocketAddr;
use std::time::Duration;

use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::case::{Case, parse};
use super::origin::Origin;
use super::wire::{First, Message, answer};

/// No case takes this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// A request that must not change what the connection has carried before.
const ECHO: &str = "GET /v1/echo HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer usertoken--shop\r\n\
    Connection: close\r\n\r\n";

/// The gateway before one instance of bare sockets. One worker, so that what an instance's
/// connection has left over would meet the next request.
struct Bench {
    origin: Origin,
    gateway: Gateway,
    _folder: TempDir,
}

impl Bench {
    async fn start() -> Self {
        let origin = Origin::start().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("difygate.yaml");
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\nworkers: 1\n\
             probe: {{ enabled: false }}\ntimeouts: {{ header: 1500ms, body: 1500ms, keep_alive: 4s }}\n\
             limits: {{ max_body: 64KiB, memory_body: 4KiB }}\n\
             apps:\n  shop:\n    user_tokens: [usertoken--shop]\n    instances:\n      \
             - {{ name: dify1, url: \"http://{}\", token: app-shop-1, max_fails: 10000 }}\n",
            origin.addr
        );
        std::fs::write(&path, text).unwrap();
        let loaded = config::load(&path, &Environment::default())
            .unwrap_or_else(|findings| panic!("{findings}"));
        let gateway = Gateway::start(loaded.config, path, None).await.unwrap();
        Self { origin, gateway, _folder: folder }
    }

    /// What is wrong with the outcome of a case; nothing if it is as it must be.
    async fn run(&self, case: &Case) -> Result<(), String> {
        self.origin.play(case);
        let mut client = Client::connect(self.gateway.listen()).await;
        client.send(&case.sends).await;
        let told = timeout(PATIENCE, client.outcome(case)).await;
        told.map_err(|_| format!("hangs; got {}", client.bytes.escape_ascii()))??;
        drop(client);
        let (requests, faults) = self.origin.heard();
        if !faults.is_empty() {
            return Err(format!("the instance got {faults:?}"));
        }
        let open = (!case.closes && !case.either).then(|| "GET /v1/echo 0".to_owned());
        let expected: Vec<String> = case.instance.iter().cloned().chain(open).collect();
        if requests != expected {
            return Err(format!("the instance got {requests:?}, not {expected:?}"));
        }
        self.is_unharmed().await
    }

    /// Whether the next request of another client gets its own answer.
    async fn is_unharmed(&self) -> Result<(), String> {
        let mut next = Client::connect(self.gateway.listen()).await;
        next.send(&[ECHO.as_bytes().to_vec()]).await;
        let message = timeout(PATIENCE, next.next(false)).await.map_err(|_| "the next hangs")??;
        is_echo(message.as_ref())
    }
}

fn is_echo(message: Option<&Message>) -> Result<(), String> {
    match message {
        Some(message) if message.body == b"echo GET /v1/echo" => Ok(()),
        other => Err(format!("the next request got {other:?}")),
    }
}

struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
    is_over: bool,
    /// It was reset: what has come is not whole.
    is_reset: bool,
}

impl Client {
    async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, bytes: Vec::new(), is_over: false, is_reset: false }
    }

    async fn send(&mut self, pieces: &[Vec<u8>]) {
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 {
                sleep(Duration::from_millis(50)).await;
            }
            // Who was refused already need not be heard to the end.
            let _ = self.stream.write_all(piece).await;
        }
    }

    /// The next answer; none if the connection ended instead.
    async fn next(&mut self, is_head: bool) -> Result<Option<Message>, String> {
        loop {
            let told = answer(&self.bytes, is_head, self.is_over && !self.is_reset);
            let told = told.map_err(|what| format!("{what}: {}", self.bytes.escape_ascii()))?;
            match told {
                First::Message(message, end) => {
                    self.bytes.drain(..end);
                    return Ok(Some(message));
                }
                First::Partial if self.is_over => return Ok(None),
                First::Partial => {
                    let read = self.stream.read_buf(&mut self.bytes).await;
                    self.is_over = !matches!(read, Ok(1..));
                    self.is_reset = read.is_err();
                }
            }
        }
    }

    async fn outcome(&mut self, case: &Case) -> Result<(), String> {
        let mut last = None;
        for status in &case.statuses {
            let message = self.next(status.ends_with('h')).await?;
            if let Some(status) = status.strip_suffix('!') {
                return match message {
                    // What came with the head may have broken off before it went out.
                    None if self.bytes.is_empty() => Ok(()),
                    None if self.bytes[b"HTTP/1.1 ".len()..].starts_with(status.as_bytes()) => {
                        Ok(())
                    }
                    other => Err(format!("not a cut {status}: {other:?}")),
                };
            }
            let (status, may_be_absent) = match status.strip_suffix('?') {
                Some(status) => (status, true),
                None => (status.as_str(), false),
            };
            let Some(message) = message else {
                if may_be_absent {
                    continue;
                }
                return Err(format!("no {status}: {}", self.bytes.escape_ascii()));
            };
            if !status.split('|').any(|one| one.trim_end_matches('h') == message.status()) {
                return Err(format!("not {status}: {message:?}"));
            }
            refusal(&message)?;
            last = Some(message);
        }
        if let (Some(body), Some(last)) = (&case.body, &last)
            && last.body != *body
        {
            return Err(format!("the body is {}", last.body.escape_ascii()));
        }
        if case.either {
            return Ok(());
        }
        if case.closes {
            return match self.next(false).await? {
                None if self.bytes.is_empty() => Ok(()),
                after => Err(format!("not closed: {after:?} {}", self.bytes.escape_ascii())),
            };
        }
        self.send(&[ECHO.as_bytes().to_vec()]).await;
        is_echo(self.next(false).await?.as_ref())
    }
}

/// Refusals have Dify's shape, whoever found the fault.
fn refusal(message: &Message) -> Result<(), String> {
    let is_own = message.status().starts_with(['4', '5']);
    if !is_own || message.body.starts_with(b"instance ") {
        return Ok(());
    }
    let refusal: serde_json::Value =
        serde_json::from_slice(&message.body).map_err(|_| format!("no refusal: {message:?}"))?;
    let is_shaped = refusal["status"].as_u64() == message.status().parse().ok()
        && refusal["message"].as_str().is_some_and(|text| text.len() > 20);
    if is_shaped { Ok(()) } else { Err(format!("no refusal: {message:?}")) }
}

/// All cases, by what they are about.
const TABLE: &[(&str, &str)] = &[
    ("length", include_str!("requests/length.txt")),
    ("chunked", include_str!("requests/chunked.txt")),
    ("lines", include_str!("requests/lines.txt")),
    ("host", include_str!("requests/host.txt")),
    ("target", include_str!("requests/target.txt")),
    ("connection", include_str!("requests/connection.txt")),
    ("limits", include_str!("requests/limits.txt")),
    ("answers", include_str!("answers/framing.txt")),
    ("answer heads", include_str!("answers/heads.txt")),
];

/// How many cases of a theme there are, and what is wrong with them.
async fn theme(name: &str, text: &str) -> (usize, Vec<String>) {
    let (bench, cases) = (Bench::start().await, parse(text));
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(what) = bench.run(case).await {
            let what: String = what.chars().take(1500).collect();
            wrong.push(format!("{name}: {} (RFC {}): {what}", case.name, case.rfc));
        }
    }
    (cases.len(), wrong)
}

#[tokio::test]
async fn every_case_ends_as_the_standard_and_the_decisions_ask() {
    let mut themes: JoinSet<_> = TABLE.iter().map(|(name, text)| theme(name, text)).collect();
    let (mut count, mut wrong) = (0, Vec::new());
    while let Some(done) = themes.join_next().await {
        let (cases, faults) = done.unwrap();
        count += cases;
        wrong.extend(faults);
    }
    println!("strict: {count} cases, {} as RFC 9112 and the decisions ask", count - wrong.len());
    assert!(wrong.is_empty(), "{} of {count} cases are not:\n{}", wrong.len(), wrong.join("\n"));
}
