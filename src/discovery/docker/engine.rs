//! Requests to an engine: GET alone, each on a connection of its own.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::address::EngineAddress;
use super::error::EngineError;
use super::settings::Selection;
use super::wire::{Container, Event, Refusal, Version};

/// Most bytes of a list: a container takes about 3 KB.
const MAX_ANSWER: usize = 16 << 20;
/// Most bytes of one event, which carries all labels of its container.
const MAX_EVENT: usize = 1 << 20;
/// Most bytes of a refusal that are read, and of its text that is passed on.
const MAX_REFUSAL: usize = 4096;
const MAX_MESSAGE: usize = 200;

/// The oldest and the newest version of the API that this is written for. All that is used is in both.
const OLDEST_API: (u32, u32) = (1, 41);
const NEWEST_API: (u32, u32) = (1, 53);

/// What of the stream is wanted. Health checks make most of the rest (`exec_start` and the like).
const EVENTS: &[&str] = &[
    "start",
    "kill",
    "die",
    "stop",
    "destroy",
    "pause",
    "unpause",
    "rename",
    "health_status",
    "connect",
    "disconnect",
];

/// An engine that is asked.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    address: EngineAddress,
    /// How long it has for an answer.
    limit: Duration,
}

/// Ends a connection with what it is used for.
struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    task: Abort,
}

struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    pub(super) fn new(address: EngineAddress, limit: Duration) -> Self {
        Self { address, limit }
    }

    /// The version to ask in, as a path: `/v1.41`. The engine's own, or what this is written for if that
    /// is older; an engine that has ceased to speak that is asked in the oldest that it does.
    ///
    /// # Errors
    /// It cannot be asked, or is too old.
    pub(super) async fn negotiate(&self) -> Result<String, EngineError> {
        let version: Version = self.get("/version").await?;
        let Some(spoken) = number(&version.api).filter(|spoken| *spoken >= OLDEST_API) else {
            let engine = self.address.to_string();
            return Err(EngineError::TooOld { engine, version: version.api });
        };
        let oldest = number(&version.oldest_api).unwrap_or(OLDEST_API);
        let (major, minor) = spoken.min(NEWEST_API).max(oldest);
        Ok(format!("/v{major}.{minor}"))
    }

    /// The running and paused containers of a selection.
    ///
    /// # Errors
    /// It cannot be asked, or its answer cannot be read.
    pub(super) async fn containers(
        &self,
        version: &str,
        selection: &Selection,
    ) -> Result<Vec<Container>, EngineError> {
        let labels = selection.labels().into_iter().map(|(key, value)| format!("{key}={value}"));
        let labels: Vec<_> = labels.collect();
        let filters = query(&serde_json::json!({ "label": labels }));
        self.get(&format!("{version}/containers/json?{filters}")).await
    }

    /// The stream of what happens from now on.
    ///
    /// # Errors
    /// It cannot be asked.
    pub(super) async fn events(&self, version: &str) -> Result<Events, EngineError> {
        let wanted = serde_json::json!({ "type": ["container", "network"], "event": EVENTS });
        let path = format!("{version}/events?{}", query(&wanted));
        let (body, task) = self.within(&path, self.ask(&path)).await?;
        Ok(Events { engine: self.address.to_string(), body, read: BytesMut::new(), _task: task })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let read = async {
            let (body, _task) = self.ask(path).await?;
            let whole = Limited::new(body, MAX_ANSWER).collect().await;
            let whole = whole.map_err(|error| self.malformed(path, error.as_ref()))?;
            serde_json::from_reader(whole.aggregate().reader())
                .map_err(|error| self.malformed(path, &error))
        };
        self.within(path, read).await
    }

    async fn within<T>(
        &self,
        path: &str,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        timeout(self.limit, work).await.unwrap_or_else(|_| {
            let (engine, path) = (self.address.to_string(), plain(path));
            Err(EngineError::Timeout { engine, path, limit: self.limit })
        })
    }

    /// Sends a request; the body of a good answer, and what ends its connection.
    async fn ask(&self, path: &str) -> Result<(Incoming, Abort), EngineError> {
        let Connection { mut sender, task } = self.connect().await?;
        let request = Request::get(path)
            .header(header::HOST, "docker")
            .header(header::USER_AGENT, "difygate")
            .body(Empty::new())
            .map_err(|error| self.malformed(path, &error))?;
        let answer = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok((answer.into_body(), task));
        }
        let body = Limited::new(answer.into_body(), MAX_REFUSAL).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let message = match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => refusal.message,
            Err(_) => String::from_utf8_lossy(&body).trim().to_owned(),
        };
        let message = message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
        let (engine, path) = (self.address.to_string(), plain(path));
        Err(EngineError::Status { engine, path, status: status.as_u16(), message })
    }

    async fn connect(&self) -> Result<Connection, EngineError> {
        match &self.address {
            EngineAddress::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => self.handshake(stream).await,
                Err(error) => Err(EngineError::of_connect(&self.address, &error)),
            },
            EngineAddress::Tcp(address) => match TcpStream::connect(address).await {
                Ok(stream) => self.handshake(stream).await,
                // A name that is not there is no missing socket.
                Err(error) => Err(self.broken(&error)),
            },
        }
    }

    async fn handshake<S>(&self, stream: S) -> Result<Connection, EngineError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        // How it ends, the request or its body says.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Connection { sender, task: Abort(task) })
    }

    /// hyper says no more than that there was an error; what it was is behind that.
    fn broken(&self, error: &dyn std::error::Error) -> EngineError {
        let cause = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        EngineError::Unreachable { engine: self.address.to_string(), cause }
    }

    fn malformed(&self, path: &str, error: &dyn std::error::Error) -> EngineError {
        let (engine, path) = (self.address.to_string(), plain(path));
        EngineError::Malformed { engine, path, cause: error.to_string() }
    }
}

/// A stream of events, one JSON object a line.
pub(super) struct Events {
    engine: String,
    body: Incoming,
    read: BytesMut,
    _task: Abort,
}

impl Events {
    /// The next event. Nothing is lost if this is dropped before it is ready.
    ///
    /// # Errors
    /// The stream ended or cannot be read.
    pub(super) async fn next(&mut self) -> Result<Event, EngineError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.read) {
                let line = self.read.split_to(end + 1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line)
                    .map_err(|error| self.malformed(&error.to_string()));
            }
            if self.read.len() > MAX_EVENT {
                return Err(self.malformed("an event of more than 1 MiB"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) | None => {
                    return Err(EngineError::EventsEnded { engine: self.engine.clone() });
                }
            }
        }
    }

    fn malformed(&self, cause: &str) -> EngineError {
        let (path, cause) = ("/events".to_owned(), cause.to_owned());
        EngineError::Malformed { engine: self.engine.clone(), path, cause }
    }
}

fn query(filters: &serde_json::Value) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("filters", &filters.to_string())
        .finish()
}

/// A path for people: without its filters.
fn plain(path: &str) -> String {
    path.split('?').next().unwrap_or(path).to_owned()
}

/// `1.41` as a pair, which compares as versions do.
fn number(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
