//! Dictionaries and lists of texts, as JSON or Python writes them.
//!
//! One reader for both: texts in either quotes, trailing commas, comments from `#` or `//`. What is
//! no text (`None`, `true`, a number) is noted as such; nested ones are refused. Nothing is run.

/// Where a text is not understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// In characters, from 1.
    pub(super) column: usize,
    /// What would have been right.
    pub(super) expected: &'static str,
}

/// A text, or something that is none.
pub(super) type Literal = Option<String>;

/// Reads `{"name": "text", …}`, in its order, a name as often as it is written.
pub(super) fn dictionary(text: &str) -> Result<Vec<(String, Literal)>, Fault> {
    let mut reader = Reader { text, rest: text };
    let mut entries = Vec::new();
    reader.all('{', '}', |reader| {
        let name = reader.literal()?.ok_or_else(|| reader.fault("a name in quotes"))?;
        if !reader.take(':') {
            return Err(reader.fault("a `:`"));
        }
        entries.push((name, reader.literal()?));
        Ok(())
    })?;
    Ok(entries)
}

/// Reads `["text", …]`.
pub(super) fn list(text: &str) -> Result<Vec<Literal>, Fault> {
    let mut reader = Reader { text, rest: text };
    let mut items = Vec::new();
    reader.all('[', ']', |reader| {
        items.push(reader.literal()?);
        Ok(())
    })?;
    Ok(items)
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl Reader<'_> {
    fn fault(&self, expected: &'static str) -> Fault {
        let before = &self.text[..self.text.len() - self.rest.len()];
        Fault { column: before.chars().count() + 1, expected }
    }

    /// The whole text: items between brackets, parted by commas, the last of which may be followed by
    /// one.
    fn all(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if !self.take(open) {
            return Err(self.fault(if open == '{' { "a `{`" } else { "a `[`" }));
        }
        while !self.take(close) {
            item(self)?;
            if !self.take(',') && !self.rest.starts_with(close) {
                return Err(self.fault(if open == '{' { "`,` or `}`" } else { "`,` or `]`" }));
            }
        }
        self.skip();
        if self.rest.is_empty() { Ok(()) } else { Err(self.fault("the end")) }
    }

    /// Passes blanks and comments.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') && !self.rest.starts_with("//") {
                return;
            }
            self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
        }
    }

    /// Whether `mark` comes next, which is then passed, as are blanks on both sides.
    fn take(&mut self, mark: char) -> bool {
        self.skip();
        let after = self.rest.strip_prefix(mark);
        self.rest = after.unwrap_or(self.rest);
        self.skip();
        after.is_some()
    }

    fn literal(&mut self) -> Result<Literal, Fault> {
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            return self.quoted(quote).map(Some);
        }
        let word = |c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.' | '+' | '-');
        let end = self.rest.find(word).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.fault("a text in quotes"));
        }
        self.rest = &self.rest[end..];
        Ok(None)
    }

    fn quoted(&mut self, quote: char) -> Result<String, Fault> {
        let begin = Reader { text: self.text, rest: self.rest };
        let mut chars = self.rest[1..].chars();
        let mut text = String::new();
        loop {
            match chars.next() {
                Some(c) if c == quote => break,
                Some('\\') => escape(&mut chars, &mut text),
                Some(c) => text.push(c),
                None => return Err(begin.fault("a text whose quote is closed")),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }
}

/// What follows a backslash. One that means nothing stays, as in Python.
fn escape(chars: &mut std::str::Chars<'_>, text: &mut String) {
    let plain = match chars.next() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('\n') => return,
        Some(c @ ('\\' | '/' | '"' | '\'')) => c,
        Some(c @ ('u' | 'x')) => match hexadecimal(chars, if c == 'u' { 4 } else { 2 }) {
            Some(unit) => return text.push_str(&character(unit, chars)),
            None => return text.extend(['\\', c]),
        },
        Some(c) => return text.extend(['\\', c]),
        None => return,
    };
    text.push(plain);
}

/// The character of a unit of UTF-16, or of two if the second follows.
fn character(unit: u16, chars: &mut std::str::Chars<'_>) -> String {
    let is_high = (0xD800..0xDC00).contains(&unit);
    let mut ahead = chars.clone();
    match low_surrogate(&mut ahead).filter(|_| is_high) {
        Some(low) => {
            *chars = ahead;
            String::from_utf16_lossy(&[unit, low])
        }
        None => String::from_utf16_lossy(&[unit]),
    }
}

fn hexadecimal(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<u16> {
    let rest = chars.as_str();
    let unit = rest.get(..digits).and_then(|hex| u16::from_str_radix(hex, 16).ok())?;
    *chars = rest[digits..].chars();
    Some(unit)
}

fn low_surrogate(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    *chars = chars.as_str().strip_prefix("\\u")?.chars();
    hexadecimal(chars, 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fault, dictionary, list};

    fn entries(text: &str) -> Vec<(String, String)> {
        let entries = dictionary(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        entries.into_iter().map(|(name, value)| (name, value.unwrap_or("-".into()))).collect()
    }

    #[test]
    fn json_and_python_are_read_alike() {
        let two = [("gpt-4o mini", "app-1"), ("客服", "app-2")];
        let two = two.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for text in [
            r#"{"gpt-4o mini": "app-1", "客服": "app-2"}"#,
            r#"{"gpt-4o mini":"app-1","\u5ba2\u670d":"app-2"}"#,
            "{'gpt-4o mini': 'app-1', '客服': 'app-2',}",
            "\n{\n  # the small one, don't {\n  'gpt-4o mini': \"app-1\", // }\n  '客服'  : 'app-2'\n}  # end",
        ] {
            assert_eq!(entries(text), two, "{text}");
        }
        assert_eq!(entries("{}"), []);
        assert_eq!(entries(" { } "), []);
        let text = r#"{'a': None, 'b': True, "c": null, "d": -1.5e3, 'a': 'x'}"#;
        let words: Vec<_> = entries(text).into_iter().map(|(name, value)| name + &value).collect();
        assert_eq!(words, ["a-", "b-", "c-", "d-", "ax"]);
    }

    #[test]
    fn escapes_are_those_of_both() {
        let text = r#"{"a\"b\\c\/": 'it\'s \x41\u0041\ud83d\ude00 \d \u12', 'l': "\ud83d!"}"#;
        assert_eq!(entries(text)[0], ("a\"b\\c/".into(), "it's AA😀 \\d \\u12".into()));
        assert_eq!(entries(text)[1].1, "\u{FFFD}!");
    }

    #[test]
    fn what_is_not_understood_has_its_place() {
        for (text, column, expected) in [
            ("", 1, "a `{`"),
            ("[]", 1, "a `{`"),
            ("{", 2, "a text in quotes"),
            ("{'客' 'b'}", 6, "a `:`"),
            ("{a: 'b'}", 3, "a name in quotes"),
            ("{'a': }", 7, "a text in quotes"),
            ("{'a': 'b' 'c': 'd'}", 11, "`,` or `}`"),
            ("{'a': 'b", 7, "a text whose quote is closed"),
            ("{'a': {'b': 'c'}}", 7, "a text in quotes"),
            ("{'a': 'b'} x", 12, "the end"),
            ("{,}", 2, "a text in quotes"),
        ] {
            assert_eq!(dictionary(text), Err(Fault { column, expected }), "{text}");
        }
        assert_eq!(
            list("['a', None, \"b\",]").unwrap(),
            [Some("a".into()), None, Some("b".into())]
        );
        assert_eq!(list("['a'").unwrap_err().expected, "`,` or `]`");
    }

    proptest! {
        #[test]
        fn whatever_json_writes_is_read(entries in prop::collection::vec((".*", ".*"), 0..4)) {
            let text = |(name, value): &(String, String)| {
                format!("{}: {}", serde_json::json!(name), serde_json::json!(value))
            };
            let json = format!("{{{}}}", entries.iter().map(text).collect::<Vec<_>>().join(", "));
            let read = dictionary(&json).unwrap();
            let entries: Vec<_> = entries.into_iter().map(|(name, value)| (name, Some(value))).collect();
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"[{'"\\uxd8:,}#/ \na0\[\]客]{0,24}"#) {
            let _ = (dictionary(&text), list(&text));
        }
    }
}
