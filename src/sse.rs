//! Server-sent events: from bytes to events and back.
//!
//! [`Splitter`] finds events in a stream that comes in pieces of any size, by the rules of the
//! WHATWG specification: lines end with LF, CR or CRLF in any mixture, a blank line ends an event,
//! a line that starts with a colon is a comment, a byte order mark at the start is skipped. It
//! differs in one point: an event without data is given too, because Dify's ping is the bare line
//! `event: ping`.
//!
//! Memory is bounded: an event that is whole in one piece is not copied, one that is not is kept
//! up to a limit that the caller sets. Comments are not kept once their line has ended.
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
    /// Several `data` lines, joined.
    joined: Vec<u8>,
    /// No blank line has come yet, so a byte order mark may stand at the start.
    at_start: bool,
    line: Line,
    /// A line of the event that is no comment has ended.
    has_fields: bool,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    failed: Option<SseError>,
}

/// The line being read.
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
            failed: None,
        }
    }

    /// Reads the next piece and gives every event that ends in it to `each`.
    ///
    /// After an error every further call gives the same error and no event.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<(), SseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let fed = self.run(chunk, &mut each);
        self.failed = fed.err();
        fed
    }

    /// Whether the bytes so far end in the middle of an event: a line without its end, or a field
    /// without the blank line. Complete comments do not count.
    pub fn ends_mid_event(&self) -> bool {
        self.has_fields || self.line != Line::Empty
    }

    fn run(&mut self, chunk: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), SseError> {
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
                    self.kept.clear();
                    start = at;
                }
                Line::Empty => {
                    self.end_of_event(&chunk[start..at], each)?;
                    start = at;
                }
            }
        }
        if self.ends_mid_event() {
            self.keep(&chunk[start..])?;
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        if self.kept.len() + bytes.len() > self.limit {
            self.kept = Vec::new();
            return Err(SseError::TooLarge { limit: self.limit });
        }
        self.kept.extend_from_slice(bytes);
        Ok(())
    }

    fn end_of_event(
        &mut self,
        last: &[u8],
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<(), SseError> {
        let at_start = std::mem::take(&mut self.at_start);
        if std::mem::take(&mut self.has_fields) {
            if self.kept.is_empty() && last.len() <= self.limit {
                read(last, at_start, &mut self.joined, each);
            } else {
                self.keep(last)?;
                read(&self.kept, at_start, &mut self.joined, each);
            }
        }
        self.kept.clear();
        Ok(())
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
mod tests {
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::{Event, Splitter, SseError, push_event};

    type Owned = (Option<String>, Option<String>, Option<String>);

    fn owned(event: Event<'_>) -> Owned {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (event.name.map(text), event.data.map(text), event.id.map(text))
    }

    /// The events, and whether the end is in the middle of one.
    fn split<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Owned>, bool) {
        let mut splitter = Splitter::new(1 << 20);
        let mut events = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |event| events.push(owned(event))).unwrap();
        }
        (events, splitter.ends_mid_event())
    }

    fn data(text: &str) -> Owned {
        (None, Some(text.into()), None)
    }

    #[test]
    fn events_of_dify_are_found_and_a_ping_has_no_data() {
        let stream = b"data: {\"event\": \"message\", \"answer\": \"a\"}\n\nevent: ping\n\n\
                       data: {\"event\": \"message_end\"}\n\n";
        let expected = vec![
            data("{\"event\": \"message\", \"answer\": \"a\"}"),
            (Some("ping".into()), None, None),
            data("{\"event\": \"message_end\"}"),
        ];
        assert_eq!(split([&stream[..]]), (expected, false));
    }

    #[test]
    fn fields_are_read_as_the_specification_says() {
        for (stream, event) in [
            ("data: a\ndata:b\ndata\ndata:  c\n\n", data("a\nb\n\n c")),
            ("\u{feff}data: a\n\n", data("a")),
            (
                "id: 7\nevent: x\ndata: a\n\n",
                (Some("x".into()), Some("a".into()), Some("7".into())),
            ),
            ("id: 7\0\ndata: a\n\n", data("a")),
            (": note\ndata: a\n: note\n\n", data("a")),
            ("retry: 3\nnonsense\nDATA: b\ndata: a:b\n\n", data("a:b")),
            ("data\n\n", data("")),
        ] {
            assert_eq!(split([stream.as_bytes()]), (vec![event], false), "{stream:?}");
        }
        for stream in [": keepalive\n\n", "\n\n\r\n", "id: 1\n\n", "\u{feff}\n\n", "retry: 1\n\n"] {
            assert_eq!(split([stream.as_bytes()]), (vec![], false), "{stream:?}");
        }
    }

    #[test]
    fn lines_may_end_in_any_mixture() {
        for end in ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n", "\r\n\n", "\r\n\r", "\n\r"] {
            let stream = format!("data: a{end}data: b{end}");
            assert_eq!(split([stream.as_bytes()]), (vec![data("a"), data("b")], false), "{end:?}");
        }
    }

    #[test]
    fn the_end_of_a_stream_is_whole_or_in_the_middle_of_an_event() {
        for (stream, mid_event) in [
            ("", false),
            ("data: a\n\n", false),
            ("data: a\r\n\r", false),
            ("data: a\r\n\r\n", false),
            ("data: a\n\n: note\n", false),
            ("data: a\n", true),
            ("data: a", true),
            ("d", true),
            ("data: a\n\ndata: b\n", true),
            ("data: a\n\n: no", true),
            ("event: ping\n", true),
        ] {
            assert_eq!(split([stream.as_bytes()]).1, mid_event, "{stream:?}");
        }
    }

    #[test]
    fn an_event_above_the_limit_is_an_error_that_stays() {
        let error = SseError::TooLarge { limit: 16 };
        for chunks in [&["data: 12345678\n\n"][..], &["data: 123456", "78\n", "\n"]] {
            let mut splitter = Splitter::new(16);
            assert!(chunks.iter().all(|chunk| splitter.feed(chunk.as_bytes(), |_| ()).is_ok()));
        }
        for chunks in
            [&["data: 123456789\n\n"][..], &["data: 12345678901"], &["data: 1", "2345678901"]]
        {
            let mut splitter = Splitter::new(16);
            let mut fed = Ok(());
            for chunk in chunks {
                fed = splitter.feed(chunk.as_bytes(), |_| ());
            }
            assert_eq!(fed, Err(error), "{chunks:?}");
            assert_eq!(splitter.feed(b"data: a\n\n", |_| panic!("no event")), Err(error));
        }
        assert_eq!(error.to_string(), "an event of the stream is larger than 16 bytes");
    }

    #[test]
    fn comments_without_end_take_no_memory() {
        let mut splitter = Splitter::new(64);
        for _ in 0..10_000 {
            splitter.feed(b": keepalive\n", |_| panic!("no event")).unwrap();
        }
        assert!(splitter.kept.capacity() <= 64);
    }

    #[test]
    fn an_event_written_is_read_again() {
        for (name, text) in [(None, "a"), (Some("ping"), ""), (Some("x"), "a\n\nb\r\nc\rd")] {
            let mut out = Vec::new();
            push_event(&mut out, name, text);
            let lines = text.replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!(split([&out[..]]), (vec![(name.map(Into::into), Some(lines), None)], false));
        }
        let mut out = Vec::new();
        push_event(&mut out, Some("a\ndata: forged"), "b");
        assert_eq!(out, b"data: b\n\n");
    }

    proptest! {
        #[test]
        fn a_stream_split_anywhere_gives_the_same_events(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "data: a", "data:", "data: {\"x\": \"y\"}", "event: ping", "id: 4", ": note", "x",
                    "\n", "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\u{feff}", ":", " ",
                ]),
                0..30,
            ),
            cut in 0_usize..300,
        ) {
            let stream = pieces.concat();
            let stream = stream.as_bytes();
            let whole = split([stream]);
            let (first, second) = stream.split_at(cut.min(stream.len()));
            prop_assert_eq!(&split([first, second]), &whole);
            prop_assert_eq!(&split(stream.chunks(1)), &whole);
        }
    }
}
