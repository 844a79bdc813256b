//! HTTP/2 frame by frame, for what no client library would send.

use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::rig::tls::connect;

/// What a client begins with (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header fields, without any compression.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(u8::try_from(length).unwrap());
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The fields of a good request, and more.
pub(crate) fn request(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", method),
        (":scheme", "https"),
        (":path", "/health"),
        (":authority", "localhost"),
    ];
    fields(&[&usual, more].concat())
}

/// A good request, whole.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", &[]))
}

/// What came of something that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// `GOAWAY` with this code.
    Goaway(u32),
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// An answer with this status.
    Status(u16),
    /// `PING` with the acknowledgement, and what was in it.
    Pong(Vec<u8>),
    /// The connection ended without a word.
    Closed,
    /// Nothing for a while.
    Silence,
}

/// A connection on which frames are written by hand.
pub(crate) struct Frames {
    stream: TlsStream<TcpStream>,
}

impl Frames {
    /// After the preface and settings, unless `begin` is another beginning.
    pub(crate) async fn open(
        addr: std::net::SocketAddr,
        mut config: ClientConfig,
        begin: Option<&[u8]>,
    ) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut stream = connect(addr, config, "localhost").await.unwrap();
        let usual = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        stream.write_all(begin.unwrap_or(&usual)).await.unwrap();
        Self { stream }
    }

    /// The other side may have closed already.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// What comes next of what counts. Of several streams, the one with the number `stream`.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let next = timeout(Duration::from_secs(10), self.next()).await;
            let Ok(next) = next else { return Outcome::Silence };
            let Some((kind, flags, on, payload)) = next else { return Outcome::Closed };
            match kind {
                // The first of two that end a connection gently has no error.
                GOAWAY if payload[4..8] != [0; 4] => {
                    return Outcome::Goaway(number(&payload[4..8]));
                }
                RST_STREAM if on == stream => return Outcome::Reset(number(&payload)),
                HEADERS if on == stream => return Outcome::Status(status(&payload)),
                PING if flags & ACK != 0 => return Outcome::Pong(payload),
                _ => {}
            }
        }
    }

    /// The next frame: its kind, flags, stream and payload; none after the last.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; number(&[0, head[0], head[1], head[2]]) as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], number(&head[5..9]) & 0x7fff_ffff, payload))
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// The status of an answer, which is its first field.
fn status(mut block: &[u8]) -> u16 {
    // A change of the table's size comes before it.
    while block[0] & 0xe0 == 0x20 {
        block = &block[1..];
    }
    // RFC 7541, appendix A: 8 to 14 are statuses.
    if let Some(known) = [200, 204, 206, 304, 400, 404, 500].get(usize::from(block[0]) ^ 0x88)
        && block[0] & 0x80 != 0
    {
        return *known;
    }
    assert!(matches!(block[0], 0x48 | 0x08), "no status: {block:x?}");
    let (packed, length) = (block[1] & 0x80 != 0, usize::from(block[1] & 0x7f));
    let text = &block[2..2 + length];
    if !packed {
        return std::str::from_utf8(text).unwrap().parse().unwrap();
    }
    // Appendix B: 0, 1 and 2 have five bits, the other digits six, from 011001 on.
    let bits: Vec<u8> =
        text.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let value =
            |bits: &[u8]| bits.iter().fold(0_u16, |value, bit| value << 1 | u16::from(*bit));
        let short = value(&bits[at..at + 5]);
        let (digit, size) =
            if short < 3 { (short, 5) } else { (value(&bits[at..at + 6]) - 0b01_1001 + 3, 6) };
        (at, status) = (at + size, status * 10 + digit);
    }
    status
}
