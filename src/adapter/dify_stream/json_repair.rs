//! JSON as some write it and its grammar forbids: Python writes `NaN` and `Infinity`, and half of a
//! surrogate pair where a text was cut in the middle of a character.

/// The same with null and the replacement character in their place; none if it has none of them.
pub(super) fn repaired(json: &[u8]) -> Option<Vec<u8>> {
    let lossy = String::from_utf8_lossy(json);
    let (mut out, mut rest) = (String::with_capacity(lossy.len()), lossy.as_ref());
    let mut in_text = false;
    while let Some(at) = rest.find(|c| matches!(c, '"' | '\\') || (!in_text && "NI-".contains(c))) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match rest.as_bytes()[0] {
            b'"' => {
                in_text = !in_text;
                1
            }
            b'\\' => {
                let (escape, taken) = escape(rest);
                out.push_str(escape);
                rest = &rest[taken..];
                continue;
            }
            _ => match ["NaN", "-Infinity", "Infinity"].iter().find(|no| rest.starts_with(**no)) {
                Some(no) => {
                    out.push_str("null");
                    rest = &rest[no.len()..];
                    continue;
                }
                None => 1,
            },
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    (out.as_bytes() != json).then(|| out.into_bytes())
}

/// The escape that a text begins with as it should be, and how many bytes it has.
fn escape(text: &str) -> (&str, usize) {
    const LOST: &str = "\\ufffd";
    match (unit(text), text.get(6..).and_then(unit)) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&text[..12], 12),
        (Some(0xd800..=0xdfff), _) => (LOST, 6),
        (Some(_), _) => (&text[..6], 6),
        // An escape of one letter, or none.
        (None, _) => {
            let end = text.char_indices().nth(2).map_or(text.len(), |(at, _)| at);
            (&text[..end], end)
        }
    }
}

/// The UTF-16 unit of an escape that stands here.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::repaired;

    #[test]
    fn what_python_writes_becomes_json() {
        for (written, meant) in [
            (
                r#"{"score": NaN, "x": [-Infinity, Infinity, -1]}"#,
                r#"{"score": null, "x": [null, null, -1]}"#,
            ),
            (r#"{"a": "cut \ud83d", "b": NaN}"#, r#"{"a": "cut \ufffd", "b": null}"#),
            (
                r#"{"a": "\ude00\ud83d\ude00 \\NaN \" NaN", "b": NaN}"#,
                r#"{"a": "\ufffd\ud83d\ude00 \\NaN \" NaN", "b": null}"#,
            ),
        ] {
            let repaired = String::from_utf8(repaired(written.as_bytes()).unwrap()).unwrap();
            assert_eq!(repaired, meant);
            serde_json::from_str::<serde_json::Value>(&repaired).unwrap();
        }
        assert_eq!(repaired(b"\"a\xff\""), Some("\"a\u{fffd}\"".into()));
        for as_it_is in
            [r#"{"a": "\ud83d\ude00 \u12 NaN"}"#, "nonsense \\", "\\u", "", "\"\\", "-1"]
        {
            assert_eq!(repaired(as_it_is.as_bytes()), None, "{as_it_is}");
        }
    }
}
