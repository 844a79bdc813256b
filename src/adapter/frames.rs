//! Frames of server-sent events with JSON in them, written straight into the buffer that goes out.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};
use serde::Serialize;

/// Adds a value as JSON.
pub fn json<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    // A buffer in memory takes every write, and what is written here has text for keys.
    let _ = serde_json::to_writer(out.writer(), value);
}

/// Adds a number.
pub fn number(out: &mut BytesMut, number: u64) {
    let _ = write!(out, "{number}");
}

/// Adds a whole named event.
pub fn event<T: Serialize + ?Sized>(out: &mut BytesMut, name: &str, data: &T) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    json(out, data);
    out.extend_from_slice(b"\n\n");
}

/// A comment, which every client passes over.
pub const COMMENT: &[u8] = b": keep-alive\n\n";

/// Adds a comment.
pub fn comment(out: &mut BytesMut) {
    out.extend_from_slice(COMMENT);
}

/// The data of a stream's events; each is named by its own type.
#[cfg(test)]
pub(crate) fn events(out: &[u8]) -> Vec<serde_json::Value> {
    let mut events = Vec::new();
    let mut splitter = crate::sse::Splitter::new(1 << 20);
    let each = |event: crate::sse::Event<'_>| {
        let data: serde_json::Value = serde_json::from_slice(event.data.unwrap()).unwrap();
        assert_eq!(data["type"].as_str().unwrap().as_bytes(), event.name.unwrap());
        events.push(data);
    };
    splitter.feed(out, each).unwrap();
    assert!(!splitter.ends_mid_event());
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data_whatever_the_text() {
        let mut out = BytesMut::new();
        event(&mut out, "a.b", "x\n\r\n\u{2028}\"");
        number(&mut out, 42);
        comment(&mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        assert_eq!(text, "event: a.b\ndata: \"x\\n\\r\\n\u{2028}\\\"\"\n\n42: keep-alive\n\n");
    }
}
