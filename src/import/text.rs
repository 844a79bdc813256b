//! From the bytes of a file to a text that the parser can take.
//!
//! Editors on Windows begin a file with a byte order mark and save Chinese in GBK, and a configuration
//! that was copied from a page has the page's fences around it. The parser knows none of that, and
//! panics at a backtick.

use encoding_rs::{Encoding, GB18030};

use super::remark::{Remark, whole};

/// A text and what was done to it.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) remarks: Vec<Remark>,
}

/// Reads UTF-8, UTF-16 with a mark, or GBK.
///
/// # Errors
/// It is none of these, or has a backtick where Lua has none.
pub(super) fn read(bytes: &[u8]) -> Result<Text, Remark> {
    let mut remarks = Vec::new();
    let decoded = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => {
            encoding.decode_without_bom_handling_and_without_replacement(&bytes[mark..])
        }
        None => str::from_utf8(bytes).ok().map(Into::into),
    };
    let decoded = decoded.or_else(|| {
        let message = "this is not UTF-8: it was read as GBK";
        remarks.push(whole(message, "look at its names and comments in the result"));
        GB18030.decode_without_bom_handling_and_without_replacement(bytes)
    });
    let Some(decoded) = decoded else {
        return Err(whole("this is neither UTF-8 nor GBK text", "save the file as UTF-8"));
    };
    let text = without_backticks(&decoded, &mut remarks)?;
    Ok(Text { text, remarks })
}

/// Blanks the fences of a page, so that all places stay as they are.
fn without_backticks(text: &str, remarks: &mut Vec<Remark>) -> Result<String, Remark> {
    let mut out = String::with_capacity(text.len());
    let mut within = Within::Code;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if within == Within::Code && is_fence(line) {
            remarks.push(Remark {
                line: number + 1,
                column: 1,
                message: "this fence of a page was passed over".to_owned(),
                hint: Some("it is Markdown's, and no Lua"),
            });
            out.extend(line.chars().filter(|c| matches!(c, '\r' | '\n')));
            continue;
        }
        if let Some(column) = within.line(line) {
            return Err(Remark {
                line: number + 1,
                column,
                message: "a backtick (`) stands outside a text".to_owned(),
                hint: Some("Lua has none: remove it, or put a text between \" and \""),
            });
        }
        out.push_str(line);
    }
    Ok(out)
}

/// Three backticks, and perhaps the name of a language.
fn is_fence(line: &str) -> bool {
    let rest = line.trim().strip_prefix("```");
    rest.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// What of Lua the next character stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Code,
    /// `[[…]]` with so many `=`, a text or a comment.
    Long(usize),
}

impl Within {
    /// Goes on over a line; the column of a backtick in code.
    fn line(&mut self, line: &str) -> Option<usize> {
        let mut rest = line;
        let column = |rest: &str| line[..line.len() - rest.len()].chars().count() + 1;
        while !rest.is_empty() {
            if let Self::Long(level) = *self {
                let end = rest.find(&format!("]{}]", "=".repeat(level)))?;
                rest = &rest[end + level + 2..];
                *self = Self::Code;
                continue;
            }
            if let Some(level) = long_bracket(rest.strip_prefix("--").unwrap_or(rest)) {
                let dashes = if rest.starts_with("--") { 2 } else { 0 };
                rest = &rest[dashes + level + 2..];
                *self = Self::Long(level);
                continue;
            }
            match rest.chars().next() {
                Some('-') if rest.starts_with("--") => return None,
                Some('`') => return Some(column(rest)),
                Some(quote @ ('"' | '\'')) => rest = after_quotes(rest, quote),
                first => rest = &rest[first.map_or(1, char::len_utf8)..],
            }
        }
        None
    }
}

/// How many `=` a long bracket has that begins here.
fn long_bracket(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('[')?;
    let level = inner.bytes().take_while(|byte| *byte == b'=').count();
    inner[level..].starts_with('[').then_some(level)
}

/// What follows a text in quotes on its line. One that goes on after a `\` at the line's end is read as
/// ended: its next line has no quote of its own before that which ends it.
fn after_quotes(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::read;

    fn text(bytes: &[u8]) -> String {
        read(bytes).unwrap().text
    }

    #[test]
    fn marks_and_encodings_are_undone() {
        assert_eq!(text("\u{feff}return 1".as_bytes()), "return 1");
        assert_eq!(text(b"\xff\xfer\0e\0t\0"), "ret");
        // "客服" in GBK.
        let gbk = read(b"-- \xbf\xcd\xb7\xfe").unwrap();
        assert_eq!(gbk.text, "-- 客服");
        assert!(gbk.remarks[0].message.contains("GBK"), "{gbk:?}");
        assert!(read(b"\xff").unwrap_err().message.contains("neither UTF-8 nor GBK"));
    }

    #[test]
    fn a_stray_backtick_is_placed_and_others_are_none_of_ours() {
        let place = |lua: &str| read(lua.as_bytes()).map(drop).map_err(|r| (r.line, r.column));
        assert_eq!(place("x = 1\ny = 客`z`"), Err((2, 6)));
        assert_eq!(place("--[[ ` ]] `"), Err((1, 11)));
        assert_eq!(place("x = [==[ ` ]] ]==] .. `"), Err((1, 23)));
        for good in
            ["-- `", "x = '`' .. \"\\\"`\"", "--[[ a\n`\n]]", "x = [[\n`]]", "--[=[ ]] ` ]=]"]
        {
            assert_eq!(place(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn the_fences_of_a_page_are_passed_over() {
        let read = read(b"```lua\r\nreturn 1\n```\n").unwrap();
        assert_eq!(read.text, "\r\nreturn 1\n\n");
        let lines: Vec<_> = read.remarks.iter().map(|remark| remark.line).collect();
        assert_eq!(lines, [1, 3]);
    }
}
