//! Forms, read as they stream in: only field texts and the start of each file are kept.
//!
//! Parts may stand in any order, a boundary may be split at any byte. What is not a form at all
//! has no fields, as with werkzeug.

use crate::wire::head::{Head, form_field};

/// Bytes of each file, and of each field, that are kept.
const KEPT: usize = 64 * 1024;
/// Bytes of the head of one part.
const PART_HEAD_LIMIT: usize = 16 * 1024;
/// Parts of one form.
const PART_LIMIT: usize = 1000;

/// One part of a form.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// `Some` makes it a file.
    pub(crate) filename: Option<String>,
    pub(crate) content_type: String,
    pub(crate) size: u64,
    /// Its first 64 KiB.
    pub(crate) start: Vec<u8>,
}

/// A form that has been read to its end.
#[derive(Debug, Default)]
pub(crate) struct Form {
    parts: Vec<Part>,
}

impl Form {
    /// The text of a field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let part = self.parts.iter().find(|part| part.name == name && part.filename.is_none())?;
        Some(String::from_utf8_lossy(&part.start).into_owned())
    }

    /// The first file of this field name.
    pub(crate) fn file(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name && part.filename.is_some())
    }

    /// How many field names have files.
    pub(crate) fn file_names(&self) -> usize {
        let mut names: Vec<&str> = self
            .parts
            .iter()
            .filter(|part| part.filename.is_some())
            .map(|part| part.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }
}

/// Reads a form piece by piece.
pub(crate) struct Reader {
    kind: Kind,
    parts: Vec<Part>,
    /// Bytes that may be the start of a boundary, or a part head that is not complete.
    pending: Vec<u8>,
    state: State,
}

enum Kind {
    Multipart {
        /// `\r\n--boundary`
        boundary: Vec<u8>,
    },
    Urlencoded,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary, or inside of a part.
    Content,
    /// Right after a boundary: a line end begins a part, `--` ends the form.
    AfterBoundary,
    PartHead,
    Over,
}

impl Reader {
    pub(crate) fn new(head: &Head) -> Self {
        let content_type = head.header("content-type").unwrap_or_default();
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let kind = match media.as_str() {
            "multipart/form-data" => match parameter(&content_type, "boundary") {
                Some(boundary) => {
                    Kind::Multipart { boundary: format!("\r\n--{boundary}").into_bytes() }
                }
                None => Kind::Other,
            },
            "application/x-www-form-urlencoded" => Kind::Urlencoded,
            _ => Kind::Other,
        };
        // The first boundary has no line end before it; give it one.
        let pending =
            if matches!(kind, Kind::Multipart { .. }) { b"\r\n".to_vec() } else { vec![] };
        Self { kind, parts: Vec::new(), pending, state: State::Content }
    }

    pub(crate) fn feed(&mut self, piece: &[u8]) {
        match &self.kind {
            Kind::Other => {}
            Kind::Urlencoded => {
                let room = KEPT - self.pending.len();
                self.pending.extend_from_slice(&piece[..room.min(piece.len())]);
            }
            Kind::Multipart { boundary } => {
                let boundary = boundary.clone();
                self.pending.extend_from_slice(piece);
                self.advance(&boundary);
            }
        }
    }

    pub(crate) fn form(mut self) -> Form {
        if matches!(self.kind, Kind::Urlencoded) {
            let text = String::from_utf8_lossy(&self.pending);
            let user = form_field(&text, "user").map(|user| Part {
                name: "user".to_owned(),
                size: user.len() as u64,
                start: user.into_bytes(),
                ..Part::default()
            });
            self.parts.extend(user);
        } else if self.state != State::Over {
            // werkzeug gives up a form without its end.
            self.parts.clear();
        }
        Form { parts: self.parts }
    }

    fn advance(&mut self, boundary: &[u8]) {
        loop {
            let used = match self.state {
                State::Over => {
                    self.pending.clear();
                    return;
                }
                State::Content => self.content(boundary),
                State::AfterBoundary => self.after_boundary(),
                State::PartHead => self.part_head(),
            };
            match used {
                Some(used) => drop(self.pending.drain(..used)),
                None => return,
            }
        }
    }

    /// Takes content up to the next boundary; `None` if there is none in sight.
    fn content(&mut self, boundary: &[u8]) -> Option<usize> {
        let found = memchr::memmem::find(&self.pending, boundary);
        // Without a boundary, all but its possible start is content.
        let end = match found {
            Some(at) => at,
            None => self.pending.len().saturating_sub(boundary.len() - 1),
        };
        if let Some(part) = self.parts.last_mut() {
            part.size += end as u64;
            let room = KEPT - part.start.len();
            part.start.extend_from_slice(&self.pending[..end.min(room)]);
        }
        if found.is_none() {
            self.pending.drain(..end);
            return None;
        }
        self.state = State::AfterBoundary;
        Some(end + boundary.len())
    }

    fn after_boundary(&mut self) -> Option<usize> {
        if self.pending.len() < 2 {
            return None;
        }
        self.state = if self.pending.starts_with(b"\r\n") && self.parts.len() < PART_LIMIT {
            State::PartHead
        } else {
            State::Over
        };
        Some(2)
    }

    fn part_head(&mut self) -> Option<usize> {
        let Some(end) = memchr::memmem::find(&self.pending, b"\r\n\r\n") else {
            if self.pending.len() > PART_HEAD_LIMIT {
                self.state = State::Over;
            }
            return None;
        };
        let head = String::from_utf8_lossy(&self.pending[..end]);
        let mut part = Part::default();
        for line in head.split("\r\n") {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-disposition") {
                part.name = parameter(value, "name").unwrap_or_default();
                part.filename = parameter(value, "filename");
            } else if name.eq_ignore_ascii_case("content-type") {
                value
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .clone_into(&mut part.content_type);
            }
        }
        self.parts.push(part);
        self.state = State::Content;
        // The line end before a boundary may be the one that ends an empty part's head.
        Some(end + 4)
    }
}

/// A parameter of a header value, with or without quotation marks.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let after = after.trim_start();
        let (key, text) = after.split_once('=')?;
        let found = key.trim().eq_ignore_ascii_case(name);
        let text = text.trim_start();
        let (text, next) = match text.strip_prefix('"') {
            Some(quoted) => match quoted.find('"') {
                Some(end) => (&quoted[..end], &quoted[end + 1..]),
                None => (quoted, ""),
            },
            None => {
                let end = text.find(';').unwrap_or(text.len());
                (text[..end].trim(), &text[end..])
            }
        };
        if found {
            return Some(text.to_owned());
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Form, Reader};
    use crate::wire::head;

    const FORM: &[u8] = b"--xx\r\nContent-Disposition: form-data; name=\"file\"; \
        filename=\"a;b.txt\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nab\r\n--x\r\n--xx\r\n\
        Content-Disposition: form-data; name=user\r\n\r\nalice\r\n--xx--\r\n";

    fn read(pieces: &[&[u8]]) -> Form {
        let head = b"POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=xx\r\n\r\n";
        let (head, _) = head::read(head, crate::release::Release::default()).unwrap().unwrap();
        let mut reader = Reader::new(&head);
        for piece in pieces {
            reader.feed(piece);
        }
        reader.form()
    }

    #[test]
    fn a_form_split_at_any_byte_is_the_same_form() {
        let whole = read(&[FORM]);
        let file = whole.file("file").unwrap();
        assert_eq!((file.filename.as_deref(), file.size), (Some("a;b.txt"), 7));
        assert_eq!(file.start, b"ab\r\n--x");
        assert_eq!(file.content_type, "text/plain");
        assert_eq!(whole.field("user").as_deref(), Some("alice"));
        for at in 0..FORM.len() {
            let split = read(&[&FORM[..at], &FORM[at..]]);
            assert_eq!(split.parts, whole.parts, "split at {at}");
        }
        let bytes: Vec<&[u8]> = FORM.chunks(1).collect();
        assert_eq!(read(&bytes).parts, whole.parts);
    }

    #[test]
    fn a_form_without_its_end_has_no_fields() {
        assert!(read(&[b"garbage"]).file("file").is_none());
        assert!(read(&[&FORM[..FORM.len() - 6]]).file("file").is_none());
    }
}
