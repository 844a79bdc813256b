//! A request's head as it came over the wire.
//!
//! hyper joins equal `Content-Length` headers and hides `Content-Length` beside `Transfer-Encoding`,
//! so neither can be seen afterwards. This looks at the raw lines while they are read. A head that
//! came in behind an earlier request's body (pipelining) is not watched; what follows from that is
//! the caller's caution.

use memchr::memchr;
use smallvec::SmallVec;

use crate::gateway::fields::Fields;
use crate::gateway::names::Name;

/// As much of a line as tells its name: `transfer-encoding` and its colon.
const NAME_BYTES: usize = 18;

/// Counts what must not be there twice, up to the blank line that ends the head.
#[derive(Debug, Default)]
pub(super) struct HeadWatch {
    line: SmallVec<[u8; NAME_BYTES]>,
    lines: u32,
    lengths: u32,
    codings: u32,
    done: bool,
}

impl HeadWatch {
    /// Of headers that came from the wire one by one, none joined and none hidden.
    pub(super) fn of(fields: &Fields) -> Self {
        if !fields.has(Name::TransferEncoding) {
            // What is said twice is seen in the fields themselves.
            return Self { lines: 1, done: true, ..Self::default() };
        }
        let count = |name| u32::try_from(fields.all(name).count()).unwrap_or(u32::MAX);
        let (lengths, codings) = (count(Name::ContentLength), count(Name::TransferEncoding));
        Self { lengths, codings, lines: 1, done: true, ..Self::default() }
    }

    /// Looks at the next bytes of the connection.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !self.done && !bytes.is_empty() {
            let end = memchr(b'\n', bytes);
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            let room = NAME_BYTES - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            match end {
                Some(end) => {
                    self.end_line();
                    bytes = &bytes[end + 1..];
                }
                None => return,
            }
        }
    }

    /// Whether the whole head was seen.
    pub(super) fn is_whole(&self) -> bool {
        self.done
    }

    /// More than one `Content-Length`.
    pub(super) fn repeats_length(&self) -> bool {
        self.lengths > 1
    }

    /// `Content-Length` beside `Transfer-Encoding`.
    pub(super) fn has_two_framings(&self) -> bool {
        self.lengths > 0 && self.codings > 0
    }

    fn end_line(&mut self) {
        if matches!(self.line.as_slice(), b"" | b"\r") {
            // Blank lines before the request line are no head (RFC 9112 §2.2).
            self.done = self.lines > 0;
        } else {
            self.lines += 1;
            let name = self.line.split(|byte| *byte == b':').next().unwrap_or_default();
            self.lengths += u32::from(name.eq_ignore_ascii_case(b"content-length"));
            self.codings += u32::from(name.eq_ignore_ascii_case(b"transfer-encoding"));
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::HeadWatch;

    const HEAD: &str = "\r\nPOST /a HTTP/1.1\r\nHost: g\r\nCONTENT-LENGTH: 1\r\nX-Content-Length: 2\r\n\
        Transfer-Encoding: chunked\r\nContent-Lengthy: 3\r\n\r\n";

    #[test]
    fn lines_are_counted_however_the_head_is_split() {
        let text = format!("{HEAD}content-length: 5\r\ncontent-length: 5\r\n");
        for size in 1..text.len() {
            let mut watch = HeadWatch::default();
            text.as_bytes().chunks(size).for_each(|piece| watch.feed(piece));
            assert!(watch.is_whole() && watch.has_two_framings(), "{size}");
            assert!(!watch.repeats_length(), "what follows the head is not of it: {size}");
        }
    }

    #[test]
    fn an_equal_length_twice_is_seen() {
        let mut watch = HeadWatch::default();
        watch.feed(b"GET / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 5\r\n");
        assert!(!watch.is_whole());
        watch.feed(b"\r\n");
        assert!(watch.is_whole() && watch.repeats_length() && !watch.has_two_framings());
    }
}
