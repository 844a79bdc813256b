//! Texts with what differs from run to run taken out, and ids of one run paired with another's.

/// Keys whose numbers or dates differ.
const KEYS: [&str; 7] =
    ["created_at", "updated_at", "finished_at", "elapsed_time", "latency", "pid", "date"];

/// The text with ids numbered and times, signatures and process ids taken out.
pub(crate) fn masked(text: &str) -> String {
    let mut ids: Vec<&str> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(id) = uuid(rest) {
            let at = ids.iter().position(|seen| *seen == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            out.push_str(&format!("<id {at}>"));
            rest = &rest[36..];
        } else if let Some(signed) = signed(rest) {
            out.push_str("timestamp=<signed>");
            rest = &rest[signed.len()..];
        } else if let Some((start, value)) = timed(rest) {
            out.push_str(&rest[..start]);
            out.push_str("<some>");
            rest = &rest[start + value..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The ids and signatures of a text, in order.
pub(crate) fn marks(text: &str) -> Vec<&str> {
    let mut marks = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..);
        if let Some(mark) = rest.and_then(|rest| uuid(rest).or_else(|| signed(rest))) {
            marks.push(mark);
            at += mark.len();
            continue;
        }
        at += 1;
    }
    marks
}

fn uuid(text: &str) -> Option<&str> {
    let id = text.get(..36)?;
    let fits = id.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    fits.then_some(id)
}

/// `timestamp=…&nonce=…&sign=…`
fn signed(text: &str) -> Option<&str> {
    if !text.starts_with("timestamp=1") {
        return None;
    }
    // 32 bytes as base64.
    let end = text.find("&sign=")? + "&sign=".len() + 44;
    text.get(..end)
}

/// A key whose value differs: bytes up to the value, bytes of the value.
fn timed(text: &str) -> Option<(usize, usize)> {
    let quoted = text.strip_prefix('"')?;
    let key = KEYS.iter().find(|key| quoted.starts_with(**key));
    let (key, is_version) = match key {
        Some(key) => (*key, false),
        None if quoted.starts_with("version\": \"20") => ("version", true),
        None => return None,
    };
    let after = quoted.strip_prefix(key)?.strip_prefix("\":")?;
    let blank = usize::from(after.starts_with(' '));
    let value = &after[blank..];
    let length = if let Some(quoted) = value.strip_prefix('"') {
        quoted.find('"')? + 2
    } else {
        value.find(|ch: char| !(ch.is_ascii_digit() || ch == '.' || ch == 'e' || ch == '-'))?
    };
    if length == 0 || (value.starts_with('"') && key != "date" && !is_version) {
        return None;
    }
    Some((1 + key.len() + 2 + blank, length))
}
