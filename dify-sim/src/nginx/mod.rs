//! nginx in front of the API, as Dify's Compose file sets it up; after its configuration, not
//! recorded.
//!
//! `/v1`, `/api`, `/console/api`, `/files` and, since 1.6, `/mcp` go to the API, all else to the web
//! page, `/health` and `/` among it. A body is taken in whole before the API hears of it, up to 15
//! MiB, since 1.6 100 MiB; answers are passed on piece by piece. Each request has a connection of its
//! own to the API, which is closed when the client leaves. Deliberately absent: TLS, compression, and
//! the timeout of an hour.

mod pages;
mod passing;

use crate::release::Release;
use crate::state::Shared;
use crate::wire::head::{self, Framing, Head};
use bytes::BytesMut;
use pages::{page, web};
use passing::forward;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Where the API listens behind it: a free port.
pub(crate) const API_ADDR: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// `proxy_connect_timeout`, in seconds of the set-up.
const CONNECT: u32 = 60;
/// `keepalive_timeout` of Dify's configuration.
const KEEP_ALIVE: Duration = Duration::from_secs(65);
const MEBIBYTE: u64 = 1024 * 1024;

/// nginx itself; it ends when this is dropped.
pub(crate) struct Nginx {
    addr: SocketAddr,
    listener: Option<TcpListener>,
    accepting: Option<JoinHandle<()>>,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(task) = &self.accepting {
            task.abort();
        }
    }
}

/// What nginx knows of what is behind it.
#[derive(Clone, Copy)]
struct Behind {
    api: SocketAddr,
    release: Release,
    /// How long it waits for the API to take a connection.
    patience: Duration,
    /// Where nginx itself listens.
    port: u16,
}

impl Nginx {
    /// # Errors
    /// That of the operating system, if it cannot bind or listen.
    pub(crate) async fn bind(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        Ok(Self { addr: listener.local_addr()?, listener: Some(listener), accepting: None })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Begins to serve, in front of this API.
    pub(crate) fn before(mut self, shared: &Arc<Shared>) -> Self {
        let behind = Behind {
            api: shared.addr,
            release: shared.setup.release,
            patience: shared.setup.pace.second * CONNECT,
            port: self.addr.port(),
        };
        if let Some(listener) = self.listener.take() {
            self.accepting = Some(tokio::spawn(accept(listener, behind)));
        }
        self
    }
}

async fn accept(listener: TcpListener, behind: Behind) {
    // Dropped with the task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(async move { drop(serve(stream, behind).await) });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves a client's connection until one side closes it.
async fn serve(mut client: TcpStream, behind: Behind) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    let mut buffer = BytesMut::new();
    loop {
        let head = loop {
            match head::read(&buffer, behind.release) {
                Ok(Some((head, length))) => {
                    let _ = buffer.split_to(length);
                    break head;
                }
                Ok(None) => {}
                Err(_) => return client.write_all(&page(400, "Bad Request")).await,
            }
            if timeout(KEEP_ALIVE, client.read_buf(&mut buffer)).await.unwrap_or(Ok(0))? == 0 {
                return Ok(());
            }
        };
        if matches!(head.framing, Framing::Length(length) if length > limit(behind.release)) {
            return client.write_all(&page(413, "Request Entity Too Large")).await;
        }
        if head.expects_continue() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let Some(body) = body(&mut client, &mut buffer, &head, limit(behind.release)).await? else {
            return client.write_all(&page(413, "Request Entity Too Large")).await;
        };
        if !goes_to_api(&head.path(), behind.release) {
            client.write_all(&web(&head)).await?;
        } else if let Stays::No = forward(&mut client, &mut buffer, &head, &body, behind).await? {
            return Ok(());
        }
        if !head.keep_alive() {
            return Ok(());
        }
    }
}

/// Whether a client's connection stays.
enum Stays {
    Yes,
    No,
}

fn limit(release: Release) -> u64 {
    if release == Release::V1_5 { 15 * MEBIBYTE } else { 100 * MEBIBYTE }
}

fn goes_to_api(path: &str, release: Release) -> bool {
    let locations = ["/console/api", "/api", "/v1", "/files"];
    locations.iter().any(|location| path.starts_with(location))
        || path.starts_with("/mcp") && release > Release::V1_5
}

/// The whole body; `None` if it is too long.
async fn body(
    client: &mut TcpStream,
    buffer: &mut BytesMut,
    head: &Head,
    limit: u64,
) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    match head.framing {
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            fill(client, buffer, length).await?;
            body.extend_from_slice(&buffer.split_to(length));
        }
        Framing::Chunked => loop {
            let size = chunk_size(client, buffer).await?;
            fill(client, buffer, size + 2).await?;
            body.extend_from_slice(&buffer.split_to(size));
            let _ = buffer.split_to(2);
            if size == 0 {
                break;
            }
            if body.len() as u64 > limit {
                return Ok(None);
            }
        },
    }
    Ok(Some(body))
}

async fn fill(stream: &mut TcpStream, buffer: &mut BytesMut, length: usize) -> io::Result<()> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Takes the line that begins a chunk.
async fn chunk_size(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n") {
            let line = buffer.split_to(end + 2);
            let digits = std::str::from_utf8(&line[..end]).unwrap_or_default();
            let digits = digits.split(';').next().unwrap_or_default().trim();
            return usize::from_str_radix(digits, 16)
                .map_err(|_| io::ErrorKind::InvalidData.into());
        }
        let wanted = buffer.len() + 1;
        fill(stream, buffer, wanted).await?;
    }
}
