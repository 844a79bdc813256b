//! The user in `name=value` pairs: a query, or a form as `application/x-www-form-urlencoded`.
//!
//! Dify reads both by Werkzeug: pairs are parted by `&` alone, names may be percent-encoded, of several
//! values the first counts.

use form_urlencoded::{byte_serialize, parse};

const USER: &str = "user";

/// The first `user`, if it is not empty.
pub fn user(pairs: &[u8]) -> Option<String> {
    let first = parse(pairs).find(|(name, _)| name == USER);
    first.map(|(_, value)| value.into_owned()).filter(|user| !user.is_empty())
}

/// Whether there is a `user`, be it an empty one.
pub fn has_user(pairs: &[u8]) -> bool {
    parse(pairs).any(|(name, _)| name == USER)
}

/// The same pairs with each `user` replaced by what `known_as` makes of it (`None`: it is empty), and
/// one more pair if there is none. All others stay as they were sent.
///
/// # Errors
/// As of `known_as`.
pub fn with_user<E>(
    pairs: &[u8],
    known_as: impl Fn(Option<&str>) -> Result<String, E>,
) -> Result<Vec<u8>, E> {
    let mut out = Vec::with_capacity(pairs.len() + USER.len() + 32);
    let mut found = false;
    for pair in pairs.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let named = parse(pair).next().filter(|(name, _)| name == USER);
        match named {
            None => add(&mut out, &[pair]),
            Some((_, value)) => {
                found = true;
                let user = known_as(Some(&*value).filter(|value| !value.is_empty()))?;
                add(&mut out, &[b"user=", encoded(&user).as_bytes()]);
            }
        }
    }
    if !found {
        add(&mut out, &[b"user=", encoded(&known_as(None)?).as_bytes()]);
    }
    Ok(out)
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

fn add(out: &mut Vec<u8>, parts: &[&[u8]]) {
    if !out.is_empty() {
        out.push(b'&');
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::{has_user, user, with_user};

    #[test]
    fn every_user_is_replaced_and_the_rest_stays_as_it_was_sent() {
        let known_as =
            |user: Option<&str>| Ok::<_, Infallible>(format!("k:{}", user.unwrap_or("d")));
        for (pairs, expected) in [
            ("", "user=k%3Ad"),
            ("a=%41&b", "a=%41&b&user=k%3Ad"),
            ("user=al+ice&x=1", "user=k%3Aal+ice&x=1"),
            ("us%65r=bob&&user=eve", "user=k%3Abob&user=k%3Aeve"),
            ("user=&limit=5", "user=k%3Ad&limit=5"),
            ("user", "user=k%3Ad"),
            ("user_id=x;user=y", "user_id=x;user=y&user=k%3Ad"),
            ("user=%E5%BC%A0%26", "user=k%3A%E5%BC%A0%26"),
        ] {
            let Ok(found) = with_user(pairs.as_bytes(), known_as);
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{pairs}");
        }
    }

    #[test]
    fn the_first_user_counts() {
        assert_eq!(user(b"x=1&us%65r=bob&user=eve").as_deref(), Some("bob"));
        assert_eq!(user(b"user=&user=eve"), None);
        assert!(has_user(b"user") && !has_user(b"User=x&a=user"));
    }
}
