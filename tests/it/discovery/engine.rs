//! A Docker engine's socket that plays what it is told, in the shapes of engine 20.10 (API 1.41), and a
//! socket proxy in front of one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use difygate::discovery::EngineAddress;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use tokio::task::{AbortHandle, JoinSet};

/// What it says when it is asked.
#[derive(Clone, Debug)]
pub(super) struct Play {
    /// `ApiVersion` and `MinAPIVersion`.
    pub(super) api: (&'static str, &'static str),
    /// What runs.
    pub(super) containers: Vec<Value>,
    /// Whether it takes connections and says nothing.
    pub(super) is_hung: bool,
}

pub(super) struct Engine {
    folder: TempDir,
    play: watch::Sender<Play>,
    events: broadcast::Sender<String>,
    log: watch::Sender<Vec<String>>,
    task: Option<AbortHandle>,
}

impl Engine {
    pub(super) fn start(containers: Vec<Value>) -> Self {
        let play = Play { api: ("1.41", "1.12"), containers, is_hung: false };
        let mut engine = Self {
            folder: tempfile::tempdir().unwrap(),
            play: watch::channel(play).0,
            events: broadcast::channel(100).0,
            log: watch::channel(Vec::new()).0,
            task: None,
        };
        engine.start_again();
        engine
    }

    pub(super) fn start_again(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let desk = Desk {
            play: self.play.subscribe(),
            events: self.events.clone(),
            log: self.log.clone(),
        };
        self.task = Some(tokio::spawn(serve(listener, desk)).abort_handle());
    }

    /// Ends it: its connections are cut, and its socket is gone.
    pub(super) fn stop(&mut self) {
        self.task.take().unwrap().abort();
        std::fs::remove_file(self.socket()).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(super) fn address(&self) -> EngineAddress {
        EngineAddress::Unix(self.socket())
    }

    /// From now on.
    pub(super) fn set(&self, change: impl FnOnce(&mut Play)) {
        self.play.send_modify(change);
    }

    /// Sends a line of the event stream to all who listen.
    pub(super) fn tell(&self, event: &Value) {
        self.tell_raw(&format!("{event}\n"));
    }

    pub(super) fn tell_raw(&self, text: &str) {
        self.events.send(text.to_owned()).unwrap();
    }

    /// The first lines of all requests, without their queries.
    pub(super) fn log(&self) -> Vec<String> {
        let plain = |line: &String| {
            let (path, end) = line.split_once('?').unwrap_or((line, " HTTP/1.1"));
            format!(
                "{path}{}",
                end.split_once(' ').map_or(String::new(), |(_, end)| format!(" {end}"))
            )
        };
        self.log.borrow().iter().map(|line| plain(line).replace(" HTTP/1.1", "")).collect()
    }

    /// How many lists it gave.
    pub(super) fn lists(&self) -> usize {
        self.log().iter().filter(|line| line.ends_with("/containers/json")).count()
    }
}

struct Desk {
    play: watch::Receiver<Play>,
    events: broadcast::Sender<String>,
    log: watch::Sender<Vec<String>>,
}

async fn serve(listener: UnixListener, desk: Desk) {
    let desk = std::sync::Arc::new(desk);
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let desk = desk.clone();
        connections.spawn(async move { desk.serve(stream).await });
    }
}

/// The head of a request.
async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

fn response(status: &str, body: &Value) -> String {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

impl Desk {
    async fn serve(&self, mut stream: UnixStream) {
        let head = head(&mut stream).await;
        let line = head.lines().next().unwrap_or_default().to_owned();
        self.log.send_modify(|log| log.push(line.clone()));
        // Subscribed before the answer begins: nothing that is told after it is lost.
        let events = self.events.subscribe();
        let mut play = self.play.clone();
        let play = play.wait_for(|play| !play.is_hung).await.unwrap().clone();
        let path = line.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let version = path.split('/').nth(1).unwrap_or_default().trim_start_matches('v');
        let answer = if path == "/version" {
            let (api, oldest) = play.api;
            response("200 OK", &json!({ "ApiVersion": api, "MinAPIVersion": oldest }))
        } else if !speaks(version, play.api) {
            let message = format!("client version {version} is not supported");
            response("400 Bad Request", &json!({ "message": message }))
        } else if path.ends_with("/containers/json") {
            response("200 OK", &Value::Array(play.containers))
        } else if path.ends_with("/events") {
            return stream_events(stream, events).await;
        } else {
            response("404 Not Found", &json!({ "message": "page not found" }))
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn speaks(version: &str, (newest, oldest): (&str, &str)) -> bool {
    let number = |version: &str| version.trim_start_matches("1.").parse::<u32>().ok();
    number(oldest) <= number(version) && number(version) <= number(newest)
}

async fn stream_events(mut stream: UnixStream, mut events: broadcast::Receiver<String>) {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut sent = stream.write_all(head.as_bytes()).await;
    while sent.is_ok() {
        let Ok(text) = events.recv().await else { return };
        sent = stream.write_all(chunk(&text).as_bytes()).await;
    }
}

/// A proxy before an engine's socket that lets GET through, and only for these paths.
pub(super) async fn socket_proxy(engine: &Engine, allowed: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, socket) = (listener.local_addr().unwrap(), engine.socket());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move { pass(stream, &socket, allowed).await });
        }
    });
    address
}

async fn pass(mut client: TcpStream, socket: &Path, allowed: &[&str]) {
    let head = head(&mut client).await;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let is_allowed = allowed.iter().any(|part| path.split('?').next().unwrap().ends_with(part));
    if !head.starts_with("GET ") || !is_allowed {
        let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nForbidden";
        let _ = client.write_all(refusal.as_bytes()).await;
        return;
    }
    let mut engine = UnixStream::connect(socket).await.unwrap();
    engine.write_all(head.as_bytes()).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut engine).await;
}
