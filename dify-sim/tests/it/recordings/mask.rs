//! Texts with what differs from run to run taken out, and ids of one run paired with another's.

/// Keys whose numbers or dates differ.
const KEYS: [&str; 15] = [
    "created_at",
    "updated_at",
    "finished_at",
    "completed_at",
    "processing_started_at",
    "elapsed_time",
    "latency",
    "indexing_latency",
    "time_to_first_token",
    "time_to_generate",
    "pid",
    "date",
    // Rounds in the maps of how long they took.
    "0",
    "1",
    "2",
];

/// Words for a document that is not indexed yet: how far it is by then is a matter of chance.
const PROGRESS: [&str; 6] = [
    "\"indexing_status\":\"waiting\"",
    "\"indexing_status\":\"parsing\"",
    "\"indexing_status\":\"splitting\"",
    "\"indexing_status\":\"indexing\"",
    "\"display_status\":\"queuing\"",
    "\"display_status\":\"indexing\"",
];

/// The text with ids numbered and times, signatures and process ids taken out.
pub(crate) fn masked(text: &str) -> String {
    let mut ids: Vec<&str> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let starts = out.chars().next_back().is_none_or(|last| !last.is_ascii_alphanumeric());
        if let Some(id) = uuid(rest).or_else(|| token(&text[..text.len() - rest.len()], rest)) {
            let at = ids.iter().position(|seen| *seen == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            out.push_str(&format!("<id {at}>"));
            rest = &rest[id.len()..];
        } else if let Some(signed) = signed(rest) {
            out.push_str("timestamp=<signed>");
            rest = &rest[signed.len()..];
        } else if let Some((start, value)) = timed(rest) {
            out.push_str(&rest[..start]);
            out.push_str("<some>");
            rest = &rest[start + value..];
        } else if let Some(length) = progress(rest) {
            out.push_str("<not yet>");
            rest = &rest[length..];
        } else if let Some(reference) = reference(rest) {
            out.push_str("<reference>");
            rest = &rest[reference..];
        } else if let Some(length) = starts.then(|| time(rest)).flatten() {
            out.push_str("<time>");
            rest = &rest[length..];
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
        if let Some(rest) = text.get(at..)
            && let Some(mark) =
                uuid(rest).or_else(|| signed(rest)).or_else(|| token(&text[..at], rest))
        {
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

/// The token of a form or the number of a batch, by what stands before it.
fn token<'t>(before: &str, text: &'t str) -> Option<&'t str> {
    let places = ["form_token\":\"", "form_token\": \"", "human_input/", "human_input\\/"];
    let batches = ["\"batch\":\"", "/documents/"];
    let length = if places.iter().any(|place| before.ends_with(place)) {
        22
    } else if batches.iter().any(|place| before.ends_with(place)) {
        20
    } else {
        return None;
    };
    let token = text.get(..length)?;
    let whole = !text[length..].starts_with(|next: char| next.is_ascii_alphanumeric());
    let fits = token.bytes().all(|byte| match length {
        20 => byte.is_ascii_digit(),
        _ => byte.is_ascii_alphanumeric(),
    });
    (whole && fits).then_some(token)
}

/// `timestamp=…&nonce=…&sign=…`
fn signed(text: &str) -> Option<&str> {
    if !text.starts_with("timestamp=1") {
        return None;
    }
    let start = text.find("&sign=")? + "&sign=".len();
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=%".contains(&byte);
    let length = text[start..].bytes().take_while(|byte| sign(*byte)).count();
    Some(&text[..start + length])
}

/// The name of an upload inside a flow.
fn reference(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("dify-file-ref:")?;
    Some(text.len() - rest.len() + rest.find('"')?)
}

/// Seconds since 1970, or a time as text.
fn time(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 10 && text.starts_with('1') {
        let fraction = text[10..]
            .strip_prefix('.')
            .map_or(0, |rest| 1 + rest.bytes().take_while(u8::is_ascii_digit).count());
        return Some(10 + fraction);
    }
    let form = text.get(..19)?;
    let fits = form.bytes().zip(b"0000-00-00T00:00:00").all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        b'T' => byte == b'T' || byte == b' ',
        other => byte == *other,
    });
    let fraction = text[19..]
        .strip_prefix('.')
        .map_or(0, |rest| 1 + rest.bytes().take_while(u8::is_ascii_digit).count());
    fits.then_some(19 + fraction)
}

fn progress(text: &str) -> Option<usize> {
    PROGRESS.iter().find(|word| text.starts_with(**word)).map(|word| word.len())
}

/// A key whose value differs: bytes up to the value, bytes of the value.
fn timed(text: &str) -> Option<(usize, usize)> {
    let quoted = text.strip_prefix('"')?;
    let key = KEYS
        .iter()
        .find(|key| quoted.strip_prefix(**key).is_some_and(|rest| rest.starts_with("\":")))?;
    let after = quoted.strip_prefix(key)?.strip_prefix("\":")?;
    let blank = usize::from(after.starts_with(' '));
    let value = &after[blank..];
    let length = if let Some(quoted) = value.strip_prefix('"') {
        quoted.find('"')? + 2
    } else {
        value.find(|ch: char| !(ch.is_ascii_digit() || ch == '.' || ch == 'e' || ch == '-'))?
    };
    if length == 0 || (value.starts_with('"') && *key != "date") {
        return None;
    }
    Some((1 + key.len() + 2 + blank, length))
}
