//! nginx in front of the API, as Dify's Compose file sets it up; after its configuration, not
//! recorded.
//!
//! `/v1`, `/api`, `/console/api`, `/files` and, since 1.6, `/mcp` go to the API, all else to the web
//! page, `/health` and `/` among it. A body is taken in whole before the API hears of it, up to 15
//! MiB, since 1.6 100 MiB; answers are passed on piece by piece. Each request has a connection of its
//! own to the API, which is closed when the client leaves. Deliberately absent: TLS, compression, and
//! the timeout of an hour.

use crate::release::Release;
use crate::state::Shared;
use crate::wire::head::{self, Framing, Head};
use bytes::BytesMut;
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
/// `proxy_connect_timeout`.
const CONNECT: Duration = Duration::from_secs(60);
/// `keepalive_timeout` of Dify's configuration.
const KEEP_ALIVE: Duration = Duration::from_secs(65);
const MEBIBYTE: u64 = 1024 * 1024;
/// What ends a chunked body, after the data of another chunk or the head.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
const SERVER: &str = "nginx/1.29.0";

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
        let behind = Behind { api: shared.addr, release: shared.setup.release };
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

/// One of nginx's own pages, after which it closes.
fn page(status: u16, reason: &str) -> Vec<u8> {
    let body = format!(
        "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<center><h1>{status} \
         {reason}</h1></center>\r\n<hr><center>{SERVER}</center>\r\n</body>\r\n</html>\r\n"
    );
    html(status, reason, "close", &body)
}

fn html(status: u16, reason: &str, connection: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} {reason}\r\nServer: {SERVER}\r\nContent-Type: text/html; \
         charset=utf-8\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The web page, which knows no `/health`.
fn web(head: &Head) -> Vec<u8> {
    let known = matches!(head.path().as_str(), "/" | "/apps" | "/signin" | "/install");
    let (status, reason) = if known { (200, "OK") } else { (404, "Not Found") };
    let title = if known { "Dify" } else { "404: This page could not be found." };
    let connection = if head.keep_alive() { "keep-alive" } else { "close" };
    let body =
        format!("<!DOCTYPE html><html lang=\"en-US\"><head><title>{title}</title></head></html>");
    let mut bytes = html(status, reason, connection, &body);
    if head.method == "HEAD" {
        bytes.truncate(bytes.len() - body.len());
    }
    bytes
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

/// Passes a request on, and its answer back.
async fn forward(
    client: &mut TcpStream,
    early: &mut BytesMut,
    head: &Head,
    body: &[u8],
    behind: Behind,
) -> io::Result<Stays> {
    let mut api = match timeout(CONNECT, TcpStream::connect(behind.api)).await {
        Ok(Ok(api)) => api,
        Ok(Err(_)) => {
            client.write_all(&page(502, "Bad Gateway")).await?;
            return Ok(Stays::No);
        }
        Err(_) => {
            client.write_all(&page(504, "Gateway Time-out")).await?;
            return Ok(Stays::No);
        }
    };
    let _ = api.set_nodelay(true);
    let mut text = format!("{} {} HTTP/1.1\r\n", head.method, head.target);
    let hop = ["connection", "content-length", "transfer-encoding", "expect", "x-forwarded-proto"];
    for (name, value) in &head.headers {
        if !hop.contains(&name.to_ascii_lowercase().as_str()) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str(&format!("X-Forwarded-Proto: http\r\nContent-Length: {}\r\n\r\n", body.len()));
    let sent = async {
        api.write_all(text.as_bytes()).await?;
        api.write_all(body).await
    };
    if sent.await.is_err() {
        client.write_all(&page(502, "Bad Gateway")).await?;
        return Ok(Stays::No);
    }
    let answered = tokio::select! {
        answered = answer(&mut api, head) => answered,
        () = left(client, early) => return Ok(Stays::No),
    };
    match answered {
        Some(answer) => pass(&mut api, client, early, head, answer).await,
        None => {
            client.write_all(&page(502, "Bad Gateway")).await?;
            Ok(Stays::No)
        }
    }
}

/// Ends when the client has left; what it sends ahead is kept.
async fn left(client: &mut TcpStream, early: &mut BytesMut) {
    while client.read_buf(early).await.is_ok_and(|read| read > 0) {}
}

/// The head of an answer as nginx gives it, and what came of the body.
struct Answered {
    head: String,
    rest: BytesMut,
    length: Option<usize>,
}

/// Reads the head of an answer; `None` if the API closed before it was whole.
async fn answer(api: &mut TcpStream, head: &Head) -> Option<Answered> {
    let mut rest = BytesMut::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&rest, b"\r\n\r\n") {
            break end;
        }
        match api.read_buf(&mut rest).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    };
    let text = String::from_utf8_lossy(&rest.split_to(end + 4)).into_owned();
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let connection = if head.keep_alive() { "keep-alive" } else { "close" };
    let mut shown = format!("{status}\r\nServer: {SERVER}\r\n");
    let mut length = (head.method == "HEAD" || status.contains(" 204 ")).then_some(0);
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        match name {
            "Server" | "Connection" => continue,
            "Content-Length" if length.is_none() => length = value.parse().ok(),
            _ => {}
        }
        shown.push_str(&format!("{line}\r\n"));
    }
    shown.push_str(&format!("Connection: {connection}\r\n\r\n"));
    Some(Answered { head: shown, rest, length })
}

/// Passes an answer on, each piece as it comes, until its end or until the client has left.
async fn pass(
    api: &mut TcpStream,
    client: &mut TcpStream,
    early: &mut BytesMut,
    head: &Head,
    answer: Answered,
) -> io::Result<Stays> {
    let Answered { head: shown, mut rest, length } = answer;
    client.write_all(shown.as_bytes()).await?;
    let chunked = length.is_none() && shown.contains("Transfer-Encoding: chunked");
    let mut left = length.unwrap_or(usize::MAX);
    let mut tail = b"\r\n".to_vec();
    loop {
        let piece = rest.split_to(rest.len().min(left));
        tail.extend_from_slice(&piece);
        tail.drain(..tail.len().saturating_sub(LAST_CHUNK.len()));
        let over = chunked && tail == LAST_CHUNK;
        left -= piece.len();
        client.write_all(&piece).await?;
        if over || left == 0 {
            return Ok(if head.keep_alive() { Stays::Yes } else { Stays::No });
        }
        tokio::select! {
            read = api.read_buf(&mut rest) => match read {
                Ok(0) | Err(_) => return Ok(Stays::No),
                Ok(_) => {}
            },
            read = client.read_buf(early) => if read? == 0 {
                return Ok(Stays::No);
            },
        }
    }
}
