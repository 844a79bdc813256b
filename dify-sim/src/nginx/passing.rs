//! Requests on their way to the API, and its answers on their way back.

use super::pages::{SERVER, page};
use super::{Behind, Stays};
use crate::wire::head::Head;
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What ends a chunked body, after the data of another chunk or the head.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Passes a request on, and its answer back.
pub(super) async fn forward(
    client: &mut TcpStream,
    early: &mut BytesMut,
    head: &Head,
    body: &[u8],
    behind: Behind,
) -> io::Result<Stays> {
    let mut api = match timeout(behind.patience, TcpStream::connect(behind.api)).await {
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
    let passed_on = passed_on(head, body.len(), client.peer_addr()?, behind.port);
    let sent = async {
        api.write_all(passed_on.as_bytes()).await?;
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

/// The head of a request as nginx gives it to the API.
fn passed_on(head: &Head, length: usize, client: SocketAddr, port: u16) -> String {
    let own = [
        "connection",
        "content-length",
        "transfer-encoding",
        "expect",
        "x-forwarded-for",
        "x-forwarded-port",
        "x-forwarded-proto",
    ];
    let mut text = format!("{} {} HTTP/1.{}\r\n", head.method, head.target, head.minor);
    for (name, value) in &head.headers {
        if !own.contains(&name.to_ascii_lowercase().as_str()) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let before = head.header("x-forwarded-for").map(|before| format!("{before}, "));
    text.push_str(&format!(
        "X-Forwarded-For: {}{}\r\nX-Forwarded-Port: {port}\r\nX-Forwarded-Proto: http\r\n\
         Content-Length: {length}\r\n\r\n",
        before.unwrap_or_default(),
        client.ip()
    ));
    text
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
