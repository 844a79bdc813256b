//! Strings: where they end, and what they say.

use memchr::{memchr, memchr2};
use uuid::Uuid;

/// The key wanted, at most: `conversation_id` with each letter as `\uXXXX`.
const LONGEST: usize = 90;

/// How many bytes of a string are looked at without vector code.
const SHORT: usize = 16;

/// The keys that are wanted at the top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Field {
    User,
    Conversation,
    Message,
    File,
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
        if self.len == 0 {
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

fn named(raw: &[u8]) -> Field {
    let plain = exactly(raw);
    // Each escaped letter is five bytes longer, and the wanted keys have 4, 10, 14 and 15 letters.
    let may_be_escaped = matches!(raw.len() % 5, 0 | 4) && (9..=LONGEST).contains(&raw.len());
    if plain != Field::Other || !may_be_escaped || memchr(b'\\', raw).is_none() {
        return plain;
    }
    match unescape(raw.to_vec()) {
        Ok(Some(key)) => exactly(key.as_bytes()),
        _ => Field::Other,
    }
}

fn exactly(key: &[u8]) -> Field {
    match key {
        b"user" => Field::User,
        b"conversation_id" => Field::Conversation,
        b"message_id" => Field::Message,
        b"upload_file_id" => Field::File,
        _ => Field::Other,
    }
}

/// The longest text of a UUID in bytes: `urn:uuid:` and 36 characters, each as `\uXXXX`.
const MAX_ID: usize = 6 * 45;

/// Reads the inside of a JSON string as a UUID.
pub(super) fn id(raw: Vec<u8>) -> Option<Uuid> {
    if raw.len() > MAX_ID {
        return None;
    }
    Uuid::try_parse(&unescape(raw).ok()??).ok()
}

/// The place after the closing quote, if it is among these bytes. `escaped` carries a backslash
/// that ended one chunk over to the next.
pub(in crate::dify) fn end(bytes: &[u8], escaped: &mut bool) -> Option<usize> {
    let mut at = usize::from(std::mem::take(escaped));
    // Keys and most values are short: calling for vector code costs more than two words at once.
    for _ in 0..SHORT / 8 {
        let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else { break };
        let hits = special(u64::from_le_bytes(*word));
        if hits != 0 {
            at += hits.trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    loop {
        let place = match bytes.get(at) {
            Some(b'"' | b'\\') => at,
            _ => at + memchr2(b'"', b'\\', bytes.get(at..)?)?,
        };
        if bytes[place] == b'"' {
            return Some(place + 1);
        }
        at = place + 2;
        *escaped = at > bytes.len();
    }
}

/// The highest bit of each byte that is a quote or backslash. Above the first hit there may be
/// false ones.
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64))
}

/// Reads the inside of a JSON string; `None` if it is empty.
///
/// A lone surrogate is an error: Python would keep it, and Dify's database then refuses it with
/// a 500. The same goes for raw control characters, which Python's parser refuses.
pub(super) fn unescape(raw: Vec<u8>) -> Result<Option<String>, &'static str> {
    if raw.iter().any(|byte| *byte < 0x20) {
        return Err("a control character in the string");
    }
    if raw.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(raw).map_err(|_| "the text of `user` is not UTF-8")?;
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Ok(Some(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
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

/// `XXXX` after `\u`, and the second half of a pair where there is one.
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
pub(super) fn scalar(raw: Vec<u8>) -> Result<Option<String>, &'static str> {
    let text = String::from_utf8(raw).map_err(|_| "the value of `user` is not UTF-8")?;
    match text.as_str() {
        "null" => Ok(None),
        "true" | "false" | "NaN" | "Infinity" | "-Infinity" => Ok(Some(text)),
        _ if is_number(text.as_bytes()) => Ok(Some(text)),
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
pub(super) fn nested(raw: Vec<u8>) -> Result<Option<String>, &'static str> {
    String::from_utf8(raw).map(Some).map_err(|_| "the value of `user` is not UTF-8")
}
