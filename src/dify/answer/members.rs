//! The members of a JSON object, one by one, as they stand in its text.
//!
//! Half of what an answer of some hundred bytes would cost its parser is spent on what nobody looks
//! at. Here a value is only measured; who wants it reads it. What breaks off gives what came before.

use crate::dify::scan::string_end;

/// Gives each whole member's key and value to `take`: a key without its quotes, a value with them,
/// both as sent. Text that is no object gives nothing.
pub(super) fn members<'a>(json: &'a [u8], mut take: impl FnMut(&'a [u8], &'a [u8])) {
    let mut at = Place { json, at: 0 };
    let Some(b'{') = at.next() else { return };
    while let Some(b'"') = at.next() {
        let Some(key) = at.string() else { return };
        let Some(b':') = at.next() else { return };
        let Some(value) = at.value() else { return };
        take(&key[..key.len() - 1], value);
        let Some(b',') = at.next() else { return };
    }
}

/// A string's text, if it has no escapes; neither Dify's ids nor its events have any.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    std::str::from_utf8(inner).ok().filter(|text| !text.contains('\\'))
}

struct Place<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Place<'a> {
    /// The next byte that is no blank.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.json.get(self.at)?;
            self.at += 1;
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
        }
    }

    /// What follows a quote, up to and with the next one.
    fn string(&mut self) -> Option<&'a [u8]> {
        let begin = self.at;
        self.at += string_end(self.json.get(begin..)?, &mut false)?;
        Some(&self.json[begin..self.at])
    }

    /// A whole value.
    fn value(&mut self) -> Option<&'a [u8]> {
        let first = self.next()?;
        let begin = self.at - 1;
        match first {
            b'"' => _ = self.string()?,
            b'{' | b'[' => self.nest()?,
            _ => {
                let rest = self.json.get(self.at..)?;
                let ends = |byte: &u8| byte.is_ascii_whitespace() || b",}]".contains(byte);
                self.at += rest.iter().position(ends)?;
            }
        }
        Some(&self.json[begin..self.at])
    }

    /// The rest of an object or array.
    fn nest(&mut self) -> Option<()> {
        let mut depth = 1_usize;
        while depth > 0 {
            let byte = *self.json.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => _ = self.string()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{members, text};

    fn all(json: &str) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        members(json.as_bytes(), |key, value| {
            found.push((str::from_utf8(key).unwrap(), str::from_utf8(value).unwrap()));
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
    fn a_text_has_no_escapes() {
        assert_eq!(text(b"\"a-1\""), Some("a-1"));
        for none in ["null", "\"", "\"a\\u0041\"", "1"] {
            assert_eq!(text(none.as_bytes()), None, "{none}");
        }
    }
}
