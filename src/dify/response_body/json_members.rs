//! The members of a JSON object, one by one, as they stand in its text.
//!
//! Half of what an answer of some hundred bytes would cost its parser is spent on what nobody looks
//! at. Here a value is only measured; who wants it reads it. What breaks off gives what came before.

use uuid::Uuid;

use crate::dify::scan::{near_string, string_end};

/// Gives each member's key, as sent and without its quotes, and all that follows its colon to
/// `take`, which gives back what follows the value; `None` from it ends the reading. Text that is
/// no object gives nothing.
pub(super) fn members<'a>(
    json: &'a [u8],
    mut take: impl FnMut(&'a [u8], &'a [u8]) -> Option<&'a [u8]>,
) -> Option<()> {
    let mut rest = blanks(json).strip_prefix(b"{")?;
    loop {
        let begin = blanks(rest).strip_prefix(b"\"")?;
        let after = string(begin)?;
        let key = &begin[..begin.len() - after.len() - 1];
        let value = blanks(blanks(after).strip_prefix(b":")?);
        rest = blanks(take(key, value)?).strip_prefix(b",")?;
    }
}

/// Gives each item of an array, as sent, to `take`. Text that is no array gives nothing.
pub(super) fn items<'a>(json: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Option<()> {
    let mut rest = blanks(json.strip_prefix(b"[")?);
    while rest.first() != Some(&b']') {
        let (item, after) = value(rest)?;
        take(item);
        rest = blanks(blanks(after).strip_prefix(b",")?);
    }
    Some(())
}

/// A whole value that begins here, as sent, and what follows it.
#[inline]
pub(super) fn value(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let after = after_value(json)?;
    Some((&json[..json.len() - after.len()], after))
}

/// What follows a value that begins here.
pub(super) fn after_value(json: &[u8]) -> Option<&[u8]> {
    let (first, rest) = json.split_first()?;
    match first {
        b'"' => string(rest),
        b'{' | b'[' => nest(rest),
        _ => {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b",}]".contains(byte);
            Some(&rest[rest.iter().position(ends)?..])
        }
    }
}

/// An id that begins here as Dify writes it, and what follows it.
pub(super) fn id(json: &[u8]) -> Option<(Uuid, &[u8])> {
    // What is an id has no quote within, so its end need not be looked for.
    let (text, after) = json.strip_prefix(b"\"")?.split_first_chunk::<36>()?;
    let after = after.strip_prefix(b"\"")?;
    Some((Uuid::try_parse_ascii(text).ok()?, after))
}

/// A string's text as sent. Neither Dify's ids nor its events have escapes, so those are not undone.
pub(super) fn text(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// What follows a string of which the opening quote was read.
#[inline]
fn string(json: &[u8]) -> Option<&[u8]> {
    match near_string(json) {
        Some((_, after)) => Some(after),
        None => long_string(json),
    }
}

#[inline(never)]
fn long_string(json: &[u8]) -> Option<&[u8]> {
    Some(&json[string_end(json, &mut false)?..])
}

/// What follows an object or array of which the first bracket was read.
fn nest(json: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut depth) = (json, 1_usize);
    while depth > 0 {
        let (byte, after) = rest.split_first()?;
        rest = match byte {
            b'"' => string(after)?,
            _ => after,
        };
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    Some(rest)
}

/// What follows white space.
fn blanks(json: &[u8]) -> &[u8] {
    match json {
        [next, ..] if *next > b' ' => json,
        [b' ', next, ..] if *next > b' ' => &json[1..],
        _ => json.trim_ascii_start(),
    }
}

#[cfg(test)]
mod tests {
    use super::{items, members, text, value};

    fn all(json: &str) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        members(json.as_bytes(), |key, rest| {
            let (value, after) = value(rest)?;
            found.push((str::from_utf8(key).unwrap(), str::from_utf8(value).unwrap()));
            Some(after)
        });
        found
    }

    #[test]
    fn whole_members_are_given_as_they_stand() {
        let json = r#" { "a" : "x\"y}" , "b":[1,{"a":"]"}],"c":-1.5e3,"d":null , "e":{}} "#;
        let expected = [
            ("a", r#""x\"y}""#),
            ("b", r#"[1,{"a":"]"}]"#),
            ("c", "-1.5e3"),
            ("d", "null"),
            ("e", "{}"),
        ];
        assert_eq!(all(json), expected);
        for end in 0..json.len() {
            let found = all(&json[..end]);
            assert_eq!(found, expected[..found.len()]);
        }
        for none in ["", "[1]", "\"a\"", "{]", "{\"a\"}", "{1:2}"] {
            assert_eq!(all(none), [], "{none}");
        }
    }

    #[test]
    fn items_of_an_array_are_given_as_they_stand() {
        let all = |json: &str| {
            let mut found = Vec::new();
            items(json.as_bytes(), |item| found.push(str::from_utf8(item).unwrap().to_owned()));
            found
        };
        assert_eq!(all(r#"[{"a":[1]} , "x,]",[ ],3]"#), [r#"{"a":[1]}"#, "\"x,]\"", "[ ]", "3"]);
        assert_eq!(all("[1, 2"), ["1"], "what breaks off gives what came before");
        for none in ["", "[", "[]", "[ ]", "{}", "1"] {
            assert!(all(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn a_text_is_what_stands_between_quotes() {
        assert_eq!(text(b"\"a-1\""), Some(&b"a-1"[..]));
        for none in ["null", "\"", "1"] {
            assert_eq!(text(none.as_bytes()), None, "{none}");
        }
    }
}
