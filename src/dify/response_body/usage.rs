//! What a run used, read from `metadata` or from a workflow's `data`.
//!
//! Dify writes it plainly: keys in ASCII without escapes, counts as digits. What is written so is
//! read here as it is passed over. Anything else, valid or not, is left to serde_json; and what is
//! taken here serde_json takes as well, with the same counts.

use serde::Deserialize;

use super::json_members::value;

/// What a run used, as Dify counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// 0 where Dify says only the total (workflows).
    pub prompt_tokens: u64,
    /// 0 where Dify says only the total (workflows).
    pub completion_tokens: u64,
    /// The sum.
    pub total_tokens: u64,
}

/// How deep values are passed over here.
const MAX_DEPTH: usize = 16;

/// The most digits of a count, so that it fits.
const MAX_DIGITS: usize = 19;

#[derive(Deserialize)]
struct Metadata {
    usage: Option<Tokens>,
}

/// Of `metadata.usage`, and of a workflow's `data`, which has the total alone.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
    pub(super) total_tokens: Option<u64>,
}

impl Tokens {
    pub(super) fn usage(self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.total_tokens.unwrap_or(0),
        }
    }
}

/// The `usage` of a `metadata` that begins here, and what follows that. `None` if it breaks off.
pub(super) fn of_metadata(json: &[u8]) -> Option<(Option<Tokens>, &[u8])> {
    metadata(json).or_else(|| {
        let (value, after) = value(json)?;
        let metadata: Option<Metadata> = serde_json::from_slice(value).ok().flatten();
        Some((metadata.and_then(|metadata| metadata.usage), after))
    })
}

/// The same of a workflow's `data`.
pub(super) fn of_data(json: &[u8]) -> Option<(Option<Tokens>, &[u8])> {
    tokens(json).or_else(|| {
        let (value, after) = value(json)?;
        Some((serde_json::from_slice(value).ok().flatten(), after))
    })
}

/// `None`, here and below, means that serde_json has to look.
fn metadata(json: &[u8]) -> Option<(Option<Tokens>, &[u8])> {
    let mut usage = None;
    let after = object(json, |key, value| {
        if key != b"usage" {
            return pass(value, MAX_DEPTH);
        }
        let (tokens, after) = tokens(value).filter(|_| usage.is_none())?;
        usage = Some(tokens);
        Some(after)
    })?;
    Some((usage.flatten(), after))
}

fn tokens(json: &[u8]) -> Option<(Option<Tokens>, &[u8])> {
    let (mut prompt, mut completion, mut total) = (None, None, None);
    let after = object(json, |key, value| {
        let place = match key {
            b"prompt_tokens" => &mut prompt,
            b"completion_tokens" => &mut completion,
            b"total_tokens" => &mut total,
            _ => return pass(value, MAX_DEPTH),
        };
        let (count, after) = count(value).filter(|_| place.is_none())?;
        *place = Some(count);
        Some(after)
    })?;
    let tokens = Tokens {
        prompt_tokens: prompt.unwrap_or(0),
        completion_tokens: completion.unwrap_or(0),
        total_tokens: total,
    };
    Some((Some(tokens), after))
}

/// Gives each member's key and all from its value on to `take`, which gives back what follows the
/// value. Gives what follows the object.
fn object<'a>(
    json: &'a [u8],
    mut take: impl FnMut(&'a [u8], &'a [u8]) -> Option<&'a [u8]>,
) -> Option<&'a [u8]> {
    let mut rest = blanks(json.strip_prefix(b"{")?);
    if let [b'}', after @ ..] = rest {
        return Some(after);
    }
    loop {
        let (key, after) = plain(rest.strip_prefix(b"\"")?)?;
        let after = take(key, blanks(blanks(after).strip_prefix(b":")?))?;
        match blanks(after) {
            [b',', next @ ..] => rest = blanks(next),
            [b'}', after @ ..] => return Some(after),
            _ => return None,
        }
    }
}

/// What follows a value.
fn pass(json: &[u8], depth: usize) -> Option<&[u8]> {
    match json {
        [b'"', text @ ..] => passed_text(text),
        [b'{', ..] => object(json, |_, value| pass(value, depth.checked_sub(1)?)),
        [b'[', items @ ..] => passed_items(items, depth.checked_sub(1)?),
        [b't', b'r', b'u', b'e', after @ ..] => Some(after),
        [b'f', b'a', b'l', b's', b'e', after @ ..] => Some(after),
        [b'n', b'u', b'l', b'l', after @ ..] => Some(after),
        _ => passed_number(json),
    }
}

fn passed_items(json: &[u8], depth: usize) -> Option<&[u8]> {
    let mut rest = blanks(json);
    if let [b']', after @ ..] = rest {
        return Some(after);
    }
    loop {
        match blanks(pass(rest, depth)?) {
            [b',', next @ ..] => rest = blanks(next),
            [b']', after @ ..] => return Some(after),
            _ => return None,
        }
    }
}

/// A string's text, the opening quote already read, up to its end.
fn passed_text(json: &[u8]) -> Option<&[u8]> {
    let mut rest = json;
    loop {
        rest = match unusual(rest, |word| word.wrapping_sub(ONES * 0x20) & !word) {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'u', digits @ ..] => {
                let (digits, after) = digits.split_first_chunk::<4>()?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(after)?
            }
            [b'\\', letter, after @ ..] if b"\"\\/bfnrt".contains(letter) => after,
            _ => return None,
        };
    }
}

/// The same of a string in ASCII without escapes, with its text.
fn plain(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = unusual(json, |word| word.wrapping_sub(ONES * 0x20) | word);
    let after = rest.strip_prefix(b"\"")?;
    Some((&json[..json.len() - rest.len()], after))
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// All from the first quote, backslash or other unusual byte on: one for which `other` sets the
/// highest bit. It may also set those of bytes above the first.
#[inline]
fn unusual(json: &[u8], other: impl Fn(u64) -> u64) -> &[u8] {
    let hits = |word: u64| {
        let (quotes, slashes) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
        let zeros = (quotes.wrapping_sub(ONES) | slashes.wrapping_sub(ONES)) & !word;
        (zeros | other(word)) & (ONES << 7)
    };
    let mut rest = json;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let hits = hits(u64::from_le_bytes(*word));
        if hits != 0 {
            return &rest[hits.trailing_zeros() as usize / 8..];
        }
        rest = after;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    &rest[(hits(u64::from_le_bytes(last)).trailing_zeros() as usize / 8).min(rest.len())..]
}

/// A count in plain digits. Whether the number ends there, the object sees.
fn count(json: &[u8]) -> Option<(u64, &[u8])> {
    let digits = digits(json);
    if digits == 0 || digits > MAX_DIGITS || (digits > 1 && json[0] == b'0') {
        return None;
    }
    let (digits, after) = json.split_at(digits);
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    Some((count, after))
}

/// A number by JSON's grammar.
fn passed_number(json: &[u8]) -> Option<&[u8]> {
    let mut rest = json.strip_prefix(b"-").unwrap_or(json);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return None;
    }
    rest = &rest[whole..];
    if let [b'.', fraction @ ..] = rest {
        rest = some_digits(fraction)?;
    }
    if let [b'e' | b'E', power @ ..] = rest {
        rest = match power {
            [b'+' | b'-', power @ ..] => some_digits(power)?,
            _ => some_digits(power)?,
        };
    }
    Some(rest)
}

fn some_digits(json: &[u8]) -> Option<&[u8]> {
    match digits(json) {
        0 => None,
        digits => Some(&json[digits..]),
    }
}

fn digits(json: &[u8]) -> usize {
    json.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// What follows white space.
fn blanks(json: &[u8]) -> &[u8] {
    match json {
        [next, ..] if *next > b' ' => json,
        [b' ', next, ..] if *next > b' ' => &json[1..],
        _ => {
            let blank = |byte: &&u8| matches!(**byte, b' ' | b'\n' | b'\r' | b'\t');
            &json[json.iter().take_while(blank).count()..]
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};

    use super::{Metadata, Tokens, metadata, of_data, of_metadata, tokens};

    const REAL: &str = r#"{"annotation_reply": null, "usage": {"prompt_tokens": 31,
        "prompt_unit_price": "0.0", "completion_tokens": 7, "total_tokens": 38, "latency": 0.25},
        "retriever_resources": [{"content": "a\n\u00e9"}]}"#;

    #[test]
    fn what_dify_writes_is_read_without_a_parser() {
        let expected = Tokens { prompt_tokens: 31, completion_tokens: 7, total_tokens: Some(38) };
        let (found, after) = metadata(REAL.as_bytes()).unwrap();
        assert_eq!((found, after), (Some(expected), &b""[..]));
        assert_eq!(tokens(br#"{"status":"succeeded","total_tokens":9},"x""#).unwrap().1, b",\"x\"");
        for end in 0..REAL.len() {
            assert_eq!(of_metadata(&REAL.as_bytes()[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_dify_does_not_write_is_left_to_the_parser() {
        for unusual in [
            r#"{"total_tokens": 1.0}"#,
            r#"{"total_tokens": 01}"#,
            r#"{"total_tokens": 1, "total_tokens": 2}"#,
            r#"{"total_tokens": null}"#,
            r#"{"total\u005ftokens": 1}"#,
            r#"{"total_tokens": 1,}"#,
            r#"{"total_tokens": 123456789012345678901}"#,
            "{\"a\": \"\n\", \"total_tokens\": 1}",
            r#"{"a": "\x", "total_tokens": 1}"#,
            "null",
            "[1, 2, 3]",
        ] {
            assert_eq!(tokens(unusual.as_bytes()), None, "{unusual}");
        }
        let total = of_data(br#"{"total\u005ftokens": 1}"#).unwrap().0.unwrap().total_tokens;
        assert_eq!(total, Some(1));
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "a",
            "usage",
            r"\n",
            r"\u00e9",
            r"\ud800",
            r"\x",
            r#"\""#,
            "\n",
            "é",
            "{",
            "]",
            "xxxxxxxxxxxx",
        ]);
        prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            text(),
            prop::sample::select(vec![
                "0",
                "7",
                "01",
                "-0",
                "1.5",
                "1e3",
                "1.",
                "-1.5e+09",
                "9223372036854775807",
                "18446744073709551615",
                "18446744073709551616",
                "null",
                "true",
                "falsch",
                "{}",
                "[ ]",
                "",
            ])
            .prop_map(str::to_owned),
        ];
        let key = prop_oneof![
            1 => text(),
            4 => prop::sample::select(vec![
                "usage", "prompt_tokens", "completion_tokens", "total_tokens", "x",
            ])
            .prop_map(|key| format!("\"{key}\"")),
        ];
        leaf.prop_recursive(3, 24, 4, move |inner| {
            let member =
                (key.clone(), prop::sample::select(vec![":", ": ", " :\n"]), inner.clone())
                    .prop_map(|(key, colon, value)| format!("{key}{colon}{value}"));
            let comma = prop::sample::select(vec![",", ", ", " ,\t", ",,"]);
            prop_oneof![
                1 => (prop::collection::vec(inner, 0..4), comma.clone())
                    .prop_map(|(items, comma)| format!("[{}]", items.join(comma))),
                3 => (prop::collection::vec(member, 0..5), comma, Just(()))
                    .prop_map(|(members, comma, ())| format!("{{{}}}", members.join(comma))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_here_serde_json_reads_the_same(json in json()) {
            let json = json.as_bytes();
            let read = |after: &[u8]| &json[..json.len() - after.len()];
            if let Some((found, after)) = metadata(json) {
                let parsed: Option<Metadata> = serde_json::from_slice(read(after)).unwrap();
                prop_assert_eq!(found, parsed.and_then(|metadata| metadata.usage));
            }
            if let Some((found, after)) = tokens(json) {
                let parsed: Option<Tokens> = serde_json::from_slice(read(after)).unwrap();
                prop_assert_eq!(found, parsed);
            }
        }
    }
}
