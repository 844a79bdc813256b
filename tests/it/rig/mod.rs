//! A landscape for one test: simulated Difys, a gateway before them, a client.

pub(crate) mod certs;
pub(crate) mod process;
pub(crate) mod redis_server;
pub(crate) mod tls;

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use dify_sim::{App, Dify, Fault, Mode, Release, Served, Setup};
use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use difygate::telemetry::{Destination, Format};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The user token of every rig's first app, `shop`.
pub(crate) const TOKEN: &str = "usertoken--shop";

/// Difys `dify1`, `dify2`, … and a gateway before them.
pub(crate) struct Rig {
    pub difys: Vec<Dify>,
    pub gateway: Gateway,
    pub config_path: PathBuf,
    _folder: TempDir,
}

/// A second gateway before a rig's Difys.
pub(crate) struct Beside {
    gateway: Gateway,
    log: PathBuf,
    _folder: TempDir,
}

impl Beside {
    /// Where its clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.gateway.listen()
    }

    /// Sends a request to it on a connection of its own.
    pub(crate) async fn send(&self, request: Request<impl Into<Bytes>>) -> Answer {
        send(self.gateway.listen(), request).await
    }

    /// Ends it; the lines of its access log.
    pub(crate) async fn logged(self) -> Vec<Value> {
        self.gateway.drain().await;
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until its `/status` says so of an instance.
    pub(crate) async fn until(&self, app: &str, instance: &str, status: &str) {
        until(self.gateway.admin(), app, instance, status).await;
    }
}

/// Waits until `/status` says so of an instance.
pub(crate) async fn until(admin: SocketAddr, app: &str, instance: &str, status: &str) {
    let reached = async {
        loop {
            let now = send(admin, Request::get("/status").body("").unwrap()).await.json();
            if now["applications"][app]["instances"][instance]["status"] == status {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(10), reached).await.unwrap();
}

/// What a rig is made of.
pub(crate) struct Plan {
    difys: Vec<Setup>,
    /// Top-level lines of the configuration.
    pub settings: String,
    /// Added to each instance, such as `, max_concurrent: 2`.
    pub instance_settings: String,
}

impl Plan {
    /// `count` Difys with a chat app, a chatflow and a workflow, all fast.
    pub(crate) fn new(count: usize) -> Self {
        let setup = |number| {
            Setup::default()
                .with_release(release())
                .with_app(
                    App::new(Mode::Chat, format!("app-shop-{number}"))
                        .with_uploads(["image", "document"]),
                )
                .with_app(App::new(Mode::Workflow, format!("app-flow-{number}")))
                .with_slots(1000)
        };
        Self {
            difys: (1..=count).map(setup).collect(),
            settings: String::new(),
            instance_settings: String::new(),
        }
    }

    /// Adds top-level lines.
    pub(crate) fn with(mut self, settings: &str) -> Self {
        self.settings.push_str(settings);
        self.settings.push('\n');
        self
    }

    /// Adds to each instance.
    pub(crate) fn with_instances(mut self, settings: &str) -> Self {
        self.instance_settings.push_str(settings);
        self
    }

    /// Changes every Dify.
    pub(crate) fn with_difys(mut self, change: impl Fn(Setup) -> Setup) -> Self {
        self.difys = self.difys.into_iter().map(change).collect();
        self
    }

    /// Asks no instance whether it answers.
    pub(crate) fn without_probes(self) -> Self {
        self.with("probe: { enabled: false }")
    }

    /// Starts it all.
    pub(crate) async fn start(self) -> Rig {
        let mut difys = Vec::new();
        for setup in self.difys {
            difys.push(Dify::start(setup).await.unwrap());
        }
        let folder = tempfile::tempdir().unwrap();
        let config_path = folder.path().join("difygate.yaml");
        let text = configuration(&difys, &self.settings, &self.instance_settings);
        std::fs::write(&config_path, &text).unwrap();
        let environment = Environment::default();
        let loaded = config::load(&config_path, &environment)
            .unwrap_or_else(|findings| panic!("{findings}\n{text}"));
        let gateway = Gateway::start(loaded.config, config_path.clone(), None).await.unwrap();
        Rig { difys, gateway, config_path, _folder: folder }
    }
}

/// The Dify that is simulated: the newest, or the one that the environment names. Tests about ids, streams,
/// runs, probes and AI endpoints run against both generations (`make test`).
pub(crate) fn release() -> Release {
    let named = std::env::var("DIFYGATE_TEST_DIFY");
    named.map_or(Release::default(), |name| name.parse().unwrap())
}

/// A configuration with the apps `shop` and `flow` over all Difys.
pub(crate) fn configuration(difys: &[Dify], settings: &str, instance_settings: &str) -> String {
    let own = settings.lines().any(|line| line.starts_with("listen:"));
    let listen = if own { "" } else { "listen: 127.0.0.1:0\n" };
    let mut text = format!("{listen}admin: {{ listen: 127.0.0.1:0 }}\n{settings}apps:\n");
    for app in ["shop", "flow"] {
        writeln!(text, "  {app}:\n    user_tokens: [usertoken--{app}]\n    instances:").unwrap();
        for (number, dify) in (1..).zip(difys) {
            let url = dify.url();
            writeln!(
                text,
                "      - {{ name: dify{number}, url: \"{url}\", token: app-{app}-{number}{instance_settings} }}"
            )
            .unwrap();
        }
    }
    text
}

impl Rig {
    /// `count` fast Difys and defaults.
    pub(crate) async fn start(count: usize) -> Self {
        Plan::new(count).start().await
    }

    /// A second gateway with the same configuration, which knows nothing of what the first learned.
    pub(crate) async fn beside(&self) -> Beside {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("difygate.yaml");
        std::fs::copy(&self.config_path, &path).unwrap();
        let loaded = config::load(&path, &Environment::default()).unwrap();
        let log = folder.path().join("access.log");
        let told = Some((Format::Json, Destination::File(log.clone())));
        let gateway = Gateway::start(loaded.config, path, told).await.unwrap();
        Beside { gateway, log, _folder: folder }
    }

    /// Where clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.gateway.listen()
    }

    /// Sends a request to the gateway on a connection of its own.
    pub(crate) async fn send(&self, request: Request<impl Into<Bytes>>) -> Answer {
        send(self.addr(), request).await
    }

    /// A blocking chat turn of a user.
    pub(crate) async fn chat(&self, user: &str) -> Answer {
        self.send(chat(user)).await
    }

    /// The name of the instance that answers a user.
    pub(crate) async fn instance_of(&self, user: &str) -> String {
        let answer = self.chat(user).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.instance()
    }

    /// The Dify of that name.
    pub(crate) fn dify(&self, name: &str) -> &Dify {
        let number: usize = name.strip_prefix("dify").unwrap().parse().unwrap();
        &self.difys[number - 1]
    }

    /// Closes an instance's listening socket, and waits until the gateway has no connection left there:
    /// a POST on one that is just being closed would be a 502.
    pub(crate) async fn refuse(&self, name: &str) {
        self.dify(name).set_fault(Fault::Refused).await.unwrap();
        self.until_status(|status| !is_connected(status, name)).await;
    }

    /// Waits until the gateway has dropped its idle connections to all instances.
    pub(crate) async fn until_disconnected(&self) {
        let names = || (1..=self.difys.len()).map(|number| format!("dify{number}"));
        self.until_status(|status| !names().any(|name| is_connected(status, &name))).await;
    }

    /// Waits until `/status` says so.
    pub(crate) async fn until_status(&self, is_so: impl Fn(&Value) -> bool) {
        let so = async {
            while !is_so(&self.status().await) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), so).await.unwrap();
    }

    /// `/status` of the admin listener.
    pub(crate) async fn status(&self) -> Value {
        send(self.gateway.admin(), Request::get("/status").body("").unwrap()).await.json()
    }

    /// Requests that each Dify has served, without the gateway's probes.
    pub(crate) fn served(&self) -> Vec<usize> {
        self.difys.iter().map(|dify| requests(dify).len()).collect()
    }
}

/// Whether any app has a connection to an instance.
fn is_connected(status: &Value, instance: &str) -> bool {
    let apps = status["applications"].as_object().unwrap();
    apps.values().any(|app| {
        let connections = &app["instances"][instance]["connections"];
        !connections.is_null() && connections != 0
    })
}

/// Whether an event of this name stands in a stream: newer Dify writes no blank after a colon.
pub(crate) fn has_event(stream: &str, name: &str) -> bool {
    [": ", ":"].iter().any(|colon| stream.contains(&format!("\"event\"{colon}\"{name}\"")))
}

/// What a Dify has served, without the gateway's probes.
pub(crate) fn requests(dify: &Dify) -> Vec<Served> {
    dify.served().into_iter().filter(|served| served.path != "/v1/").collect()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The instance that answered.
    pub(crate) fn instance(&self) -> String {
        self.header("x-difygate-instance").unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

/// A request with the rig's token.
pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {TOKEN}"))
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, body: &Value) -> Request<Bytes> {
    let request = request("POST", path).header("content-type", "application/json");
    request.body(body.to_string().into()).unwrap()
}

/// A blocking chat turn.
pub(crate) fn chat(user: &str) -> Request<Bytes> {
    let body = json!({ "inputs": {}, "query": "hello", "response_mode": "blocking", "user": user });
    post("/v1/chat-messages", &body)
}

/// A streamed chat turn with `tokens` tokens, `gap_s` seconds apart.
pub(crate) fn stream(user: &str, tokens: u32, gap_s: f64) -> Request<Bytes> {
    let query = format!("tokens {tokens} {gap_s}");
    let body = json!({ "inputs": {}, "query": query, "response_mode": "streaming", "user": user });
    post("/v1/chat-messages", &body)
}

/// Sends a request on a connection of its own and reads the whole answer.
pub(crate) async fn send(addr: SocketAddr, request: Request<impl Into<Bytes>>) -> Answer {
    try_send(addr, request).await.unwrap()
}

/// The same, for answers that may break off.
pub(crate) async fn try_send(
    addr: SocketAddr,
    request: Request<impl Into<Bytes>>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = open(addr, request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// Sends a request and gives the answer with its body still to come.
pub(crate) async fn open(
    addr: SocketAddr,
    request: Request<impl Into<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = request.map(|body| Full::new(body.into()));
    let host = addr.to_string();
    request.headers_mut().entry("host").or_insert(host.try_into().unwrap());
    sender.send_request(request).await
}

/// Writes bytes to the gateway as they are and reads until it closes.
pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A multipart form with boundary `rig`: `(name, filename, content)`.
pub(crate) fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, filename, content) in parts {
        body.extend_from_slice(b"--rig\r\nContent-Disposition: form-data; name=\"");
        body.extend_from_slice(name.as_bytes());
        body.push(b'"');
        if let Some(filename) = filename {
            body.extend_from_slice(
                format!("; filename=\"{filename}\"\r\nContent-Type: text/plain").as_bytes(),
            );
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--rig--\r\n");
    body
}

/// An upload with such a form.
pub(crate) fn upload(parts: &[(&str, Option<&str>, &[u8])]) -> Request<Vec<u8>> {
    let request = request("POST", "/v1/files/upload");
    request.header("content-type", "multipart/form-data; boundary=rig").body(form(parts)).unwrap()
}
