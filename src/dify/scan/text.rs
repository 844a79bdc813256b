//! Strings: where they end, and what they say.

use memchr::memchr;
use uuid::Uuid;

/// The key wanted, at most: `conversation_id` with each letter as `\u` and four digits.
const LONGEST: usize = 90;

/// How many bytes of a string are looked at without vector code: a UUID and its quote fit.
const SHORT: usize = 40;

/// The keys that are wanted at the top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Field {
    User,
    Conversation,
    Message,
    Workflow,
    File,
    Mode,
    #[default]
    Other,
}

/// The text of a key as sent, as far as it can still be a wanted one.
#[derive(Debug)]
pub(super) struct Key {
    bytes: [u8; LONGEST],
    /// Above `LONGEST` the key is another one.
    len: usize,
}

impl Key {
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        match self.bytes.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(part);
                self.len = end;
            }
            None => self.len = LONGEST + 1,
        }
    }

    /// Which key it is that ends with `part`.
    pub(super) fn ends_with(&mut self, part: &[u8]) -> Field {
        if self.is_empty() {
            return named(part);
        }
        self.push(part);
        self.bytes.get(..self.len).map_or(Field::Other, named)
    }
}

impl Default for Key {
    fn default() -> Self {
        Self { bytes: [0; LONGEST], len: 0 }
    }
}

#[inline]
pub(super) fn named(raw: &[u8]) -> Field {
    match exactly(raw) {
        Field::Other if may_be_escaped(raw) => match unescape(raw) {
            Ok(Some(key)) => exactly(key.as_bytes()),
            _ => Field::Other,
        },
        field => field,
    }
}

fn may_be_escaped(raw: &[u8]) -> bool {
    // Each escaped letter is five bytes longer, and the wanted keys have 4, 10, 11, 13, 14 and
    // 15 letters.
    (9..=LONGEST).contains(&raw.len())
        && matches!(raw.len() % 5, 0 | 1 | 3 | 4)
        && memchr(b'\\', raw).is_some()
}

#[inline]
fn exactly(key: &[u8]) -> Field {
    match key {
        b"user" => Field::User,
        b"conversation_id" => Field::Conversation,
        b"message_id" => Field::Message,
        b"workflow_id" => Field::Workflow,
        b"upload_file_id" => Field::File,
        b"response_mode" => Field::Mode,
        _ => Field::Other,
    }
}

/// The longest text of a UUID in bytes: `urn:uuid:` and 36 characters, each as `\u` and
/// four digits.
const MAX_ID: usize = 6 * 45;

/// Reads the inside of a JSON string as a UUID.
pub(super) fn id(raw: &[u8]) -> Option<Uuid> {
    // Most conversations begin with "".
    if raw.is_empty() || raw.len() > MAX_ID {
        return None;
    }
    // What has escapes is no UUID yet, and whatever else `unescape` refuses never is one.
    let plain = Uuid::try_parse_ascii(raw).ok();
    if plain.is_some() || memchr(b'\\', raw).is_none() {
        return plain;
    }
    Uuid::try_parse(&unescape(raw).ok()??).ok()
}

/// A short string, the opening quote already read, and what follows its closing one. Keys, ids and
/// most values are short: for them a few words cost less than a call, and the more so one of vector
/// code. One with a quote inside is left to [`end`].
#[inline]
pub(in crate::dify) fn near(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    let place = loop {
        let known = bytes.len() - rest.len();
        let Some((word, after)) = rest.split_first_chunk::<8>() else {
            break known + rest.iter().position(|byte| *byte == b'"')?;
        };
        let hits = quotes(u64::from_le_bytes(*word));
        if hits != 0 {
            break known + hits.trailing_zeros() as usize / 8;
        }
        if known == SHORT - 8 {
            return None;
        }
        rest = after;
    };
    let (text, after) = bytes.split_at_checked(place)?;
    (text.last() != Some(&b'\\')).then_some((text, after.get(1..)?))
}

/// The place after the closing quote, if it is among these bytes. `escaped` carries a backslash
/// that ended one chunk over to the next.
///
/// Only quotes are looked for: in a text that is not ASCII every sixth byte may be a backslash.
pub(in crate::dify) fn end(bytes: &[u8], escaped: &mut bool) -> Option<usize> {
    if bytes.is_empty() {
        return None;
    }
    let begin = usize::from(std::mem::take(escaped));
    let mut at = begin;
    loop {
        let found = memchr(b'"', &bytes[at..]);
        let place = found.map_or(bytes.len(), |found| at + found);
        // An odd number of backslashes takes what follows them with it.
        let slashes = bytes[begin..place].iter().rev().take_while(|byte| **byte == b'\\').count();
        match found {
            Some(_) if slashes % 2 == 0 => return Some(place + 1),
            Some(_) => at = place + 1,
            None => {
                *escaped = slashes % 2 == 1;
                return None;
            }
        }
    }
}

/// The highest bit of each byte that is a quote. Above the first there may be false ones.
fn quotes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES) & !word & (ONES << 7)
}

/// Reads the inside of a JSON string; `None` if it is empty.
///
/// A lone surrogate is an error: Python would keep it, and Dify's database then refuses it with
/// a 500. The same goes for raw control characters, which Python's parser refuses.
pub(super) fn unescape(raw: &[u8]) -> Result<Option<String>, &'static str> {
    // All bytes at once, not up to the first: that is vector code where there are many.
    let special = |byte: &u8| *byte < 0x20 || *byte == b'\\';
    let plain = !raw.iter().fold(false, |found, byte| found | special(byte));
    if !plain && raw.iter().any(|byte| *byte < 0x20) {
        return Err("a control character in the string");
    }
    if raw.is_empty() {
        return Ok(None);
    }
    let text = str::from_utf8(raw).map_err(|_| "the text of `user` is not UTF-8")?;
    if plain {
        return Ok(Some(text.to_owned()));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('\\') {
        out.push_str(plain);
        let (letter, tail) = escape(after)?;
        out.push(letter);
        rest = tail;
    }
    out.push_str(rest);
    Ok(Some(out))
}

/// One escape, the backslash already read.
fn escape(text: &str) -> Result<(char, &str), &'static str> {
    const UNKNOWN: &str = "an unknown escape in the string";
    let mut chars = text.chars();
    let letter = match chars.next().ok_or(UNKNOWN)? {
        plain @ ('"' | '\\' | '/') => plain,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(chars.as_str()),
        _ => return Err(UNKNOWN),
    };
    Ok((letter, chars.as_str()))
}

/// The four digits after `\u`, and the second half of a pair where there is one.
fn unicode(text: &str) -> Result<(char, &str), &'static str> {
    const LONE: &str = "half of a surrogate pair in the string";
    let (unit, rest) = hex4(text)?;
    if let Some(letter) = char::from_u32(unit) {
        return Ok((letter, rest));
    }
    let (second, rest) = hex4(rest.strip_prefix("\\u").ok_or(LONE)?)?;
    match (unit, second) {
        (0xD800..=0xDBFF, 0xDC00..=0xDFFF) => {
            let point = 0x1_0000 + ((unit - 0xD800) << 10) + (second - 0xDC00);
            Ok((char::from_u32(point).ok_or(LONE)?, rest))
        }
        _ => Err(LONE),
    }
}

fn hex4(text: &str) -> Result<(u32, &str), &'static str> {
    const BROKEN: &str = "a broken `\\u` escape in the string";
    let (digits, rest) = text.split_at_checked(4).ok_or(BROKEN)?;
    // `from_str_radix` alone would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(BROKEN);
    }
    Ok((u32::from_str_radix(digits, 16).map_err(|_| BROKEN)?, rest))
}

/// Reads a number or literal by its text; `None` for `null`.
pub(super) fn scalar(raw: &[u8]) -> Result<Option<String>, &'static str> {
    let text = str::from_utf8(raw).map_err(|_| "the value of `user` is not UTF-8")?;
    match text {
        "null" => Ok(None),
        "true" | "false" | "NaN" | "Infinity" | "-Infinity" => Ok(Some(text.to_owned())),
        _ if is_number(raw) => Ok(Some(text.to_owned())),
        _ => Err("the value of `user` is no JSON value"),
    }
}

/// JSON's grammar of numbers.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let places = digits(fraction);
        if places == 0 {
            return false;
        }
        rest = &fraction[places..];
    }
    if let Some(power) = rest.strip_prefix(b"e").or(rest.strip_prefix(b"E")) {
        let power = power.strip_prefix(b"+").or(power.strip_prefix(b"-")).unwrap_or(power);
        return !power.is_empty() && digits(power) == power.len();
    }
    rest.is_empty()
}

/// Reads an object or array by its text as sent.
pub(super) fn nested(raw: &[u8]) -> Result<Option<String>, &'static str> {
    let text = str::from_utf8(raw).map_err(|_| "the value of `user` is not UTF-8")?;
    Ok(Some(text.to_owned()))
}
