//! Text of others as a part of Markdown: names of files and their addresses, which users and tools choose.
//!
//! CommonMark 0.31: a backslash before ASCII punctuation makes it plain (§2.4), and an address in angle
//! brackets ends at `>` or a line's end (§6.3). What could open HTML, end the link or begin another one
//! stays text.

/// A link to a file, or an image. An address that leads elsewhere than to http, https or a path of the same
/// host makes none: the name stands there as text.
pub(super) fn file(kind: Option<&str>, name: Option<&str>, url: &str) -> String {
    let mark = if kind == Some("image") { "!" } else { "" };
    let name = name.unwrap_or("");
    let name = if name.is_empty() && mark.is_empty() { "file" } else { name };
    let text = text(name);
    match address(url) {
        Some(address) => format!("{mark}[{text}]({address})"),
        None => text,
    }
}

/// A name as plain text within one line.
fn text(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for char in name.chars() {
        match char {
            // A line's end could begin a heading, a list or a quote.
            _ if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => out.push(' '),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '(' | ')' | '#' | '!'
            | '|' | '~' | '&' | ':' | '@' => {
                out.push('\\');
                out.push(char);
            }
            _ => out.push(char),
        }
    }
    out
}

/// An address for the brackets of a link, if it may stand there.
fn address(url: &str) -> Option<String> {
    let url = url.trim();
    if url.is_empty() || !is_of_the_web(url) {
        return None;
    }
    let mut out = String::with_capacity(url.len());
    for char in url.chars() {
        match char {
            // What would end the link or begin something else, and means the same when it is escaped.
            '<' | '>' | '(' | ')' | '[' | ']' | '\\' | '"' | '\'' | '`' | '{' | '}' | '|' | '^' => {
                escape(char, &mut out);
            }
            _ if char.is_control() || char.is_whitespace() => escape(char, &mut out),
            _ => out.push(char),
        }
    }
    Some(out)
}

fn escape(char: char, out: &mut String) {
    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
        out.push_str(&format!("%{byte:02X}"));
    }
}

/// Whether it is http, https or relative to the host that the client talks to. Browsers leave out tabs and
/// line ends within a scheme, so what has any before its first slash is none.
fn is_of_the_web(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return true;
    }
    let head = lower.split(['/', '?', '#']).next().unwrap_or_default();
    // `//host` and `/\host` are another host's.
    let is_elsewhere = |url: &str| {
        let mut chars = url.chars().filter(|char| !char.is_control());
        matches!(chars.next(), Some('/' | '\\')) && matches!(chars.next(), Some('/' | '\\'))
    };
    !is_elsewhere(url)
        && !head.contains(':')
        && !head.contains('\\')
        && !head.contains('&')
        && !head.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::file;

    #[test]
    fn files_become_links_and_images() {
        let url = "/files/tools/7.png?timestamp=1&nonce=2&sign=a_b-c%3D";
        assert_eq!(file(Some("image"), None, url), format!("![]({url})"));
        assert_eq!(file(Some("image"), Some("a.png"), url), format!("![a.png]({url})"));
        assert_eq!(file(Some("document"), None, "https://d/x"), "[file](https://d/x)");
        assert_eq!(file(None, Some("报告 1.pdf"), "HTTP://d/x"), "[报告 1.pdf](HTTP://d/x)");
        assert_eq!(file(None, Some("a"), "x/y.png"), "[a](x/y.png)");
    }

    #[test]
    fn names_stay_names() {
        for (name, text) in [
            ("a](javascript:alert(1))", r"a\]\(javascript\:alert\(1\)\)"),
            ("![x](http://evil/p.png)", r"\!\[x\]\(http\://evil/p.png\)"),
            ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert\(1\)\>"),
            ("a\n# b\r\n- c\u{2028}d", r"a \# b  - c d"),
            (r"a\", r"a\\"),
            ("`*_~|&amp;", r"\`\*\_\~\|\&amp;"),
        ] {
            assert_eq!(file(None, Some(name), "/f"), format!("[{text}](/f)"), "{name}");
        }
    }

    #[test]
    fn only_addresses_of_the_web_become_links() {
        for url in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\nscript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "mailto:a@b",
            "//evil/x",
            "/\\evil/x",
            "\\\\evil",
            "/\t/evil",
            "javascript&colon;alert(1)",
            "\u{1}javascript:x",
            "",
            "  ",
            "x:y",
        ] {
            assert_eq!(file(Some("image"), Some("a.png"), url), "a.png", "{url:?}");
        }
    }

    #[test]
    fn addresses_cannot_end_their_link() {
        for (url, expected) in [
            ("https://d/x) [b](https://evil", "https://d/x%29%20%5Bb%5D%28https://evil"),
            ("https://d/x\n\n# h", "https://d/x%0A%0A#%20h"),
            ("https://d/<b>\"t\"", "https://d/%3Cb%3E%22t%22"),
            (r"https://d/\)", "https://d/%5C%29"),
            ("https://d/a_b~c*d", "https://d/a_b~c*d"),
        ] {
            assert_eq!(file(None, Some("a"), url), format!("[a]({expected})"), "{url:?}");
        }
    }
}
