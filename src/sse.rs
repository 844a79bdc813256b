//! Server-sent events: from bytes to events and back.
//!
//! [`Splitter`] finds events in a stream that comes in pieces of any size, by the rules of the
//! WHATWG specification: lines end with LF, CR or CRLF in any mixture, a blank line ends an event,
//! a line that starts with a colon is a comment, a byte order mark at the start is skipped. It
//! differs in one point: an event without data is given too, because Dify's ping is the bare line
//! `event: ping`.
//!
//! Memory is bounded: an event that is whole in one piece is not copied, one that is not is kept
//! up to a limit that the caller sets, for all events alike or for each by how it begins
//! ([`Splitter::feed_within`]). Comments are not kept once their line has ended.
//!
//! Deliberately absent: `retry`, reconnecting, and what the data means.

use memchr::memchr2;

/// The stream holds something that is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event has more bytes than allowed.
    #[error("an event of the stream is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes of an event.
        limit: usize,
    },
}

/// By how many of its first bytes the limit of a long event is chosen.
const HEAD_BYTES: usize = 4096;

/// A buffer above this is given back after its event.
const MAX_IDLE_BYTES: usize = 1 << 20;

/// How large an event may be, and what becomes of a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventLimit {
    /// A larger one is an error.
    Fail(usize),
    /// A larger one is passed over.
    Skip(usize),
}

/// One event, borrowed from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; `None` if there is none, which means `message`.
    pub name: Option<&'a [u8]>,
    /// The `data` lines, joined by LF; `None` if there is none.
    pub data: Option<&'a [u8]>,
    /// The `id` field.
    pub id: Option<&'a [u8]>,
}

/// Finds events in pieces of a stream.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    /// The lines of an event whose end has not come. Empty while an event is whole in one piece.
    kept: Vec<u8>,
    joined: Vec<u8>,
    /// No blank line has come yet, so a byte order mark may stand at the start.
    at_start: bool,
    line: Line,
    /// A line of the event that is no comment has ended.
    has_fields: bool,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Of the event being read, once it is long enough to be asked about.
    event_limit: Option<EventLimit>,
    /// The event being read is passed over.
    skipping: bool,
    failed: Option<SseError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Empty,
    Comment,
    Field,
}

impl Splitter {
    /// A splitter that takes events of at most `limit` bytes, line ends included.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Vec::new(),
            joined: Vec::new(),
            at_start: true,
            line: Line::Empty,
            has_fields: false,
            after_cr: false,
            event_limit: None,
            skipping: false,
            failed: None,
        }
    }

    /// Reads the next piece and gives every event that ends in it to `each`.
    ///
    /// # Errors
    /// An event is larger than the splitter's limit. Every further call gives the same error and no
    /// event.
    pub fn feed(&mut self, chunk: &[u8], each: impl FnMut(Event<'_>)) -> Result<(), SseError> {
        let limit = EventLimit::Fail(self.limit);
        self.feed_within(chunk, |_| limit, each)
    }

    /// The same, where `limit` says of each event of more than 4 KiB how large it may be, by its
    /// first 4 KiB. What it passes over is not kept.
    ///
    /// # Errors
    /// As of [`feed`](Self::feed).
    pub fn feed_within(
        &mut self,
        chunk: &[u8],
        limit: impl Fn(&[u8]) -> EventLimit,
        mut each: impl FnMut(Event<'_>),
    ) -> Result<(), SseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let fed = self.run(chunk, &limit, &mut each);
        self.failed = fed.err();
        fed
    }

    /// Whether the bytes so far end in the middle of an event: a line without its end, or a field
    /// without the blank line. Complete comments do not count.
    pub fn ends_mid_event(&self) -> bool {
        self.has_fields || self.line != Line::Empty
    }

    fn run(
        &mut self,
        chunk: &[u8],
        limit: &impl Fn(&[u8]) -> EventLimit,
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<(), SseError> {
        // Where the event being read, and the line being read, begin in this chunk.
        let (mut start, mut at) = (0, 0);
        while at < chunk.len() {
            if std::mem::take(&mut self.after_cr) && chunk[at] == b'\n' {
                at += 1;
                if !self.ends_mid_event() {
                    start = at;
                }
                continue;
            }
            if self.line == Line::Empty {
                self.line = match chunk[at] {
                    b':' => Line::Comment,
                    b'\n' | b'\r' => Line::Empty,
                    _ => Line::Field,
                };
            }
            let Some(length) = memchr2(b'\n', b'\r', &chunk[at..]) else { break };
            at += length + 1;
            self.after_cr = chunk[at - 1] == b'\r';
            match std::mem::replace(&mut self.line, Line::Empty) {
                Line::Field => self.has_fields = true,
                Line::Comment if self.has_fields => {}
                Line::Comment => {
                    self.forget();
                    start = at;
                }
                Line::Empty => {
                    self.end_of_event(&chunk[start..at], limit, each)?;
                    start = at;
                }
            }
        }
        if self.ends_mid_event() && self.fits(&chunk[start..], limit)? {
            self.kept.extend_from_slice(&chunk[start..]);
        }
        Ok(())
    }

    /// Whether the event being read may have these bytes more; else it is passed over.
    fn fits(
        &mut self,
        more: &[u8],
        limit: &impl Fn(&[u8]) -> EventLimit,
    ) -> Result<bool, SseError> {
        let bytes = self.kept.len() + more.len();
        if self.event_limit.is_none() && bytes > HEAD_BYTES.min(self.limit) {
            self.event_limit = Some(if self.kept.is_empty() {
                limit(&more[..more.len().min(HEAD_BYTES)])
            } else {
                let mut head = self.kept.clone();
                head.extend_from_slice(&more[..more.len().min(HEAD_BYTES - head.len())]);
                limit(&head)
            });
        }
        match self.event_limit {
            Some(EventLimit::Fail(limit)) if bytes > limit => {
                self.kept = Vec::new();
                return Err(SseError::TooLarge { limit });
            }
            Some(EventLimit::Skip(limit)) if bytes > limit => {
                self.kept = Vec::new();
                self.skipping = true;
            }
            _ => {}
        }
        Ok(!self.skipping)
    }

    fn end_of_event(
        &mut self,
        last: &[u8],
        limit: &impl Fn(&[u8]) -> EventLimit,
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<(), SseError> {
        let at_start = std::mem::take(&mut self.at_start);
        if std::mem::take(&mut self.has_fields) && self.fits(last, limit)? {
            if self.kept.is_empty() {
                read(last, at_start, &mut self.joined, each);
            } else {
                self.kept.extend_from_slice(last);
                read(&self.kept, at_start, &mut self.joined, each);
            }
        }
        self.forget();
        Ok(())
    }

    /// The next event begins.
    fn forget(&mut self) {
        self.kept.clear();
        self.event_limit = None;
        self.skipping = false;
        if self.kept.capacity() > MAX_IDLE_BYTES {
            self.kept = Vec::new();
        }
        if self.joined.capacity() > MAX_IDLE_BYTES {
            self.joined = Vec::new();
        }
    }
}

/// Reads the lines of one event.
fn read(lines: &[u8], at_start: bool, joined: &mut Vec<u8>, each: &mut impl FnMut(Event<'_>)) {
    let mark = if at_start { &b"\xEF\xBB\xBF"[..] } else { b"" };
    let lines = lines.strip_prefix(mark).unwrap_or(lines);
    let (mut name, mut id, mut data, mut count) = (None, None, None, 0_usize);
    let mut rest = lines;
    while !rest.is_empty() {
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        // A CRLF makes an empty line here, which is no field.
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => name = Some(value),
            // An id with a NUL in it is ignored, says the specification.
            b"id" if !value.contains(&0) => id = Some(value),
            b"data" => {
                match (count, data) {
                    (0, _) => data = Some(value),
                    (1, Some(first)) => {
                        joined.clear();
                        joined.extend_from_slice(first);
                        push_line(joined, value);
                    }
                    _ => push_line(joined, value),
                }
                count += 1;
            }
            _ => {}
        }
    }
    let data = if count > 1 { Some(&joined[..]) } else { data };
    if name.is_some() || data.is_some() {
        each(Event { name, data, id });
    }
}

fn push_line(joined: &mut Vec<u8>, line: &[u8]) {
    joined.push(b'\n');
    joined.extend_from_slice(line);
}

/// Writes one event: `event:` if there is a name, a `data:` line for each line of `data`, and the
/// blank line. A line end in `name` would break the frame, so a name with one is left out.
pub fn push_event(out: &mut Vec<u8>, name: Option<&str>, data: &str) {
    if let Some(name) = name.filter(|name| !name.contains(['\n', '\r'])) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
