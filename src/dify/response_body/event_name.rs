//! Which event of a stream it is, by its first bytes.

use super::json_members::{members, text, value};

/// The `event` of an event that begins with these lines, as far as that much tells it. Dify puts it
/// first; where something stands before it, that must be there whole.
pub fn event_name(begin: &[u8]) -> Option<&[u8]> {
    let mut lines = begin.split(|byte| matches!(byte, b'\n' | b'\r'));
    let json = lines.find_map(|line| line.strip_prefix(b"data:"))?;
    let mut name = None;
    members(json, |key, rest| {
        let (value, after) = value(rest)?;
        if key == b"event" {
            name = text(value).filter(|name| !name.contains(&b'\\'));
            return None;
        }
        Some(after)
    });
    name
}

#[cfg(test)]
mod tests {
    use super::event_name;

    #[test]
    fn an_event_is_known_by_its_beginning_however_it_is_written() {
        for (begin, name) in [
            ("data: {\"event\": \"message\", \"answer\": \"x", Some("message")),
            ("data:{\"event\":\"node_finished\"", Some("node_finished")),
            (": note\r\ndata: { \"task_id\" : \"t\" ,\"event\" : \"error\" ", Some("error")),
            ("data: {\"data\": {\"event\": \"x\"}, \"event\": \"ping\"", Some("ping")),
            ("data: {\"data\": {\"event\": \"x\", \"long", None),
            ("data: {\"event\": \"messa", None),
            ("data: {\"event\": 7}", None),
            ("event: ping\n", None),
            (": data: {\"event\": \"message\"}", None),
        ] {
            assert_eq!(event_name(begin.as_bytes()), name.map(str::as_bytes), "{begin}");
        }
    }
}
