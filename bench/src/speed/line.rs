//! A client's connection, as lean as it can be: a request is bytes that are ready, and of an answer
//! only status, length and end are looked at.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::speed::instance::ANSWER;

/// A connection that is kept.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// How the body of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// After so many bytes.
    After(usize),
    /// With an empty chunk.
    Chunked,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// Its length.
    pub bytes: usize,
    /// The status.
    pub status: u16,
    /// Where the body ends.
    pub ends: Ends,
    /// Which instance says that it answered.
    pub instance: Option<usize>,
}

/// What an answer has to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 200 with the instance's [`ANSWER`] bytes.
    Ordinary,
    /// 200 with at least so many bytes, where the contender makes the answer itself.
    Made(usize),
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// What went wrong, in a word or two.
    pub async fn open(target: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(target).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, buffer: Vec::with_capacity(2048) })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, request: &[u8]) -> Result<(), String> {
        self.stream.write_all(request).await.map_err(|_| "connection broke".to_owned())
    }

    /// Reads a head; what came behind it is kept.
    ///
    /// # Errors
    /// The connection broke, or this is no head.
    pub async fn head(&mut self) -> Result<Head, String> {
        self.buffer.clear();
        loop {
            self.more().await?;
            if let Some(head) = head_of(&self.buffer)? {
                return Ok(head);
            }
        }
    }

    /// Sends a request and reads its answer; gives the instance that says it answered.
    ///
    /// # Errors
    /// The connection broke, or the answer is not as expected.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        expected: Expected,
    ) -> Result<Option<usize>, String> {
        self.send(request).await?;
        self.answer(expected).await
    }

    /// The second half of [`Line::exchange`].
    ///
    /// # Errors
    /// The connection broke, or the answer is not as expected.
    pub async fn answer(&mut self, expected: Expected) -> Result<Option<usize>, String> {
        let head = self.head().await?;
        let body = match head.ends {
            Ends::After(length) => {
                while self.buffer.len() < head.bytes + length {
                    self.more().await?;
                }
                length
            }
            Ends::Chunked => {
                while !self.buffer.ends_with(b"0\r\n\r\n") {
                    self.more().await?;
                }
                self.buffer.len() - head.bytes
            }
        };
        let right = match expected {
            Expected::Ordinary => body == ANSWER,
            Expected::Made(least) => body >= least,
        };
        if head.status == 200 && right {
            return Ok(head.instance);
        }
        let text = self.buffer.get(head.bytes..).unwrap_or_default();
        let text: String = String::from_utf8_lossy(text).chars().take(120).collect();
        Err(format!("status {} with {body} bytes: {text}", head.status))
    }

    /// What came since the head or since the last call, at least a byte of it.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn piece(&mut self) -> Result<&[u8], String> {
        self.buffer.clear();
        self.more().await?;
        Ok(&self.buffer)
    }

    async fn more(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("connection closed".to_owned()),
            Ok(_) => Ok(()),
            Err(_) => Err("connection broke".to_owned()),
        }
    }
}

fn head_of(buffer: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let bytes = match answer.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("no HTTP: {error}")),
    };
    let number = |name: &str| {
        let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()?.parse().ok()
    };
    Ok(Some(Head {
        bytes,
        status: answer.code.unwrap_or_default(),
        ends: number("content-length").map_or(Ends::Chunked, Ends::After),
        instance: number("x-instance"),
    }))
}
