//! Files of environment variables, `.env`: lines of `NAME=value`, as people write them for Compose and
//! python-dotenv.
//!
//! A value may stand in quotes, and then go over several lines; so may one that begins with a bracket,
//! up to the bracket that closes it. `export ` before a name is passed over, ` #` begins a comment.
//! `${NAME}` is not replaced here: the reader of the configuration does that.

use std::collections::BTreeMap;

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvFile {
    /// Its variables; of one that is written twice, the last.
    pub(crate) vars: BTreeMap<String, String>,
    /// Lines, from 1, that are no variable.
    pub(crate) faults: Vec<usize>,
}

/// Reads a file.
pub(crate) fn parse(text: &str) -> EnvFile {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut file = EnvFile::default();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or_default();
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            rest = after_line(rest);
            continue;
        }
        let number = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let name = line.split_once('=').and_then(|(name, _)| name_of(name));
        let Some(name) = name else {
            file.faults.push(number);
            rest = after_line(rest);
            continue;
        };
        let start = line.find('=').unwrap_or_default() + 1;
        let (value, after) = value(rest[start..].trim_start_matches([' ', '\t']));
        file.vars.insert(name.to_owned(), value);
        let left = after.split('\n').next().unwrap_or_default().trim();
        if !left.is_empty() && !left.starts_with('#') {
            file.faults.push(number);
        }
        rest = after_line(after);
    }
    file
}

/// What to write instead of a line that is no variable.
pub(crate) fn hint(line: &str) -> String {
    let end = line.find(['：', '＝', ':', '=']);
    let mark = end.and_then(|end| line[end..].chars().next());
    let name = end.and_then(|end| name_of(&line[..end]));
    match (name, mark) {
        (Some(name), Some('：')) => format!("full-width `：`: write `{name}=…`"),
        (Some(name), Some('＝')) => format!("full-width `＝`: write `{name}=…`"),
        (Some(name), Some(':')) => format!("write `{name}=…`"),
        _ => "write `NAME=value`, and `#` before a comment".to_owned(),
    }
}

fn after_line(text: &str) -> &str {
    text.find('\n').map_or("", |end| &text[end + 1..])
}

fn name_of(text: &str) -> Option<&str> {
    let name = text.trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim_start();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit());
    (named && !name.is_empty()).then_some(name)
}

/// A value and what comes after it.
fn value(text: &str) -> (String, &str) {
    let first = text.chars().next();
    match first {
        Some(quote @ ('"' | '\'')) => {
            if let Some(end) = closing_quote(text, quote) {
                return (unescaped(&text[1..end], quote), &text[end + 1..]);
            }
        }
        Some('{' | '[') => {
            if let Some(end) = closing_bracket(text) {
                return (text[..end].to_owned(), &text[end..]);
            }
        }
        _ => {}
    }
    let line = text.split('\n').next().unwrap_or_default();
    let comment = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
    let comment = if line.starts_with('#') { 0 } else { comment };
    (line[..comment].trim_end().to_owned(), &text[line.len()..])
}

fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return Some(at);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// Where a text in brackets ends; brackets within quotes and comments do not count.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut depth = 0u32;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            '"' | '\'' => at += closing_quote(&text[at..], c)?,
            '#' => {
                at += text[at..].find('\n')?;
                continue;
            }
            _ => {}
        }
        at += c.len_utf8();
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// In double quotes `\n`, `\r`, `\t` mean what they do elsewhere; in single ones only quote and
/// backslash can be escaped.
fn unescaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') if quote == '"' => out.push('\n'),
            Some('r') if quote == '"' => out.push('\r'),
            Some('t') if quote == '"' => out.push('\t'),
            Some(c) if c == '\\' || c == quote => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{hint, parse};

    #[test]
    fn a_line_with_another_mark_is_told_what_to_write() {
        for (line, said) in [
            ("SERVER_PORT：5000", "full-width `：`: write `SERVER_PORT=…`"),
            ("export A＝secret", "full-width `＝`: write `A=…`"),
            ("A: secret", "write `A=…`"),
            ("no variable", "write `NAME=value`, and `#` before a comment"),
        ] {
            assert_eq!(parse(line).faults, [1], "{line}");
            assert_eq!(hint(line), said);
        }
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        for (line, value) in [
            ("X=plain", "plain"),
            ("export X = two words  # comment", "two words"),
            ("X=a#b", "a#b"),
            ("X=#all", ""),
            ("X=", ""),
            ("X=\"quo # ted\\n\\\"x\\\"\" # comment", "quo # ted\n\"x\""),
            ("X='single \\n \\'x\\''", "single \\n 'x'"),
            ("X=\"two\nlines\"", "two\nlines"),
            ("X={\"a\": \"b # }\"} # comment", "{\"a\": \"b # }\"}"),
            ("X={\n  'a': 'b', # it's }\n}", "{\n  'a': 'b', # it's }\n}"),
            ("X={open", "{open"),
            ("X=\"open", "\"open"),
            ("X=a=b\r", "a=b"),
        ] {
            let file = parse(&format!("# first\n\n{line}\nY=after\n"));
            assert_eq!(file.vars.get("X").map(String::as_str), Some(value), "{line}");
            assert_eq!(file.vars.get("Y").map(String::as_str), Some("after"), "{line}");
            assert!(file.faults.is_empty(), "{line}");
        }
    }

    #[test]
    fn lines_that_are_no_variable_are_counted() {
        let file = parse("\u{FEFF}A=1\nno variable\n1X=2\nB='x' y\n\nC={\n}\n=\nA=2");
        assert_eq!(file.faults, [2, 3, 4, 8]);
        assert_eq!(file.vars["A"], "2");
        assert_eq!(file.vars["C"], "{\n}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"([A={\["'#\\\]}\n 客]|export ){0,24}"#) {
            parse(&text);
        }
    }
}
