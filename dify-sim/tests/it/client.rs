//! A client that keeps every byte: heads as text, chunks one by one.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    pub(crate) interim: Vec<String>,
    pub(crate) head: String,
    pub(crate) chunks: Vec<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) complete: bool,
}

impl Client {
    pub(crate) async fn send(addr: SocketAddr, bytes: &[u8]) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        Self {
            stream,
            buffer: Vec::new(),
            interim: Vec::new(),
            head: String::new(),
            chunks: Vec::new(),
            body: Vec::new(),
            complete: false,
        }
    }

    /// Sends more on the same connection.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads more; false is the end.
    async fn more(&mut self) -> bool {
        let read =
            tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.buffer));
        matches!(read.await.expect("no answer within 20 s"), Ok(count) if count > 0)
    }

    /// Reads the head, interim answers before it apart.
    pub(crate) async fn read_head(&mut self) {
        while self.head.is_empty() {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                let head = String::from_utf8(head).unwrap();
                if head.starts_with("HTTP/1.1 100") {
                    self.interim.push(head);
                } else {
                    self.head = head;
                }
            } else if !self.more().await {
                return;
            }
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Reads up to so many chunks of a stream.
    pub(crate) async fn read_chunks(&mut self, count: usize) {
        self.read_head().await;
        while self.chunks.len() < count && !self.complete {
            let Some(end) = find(&self.buffer, b"\r\n") else {
                if !self.more().await {
                    return;
                }
                continue;
            };
            let size = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            while self.buffer.len() < end + 2 + size + 2 {
                if !self.more().await {
                    return;
                }
            }
            let chunk: Vec<u8> = self.buffer.drain(..end + 2 + size + 2).collect();
            let chunk = String::from_utf8(chunk[end + 2..end + 2 + size].to_vec()).unwrap();
            self.body.extend_from_slice(chunk.as_bytes());
            self.complete = size == 0;
            self.chunks.push(chunk);
        }
    }

    /// Reads the rest of the answer.
    pub(crate) async fn read_all(&mut self, method: &str) {
        self.read_head().await;
        if self.header("Transfer-Encoding") == Some("chunked") {
            return self.read_chunks(usize::MAX).await;
        }
        let no_body = method == "HEAD" || self.head.starts_with("HTTP/1.1 204");
        let length = self.header("Content-Length").and_then(|length| length.parse().ok());
        let length: Option<usize> = if no_body { Some(0) } else { length };
        match length {
            Some(length) => {
                while self.buffer.len() < length {
                    if !self.more().await {
                        return;
                    }
                }
                self.body = self.buffer.drain(..length).collect();
            }
            None => {
                while self.more().await {}
                self.body = std::mem::take(&mut self.buffer);
            }
        }
        self.complete = !self.head.is_empty();
    }

    /// Makes room for the next answer on the connection.
    pub(crate) fn forget_answer(&mut self) {
        self.head.clear();
        self.body.clear();
        self.chunks.clear();
        self.complete = false;
    }

    /// Bytes that were read and not used yet.
    pub(crate) fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing at all comes within this time.
    pub(crate) async fn is_silent(&mut self, within: Duration) -> bool {
        let read = tokio::time::timeout(within, self.stream.read_buf(&mut self.buffer));
        read.await.is_err()
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Whether the server closes the connection within this time; more bytes are a failure.
    pub(crate) async fn is_closed(&mut self, within: Duration) -> bool {
        assert!(self.buffer.is_empty(), "more than one answer");
        match tokio::time::timeout(within, self.stream.read_buf(&mut self.buffer)).await {
            Err(_) => false,
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(_)) => panic!("more than one answer"),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
