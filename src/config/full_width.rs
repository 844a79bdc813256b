//! Full-width punctuation, as input methods for Chinese give it, where a configuration needs its own.
//!
//! YAML takes `token：x` for one word, so what it says of it leads astray: instead of that, each such place
//! is named. Only a text that is wrong anyway is searched, and but for a colon behind a key only where an error
//! is: names and texts may have any of these.

use std::ops::Range;

use super::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use super::key_table::{is_foreign_name, is_known_key};

/// What was meant by a full-width character.
pub(super) fn meant(c: char) -> Option<char> {
    Some(match c {
        '：' => ':',
        '，' | '、' => ',',
        '“' | '”' | '＂' => '"',
        '‘' | '’' => '\'',
        '【' | '［' => '[',
        '】' | '］' => ']',
        '｛' => '{',
        '｝' => '}',
        '＝' => '=',
        _ => return None,
    })
}

/// What is to be said of a full-width character, if it is one.
pub(super) fn advice(c: char) -> Option<String> {
    meant(c).map(|meant| format!("full-width `{c}`: write `{meant}`"))
}

/// Units as people write them who think in Chinese; longer ones before those that they end with.
const UNITS: [(&str, &str); 8] = [
    ("毫秒", "ms"),
    ("秒钟", "s"),
    ("秒", "s"),
    ("分钟", "m"),
    ("分", "m"),
    ("小时", "h"),
    ("天", "d"),
    ("日", "d"),
];

/// A mistake in a line.
struct Found {
    /// In bytes of the line.
    at: Range<usize>,
    message: String,
    hint: String,
    /// Whether all that is said of the text may come from it.
    breaks_text: bool,
}

/// Names full-width punctuation, and drops the errors that follow from it.
pub(super) fn find(text: &str, sink: &mut DiagnosticSink) {
    if !sink.has_errors() || text.is_ascii() {
        return;
    }
    let (mut start, mut all, mut lines) = (0, Vec::new(), Vec::new());
    for line in text.split_inclusive('\n') {
        let range = start..start + line.len();
        let found = if line.is_ascii() { Vec::new() } else { in_line(line) };
        let is_wrong = sink.has_error_in(&range);
        for Found { at, message, hint, breaks_text } in found {
            if breaks_text || is_wrong {
                all.push(
                    DiagnosticBuilder::error(start + at.start..start + at.end, message).hint(hint),
                );
                lines.push((range.clone(), breaks_text));
            }
        }
        start += line.len();
    }
    match lines.iter().any(|(_, breaks_text)| *breaks_text) {
        true => sink.drop_errors(),
        false => lines.iter().for_each(|(line, _)| sink.drop_errors_in(line)),
    }
    all.into_iter().for_each(|draft| sink.add(draft));
}

/// The mistakes of a line. A text in quotes is passed over.
fn in_line(line: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let (mut begins, mut number, mut quote) = (true, false, None);
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        let rest = &line[at..];
        if c == '#' && before == ' ' && quote.is_none() {
            break;
        }
        let is_quoted = quote.is_some();
        match quote {
            Some(open) if c == open => quote = None,
            None if begins && matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        if !is_quoted {
            let unit = UNITS.iter().find(|(unit, _)| number && rest.starts_with(unit));
            if let Some((unit, meant)) = unit {
                let hint = format!("write `{meant}` right behind the number, such as `60{meant}`");
                let at = at..at + unit.len();
                let message = format!("`{unit}` is not a unit that is read");
                found.push(Found { at, message, hint, breaks_text: false });
            }
            found.extend(mark(line, at, c, begins));
            number = c.is_ascii_digit() && (begins || number) || number && c == ' ';
            begins = match c {
                ' ' => begins || matches!(before, ':' | '-'),
                '[' | '{' | ',' | '：' | '，' => true,
                _ => false,
            };
        }
        before = c;
    }
    found
}

/// A full-width character where its narrow one was meant.
fn mark(line: &str, at: usize, c: char, begins: bool) -> Option<Found> {
    let meant = meant(c)?;
    let range = at..at + c.len_utf8();
    let found = |what: &str, hint: String| {
        let message = format!("this is a full-width {what}");
        Some(Found { at: range.clone(), message, hint, breaks_text: false })
    };
    match c {
        '：' if stands_behind_key(&line[..at]) => {
            let hint = "write `: `, with a blank behind it".to_owned();
            let found = found("colon `：`, and YAML needs `:`", hint);
            found.map(|found| Found { breaks_text: true, ..found })
        }
        '：' => found("colon `：`", "write `:`".to_owned()),
        '，' | '、' => {
            found(&format!("comma `{c}`"), "write `, `, with a blank behind it".to_owned())
        }
        '“' | '‘' | '＂' if begins => {
            found(&format!("quotation mark `{c}`"), format!("write `{meant}` at both ends"))
        }
        '【' | '［' | '｛' if begins => {
            let end = if meant == '{' { '}' } else { ']' };
            found(&format!("bracket `{c}`"), format!("write `{meant}…{end}`"))
        }
        _ => None,
    }
}

/// Whether a line so far is a key and nothing else, or ends so after a bracket or a comma.
fn stands_behind_key(before: &str) -> bool {
    let last = before.rsplit(['{', ',', '，']).next().unwrap_or_default();
    let word = last.trim_start_matches([' ', '-', '　']).trim_matches(['"', '\'']);
    is_known_key(word) || is_foreign_name(word) || super::key_table::is_name(word)
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, Style, parse};

    #[test]
    fn a_full_width_colon_is_named_where_it_stands_and_no_secret_is_shown() {
        let text = "listen：127.0.0.1:8080\napps:\n  智能客服：\n    user_tokens: [\"客：服\"]\n    \
                    instances:\n      - { name: a, host: h, token：app-secret }\n";
        let found = parse("gateway.yaml", text, &Environment::default()).unwrap_err();
        let places: Vec<_> = found.to_string().lines().map(str::to_owned).collect();
        assert_eq!(places.len(), 3, "{found}");
        for (line, place) in places.iter().zip(["1:7", "3:7", "6:34"]) {
            assert!(
                line.starts_with(&format!(
                    "gateway.yaml:{place}: error: this is a full-width colon"
                )),
                "{line}"
            );
        }
        let shown = found.render(Style::Plain);
        assert!(!shown.contains("secret") && shown.contains("智能客服："), "{shown}");
        assert!(shown.contains("token：***"), "{shown}");
    }

    #[test]
    fn one_in_a_value_is_none_of_our_business() {
        let text = "apps: { shop: { aliases: [\"客：服\"], user_tokens: [\"user-token\"], instances: \
                    [{ name: a, host: h, token: app-of-a }] } }\n";
        assert!(parse("gateway.yaml", text, &Environment::default()).is_ok());
        let wrong = parse("gateway.yaml", &text.replace("host", "hots"), &Environment::default());
        assert!(wrong.unwrap_err().to_string().contains("hots"));
    }

    #[test]
    fn each_full_width_mark_is_named_with_what_to_write() {
        let text = "listen: 127.0.0.1:8080\ntimeouts: { idle: 60s }\napps:\n  shop:\n    user_tokens: [user-token-1]\n    \
                    instances:\n      - { name: a, host: h, token: app-secret, max_concurrent: 10 }\n";
        assert!(parse("gateway.yaml", text, &Environment::default()).is_ok());
        for (from, to, place, said) in [
            ("127.0.0.1:", "127.0.0.1：", "1:18", "full-width colon `：`|write `:`"),
            ("a, host", "a，host", "7:18", "full-width comma `，`|write `, `"),
            ("[user-token-1]", "[user-token-1，user-token-2]", "5:31", "comma `，`|write `, `"),
            (
                "127.0.0.1:8080",
                "“127.0.0.1:8080”",
                "1:9",
                "full-width quotation mark `“`|write `\"`",
            ),
            ("[user-token-1]", "【user-token-1】", "5:18", "full-width bracket `【`|write `[…]`"),
            ("60s", "60秒", "2:21", "`秒` is not a unit|write `s` right behind the number"),
            ("60s", "60 分钟", "2:22", "`分钟` is not a unit|write `m`"),
        ] {
            let wrong = text.replacen(from, to, 1);
            let found = parse("gateway.yaml", &wrong, &Environment::default());
            let found = found.expect_err(to);
            assert!(
                found.to_string().starts_with(&format!("gateway.yaml:{place}: ")),
                "{to}: {found}"
            );
            let shown = found.render(Style::Plain);
            for part in said.split('|') {
                assert!(shown.contains(part), "{to}: {shown}");
            }
            assert_eq!(found.findings().len(), 1, "{shown}");
            assert!(!shown.contains("secret") && !shown.contains("user-token"), "{shown}");
        }
    }
}
