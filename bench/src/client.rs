//! Clients: a few that keep their connections, and now and then one that does not.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Connections that are kept for the next request.
const KEPT: usize = 16;

type Connection = SendRequest<Full<Bytes>>;

/// Those who send requests to one address.
#[derive(Debug)]
pub struct Clients {
    target: SocketAddr,
    idle: Mutex<Vec<Connection>>,
}

/// Whether a request takes a kept connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// One that is idle, if there is one.
    Kept,
    /// A new one.
    Fresh,
}

/// A whole answer: complete by its own framing.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Clients {
    /// Clients of this address.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self { target, idle: Mutex::default() }
    }

    /// Sends a request and reads the whole answer within `limit`.
    ///
    /// # Errors
    /// What the client noticed, in a word or two.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        via: Via,
        limit: Duration,
    ) -> Result<Answer, String> {
        let whole = async {
            let (connection, answer) = self.open(request, via).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|_| "answer cut".to_owned())?.to_bytes();
            self.keep(connection).await;
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(limit, whole).await.unwrap_or_else(|_| Err("timeout".to_owned()))
    }

    /// Sends a request and gives the answer with its body to come; dropping both is a disconnect.
    ///
    /// # Errors
    /// What the client noticed, in a word or two.
    pub async fn open(
        &self,
        mut request: Request<Full<Bytes>>,
        via: Via,
    ) -> Result<(Connection, Response<Incoming>), String> {
        let kept = if via == Via::Kept { self.idle().await } else { None };
        if let Some(mut connection) = kept {
            match connection.try_send_request(request).await {
                Ok(answer) => return Ok((connection, answer)),
                // Closed while it was idle, as a server may: a client takes another one.
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err("connection closed".to_owned()),
                },
            }
        }
        let stream = TcpStream::connect(self.target).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let (mut connection, io) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(io);
        let answer = connection.send_request(request).await;
        Ok((connection, answer.map_err(|_| "connection closed".to_owned())?))
    }

    async fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().await;
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().await;
        if idle.len() < KEPT {
            idle.push(connection);
        }
    }
}
