//! An answer on its way to the client: its head and what of its body is ready, in one write.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version, response};
use http_body::Body as _;

use super::fill::Gear;
use super::instance::says_close;
use super::line::Line;
use crate::gateway::client::Ending;
use crate::gateway::stream::Outgoing;

/// Pieces up to this size are put together before they are written; larger ones are not copied.
const SMALL_BYTES: usize = 4 * 1024;
/// How much is put together at most.
const GATHERED_BYTES: usize = 16 * 1024;

/// What of a request an answer's form depends on.
pub(super) struct Manner {
    pub(super) method: Method,
    pub(super) version: Version,
}

/// Whether the connection outlives an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stays {
    Open,
    /// The client speaks HTTP/1.0 and has to be told.
    SaysSo,
    Closes,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The connection can carry another request.
    Whole,
    /// The connection has carried its last.
    Last,
}

/// How the end of a body is shown (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is none.
    None,
    /// By its length.
    Length(u64),
    Chunked,
    /// By closing.
    Close,
}

/// Sends an answer.
///
/// # Errors
/// The connection was asked to end.
pub(super) async fn tell(
    line: &Line,
    answer: Response<Outgoing>,
    manner: Manner,
    stays: Stays,
) -> Result<Told, Ending> {
    let (head, body) = answer.into_parts();
    let framing = framing(&head, &body, &manner);
    let mut telling = Telling {
        line,
        head: Some((head, manner)),
        body: Some(body),
        framing,
        stays,
        is_whole: false,
    };
    if telling.framing == Framing::Close || telling.says_close() || !line.is_whole() {
        telling.stays = Stays::Closes;
    }
    let done = poll_fn(|context| {
        match line.client.asked_to_end(context) {
            // It is told too late to be said in the head; the connection closes all the same.
            Some(Ending::Drain) => telling.stays = Stays::Closes,
            Some(ending) => return Poll::Ready(Err(ending)),
            None => {}
        }
        telling.poll(context).map(Ok)
    });
    let last = done.await?.is_err() || telling.stays == Stays::Closes;
    Ok(if last { Told::Last } else { Told::Whole })
}

struct Telling<'a> {
    line: &'a Line,
    /// Until it is written.
    head: Option<(response::Parts, Manner)>,
    /// Until all of it has been read.
    body: Option<Outgoing>,
    framing: Framing,
    stays: Stays,
    /// All of the body has been given to the socket.
    is_whole: bool,
}

/// What is to be sent after what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    /// Perhaps something, or the end.
    More,
    /// Nothing yet: it wakes who waits.
    Nothing,
}

/// The next of a body.
enum Piece {
    Data(Bytes),
    End,
    /// It broke off.
    Cut,
    /// It is still to come.
    Later,
}

impl Telling<'_> {
    fn says_close(&self) -> bool {
        self.head.as_ref().is_some_and(|(head, _)| says_close(&head.headers))
    }

    /// Ready when all is sent. An error means that it is not, and that nobody can be told.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.line.poll_sent(context))?;
            if self.is_whole {
                return Poll::Ready(Ok(()));
            }
            if self.send(context)? == Ahead::Nothing {
                // What was sent last may not all be taken.
                ready!(self.line.poll_sent(context))?;
                return match self.line.poll_gone(context) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    Poll::Pending => Poll::Pending,
                };
            }
        }
    }

    /// Sends what is ready.
    fn send(&mut self, context: &mut Context<'_>) -> io::Result<Ahead> {
        let (line, mut ahead) = (self.line, Ahead::More);
        line.gear.compose(|out| {
            if let Some((head, manner)) = self.head.take() {
                write_head(out, &line.gear, (&head, &manner), (self.framing, self.stays));
                self.is_whole = self.framing == Framing::None;
            }
            let (mut large, mut last): (Bytes, &[u8]) = (Bytes::new(), b"");
            let mut cut = false;
            while !self.is_whole && !cut && large.is_empty() && out.len() < GATHERED_BYTES {
                match self.next(context) {
                    Piece::Data(data) => {
                        if self.framing == Framing::Chunked {
                            chunk_begins(out, data.len());
                        }
                        if data.len() <= SMALL_BYTES {
                            out.extend_from_slice(&data);
                            if self.framing == Framing::Chunked {
                                out.extend_from_slice(b"\r\n");
                            }
                        } else {
                            large = data;
                            if self.framing == Framing::Chunked {
                                last = b"\r\n";
                            }
                        }
                    }
                    Piece::End => {
                        if self.framing == Framing::Chunked {
                            out.extend_from_slice(b"0\r\n\r\n");
                        }
                        self.is_whole = true;
                    }
                    Piece::Cut => cut = true,
                    Piece::Later => {
                        ahead = Ahead::Nothing;
                        break;
                    }
                }
            }
            if self.is_whole && large.is_empty() {
                // What is to be noted of the request is noted before the client can know its end.
                self.body = None;
            }
            if !out.is_empty() || !large.is_empty() {
                line.send(context, (out, large, last))?;
            }
            if cut {
                line.client.answer_cut();
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(ahead)
        })
    }

    fn next(&mut self, context: &mut Context<'_>) -> Piece {
        let Some(body) = self.body.as_mut().filter(|_| self.framing != Framing::Length(0)) else {
            return Piece::End;
        };
        let data = match Pin::new(body).poll_frame(context) {
            Poll::Pending => return Piece::Later,
            Poll::Ready(Some(Err(_))) => return Piece::Cut,
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            // Less than the head promised is a cut; all of it was seen to before.
            Poll::Ready(None) if matches!(self.framing, Framing::Length(_)) => return Piece::Cut,
            Poll::Ready(None) => return Piece::End,
        };
        if let Framing::Length(left) = &mut self.framing {
            let Some(less) = left.checked_sub(data.len() as u64) else { return Piece::Cut };
            *left = less;
        }
        if data.is_empty() { self.next(context) } else { Piece::Data(data) }
    }
}

fn framing(head: &response::Parts, body: &Outgoing, manner: &Manner) -> Framing {
    let never = head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if never || manner.method == Method::HEAD {
        return Framing::None;
    }
    let said = head.headers.get(CONTENT_LENGTH);
    let said = said.and_then(|length| length.to_str().ok()?.parse().ok());
    match said.or_else(|| body.size_hint().exact()) {
        Some(length) => Framing::Length(length),
        None if manner.version == Version::HTTP_11 => Framing::Chunked,
        None => Framing::Close,
    }
}

fn write_head(
    out: &mut Vec<u8>,
    gear: &Gear,
    (head, manner): (&response::Parts, &Manner),
    (framing, stays): (Framing, Stays),
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &head.headers {
        let framed = *name == CONTENT_LENGTH && head.status == StatusCode::NO_CONTENT;
        if !framed && !matches!(*name, CONNECTION | TRANSFER_ENCODING) {
            line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    lengths(out, &head.headers, framing, manner);
    if !head.headers.contains_key(DATE) {
        gear.date(|date| line(out, b"date", date));
    }
    match stays {
        Stays::Open => {}
        Stays::SaysSo => line(out, b"connection", b"keep-alive"),
        Stays::Closes => line(out, b"connection", b"close"),
    }
    out.extend_from_slice(b"\r\n");
}

fn lengths(out: &mut Vec<u8>, headers: &HeaderMap, framing: Framing, manner: &Manner) {
    match framing {
        Framing::Length(length) if !headers.contains_key(CONTENT_LENGTH) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Framing::Chunked if manner.version == Version::HTTP_11 => {
            line(out, b"transfer-encoding", b"chunked");
        }
        _ => {}
    }
}

/// The size of a chunk (RFC 9112 §7.1). Written out: formatting costs more than all else of a chunk.
fn chunk_begins(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|place| DIGITS[(size >> (4 * place)) & 0xF]));
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::chunk_begins;

    #[test]
    fn a_chunk_says_its_size_in_hex() {
        for size in [0, 1, 9, 10, 15, 16, 255, 256, 4096, 0xABC_DEF0, usize::MAX] {
            let mut out = Vec::new();
            chunk_begins(&mut out, size);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{size:X}\r\n"));
        }
    }
}
