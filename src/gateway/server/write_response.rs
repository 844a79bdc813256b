//! A response on its way to the client: its head and what of its body is ready, in one write.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use http_body::Body as _;

use crate::gateway::http::client_conn::CloseReason;
use crate::gateway::http::h1::conn::Conn;
use crate::gateway::http::h1::io_buffers::IoBuffers;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::proxy::response::{ProxyResponse, ProxyResponseHead};
use crate::gateway::proxy::response_body::ResponseBody;

/// Pieces up to this size are put together before they are written; larger ones are not copied.
const SMALL_BYTES: usize = 4 * 1024;
/// How much is put together at most.
const GATHERED_BYTES: usize = 16 * 1024;

/// What of a request a response's form depends on.
pub(crate) struct RequestMeta {
    pub(crate) method: Method,
    pub(crate) version: Version,
}

/// Whether the connection outlives a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    Open,
    /// The client speaks HTTP/1.0 and has to be told.
    SaysSo,
    Closes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnState {
    /// The connection can carry another request.
    Whole,
    /// The connection has carried its last.
    Last,
}

/// How the end of a body is shown (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    /// There is none, and the response to a GET would have had one of this length (RFC 9110 §9.3.2).
    Withheld(u64),
    Length(u64),
    Chunked,
    Close,
}

/// Sends a response.
///
/// # Errors
/// The connection was asked to end.
pub(crate) async fn write_response(
    line: &Conn,
    reply: ProxyResponse,
    manner: RequestMeta,
    stays: KeepAlive,
) -> Result<ConnState, CloseReason> {
    let framing = framing(&reply, &manner);
    let ProxyResponse { head, body } = reply;
    let closes = head.closes || framing == Framing::Close || !line.is_whole();
    let mut writer = ResponseWriter {
        line,
        head: Some((head, manner)),
        body: Some(body),
        framing,
        stays: if closes { KeepAlive::Closes } else { stays },
        is_whole: false,
    };
    let done = poll_fn(|context| {
        match line.client.asked_to_end(context) {
            // It is told too late to be said in the head; the connection closes all the same.
            Some(CloseReason::Drain) => writer.stays = KeepAlive::Closes,
            Some(ending) => return Poll::Ready(Err(ending)),
            None => {}
        }
        writer.poll(context).map(Ok)
    });
    let last = done.await?.is_err() || writer.stays == KeepAlive::Closes;
    Ok(if last { ConnState::Last } else { ConnState::Whole })
}

struct ResponseWriter<'a> {
    line: &'a Conn,
    head: Option<(Box<ProxyResponseHead>, RequestMeta)>,
    /// Until all of it has been read.
    body: Option<ResponseBody>,
    framing: Framing,
    stays: KeepAlive,
    /// All of the body has been given to the socket.
    is_whole: bool,
}

/// What is to be sent after what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    More,
    /// Nothing yet: it wakes who waits.
    Nothing,
}

enum Piece {
    Data(Bytes),
    End,
    Cut,
    Later,
}

impl ResponseWriter<'_> {
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
                self.line.client.has_all();
                return match self.line.poll_gone(context) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    Poll::Pending => Poll::Pending,
                };
            }
        }
    }

    fn send(&mut self, context: &mut Context<'_>) -> io::Result<Ahead> {
        let (line, mut ahead) = (self.line, Ahead::More);
        line.buffers.compose(|out| {
            if let Some((head, manner)) = self.head.take() {
                write_head(out, &line.buffers, (&head, &manner), (self.framing, self.stays));
                self.is_whole = matches!(self.framing, Framing::None | Framing::Withheld(_));
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

fn framing(reply: &ProxyResponse, manner: &RequestMeta) -> Framing {
    let status = reply.head.status;
    let never = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if never {
        return Framing::None;
    }
    if manner.method == Method::HEAD {
        // What an instance's response would have had, only it knows.
        return match &reply.body {
            ResponseBody::Whole(Some(bytes), _) => Framing::Withheld(bytes.len() as u64),
            _ => Framing::None,
        };
    }
    match reply.head.length().or_else(|| reply.body.size_hint().exact()) {
        Some(length) => Framing::Length(length),
        None if manner.version == Version::HTTP_11 => Framing::Chunked,
        None => Framing::Close,
    }
}

fn write_head(
    out: &mut Vec<u8>,
    buffers: &IoBuffers,
    (head, manner): (&ProxyResponseHead, &RequestMeta),
    (framing, stays): (Framing, KeepAlive),
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let (mut has_length, mut has_date) = (false, false);
    head.each(|name, value| {
        let name_is = |known: KnownHeader| name.eq_ignore_ascii_case(known.text().as_bytes());
        if name_is(KnownHeader::ContentLength) {
            if head.status == StatusCode::NO_CONTENT {
                return;
            }
            has_length = true;
        }
        has_date |= name_is(KnownHeader::Date);
        line(out, name, value);
    });
    match framing {
        Framing::Length(length) | Framing::Withheld(length) if !has_length => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Framing::Chunked if manner.version == Version::HTTP_11 => {
            line(out, b"transfer-encoding", b"chunked");
        }
        _ => {}
    }
    if !has_date {
        buffers.date(|date| line(out, b"date", date));
    }
    match stays {
        KeepAlive::Open => {}
        KeepAlive::SaysSo => line(out, b"connection", b"keep-alive"),
        KeepAlive::Closes => line(out, b"connection", b"close"),
    }
    out.extend_from_slice(b"\r\n");
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
