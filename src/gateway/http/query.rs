//! The parameters of a query: read where they stand, decoded only where something is encoded.

use std::borrow::Cow;

/// A name and its value.
pub(crate) type Parameter<'q> = (Cow<'q, str>, Cow<'q, str>);

/// The parameters of a query, as the WHATWG URL Standard reads `application/x-www-form-urlencoded`.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut left = query;
    std::iter::from_fn(move || {
        loop {
            let piece = before(&mut left, b'&')?;
            if !piece.is_empty() {
                return parameter(piece);
            }
        }
    })
}

fn parameter(piece: &str) -> Option<Parameter<'_>> {
    if piece.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return form_urlencoded::parse(piece.as_bytes()).next();
    }
    let mut value = piece;
    let name = before(&mut value, b'=')?;
    Some((Cow::Borrowed(name), Cow::Borrowed(value)))
}

/// What stands before an ASCII byte, or the rest, and leaves what stands behind it; none if nothing is left.
fn before<'t>(text: &mut &'t str, byte: u8) -> Option<&'t str> {
    if text.is_empty() {
        return None;
    }
    // Pieces of a query are short.
    let at = text.bytes().position(|found| found == byte).unwrap_or(text.len());
    let (found, rest) = text.split_at_checked(at)?;
    *text = rest.get(1..).unwrap_or("");
    Some(found)
}

/// The first value of a parameter that is not empty.
pub(crate) fn value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    let [value] = values(query, [name]);
    value
}

/// The first values of parameters that are not empty.
pub(crate) fn values<'q, const N: usize>(
    query: &'q str,
    names: [&str; N],
) -> [Option<Cow<'q, str>>; N] {
    let mut found = [const { None }; N];
    for (key, value) in parameters(query).filter(|(_, value)| !value.is_empty()) {
        let slot = names.iter().position(|name| *name == key).and_then(|at| found.get_mut(at));
        if let Some(slot @ None) = slot {
            *slot = Some(value);
        }
    }
    found
}

/// Whether a parameter's name may end in `_id`.
pub(crate) fn may_name_ids(query: &str) -> bool {
    let query = query.as_bytes();
    query.contains(&b'%') || query.windows(4).any(|part| part == b"_id=")
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};

    use super::{may_name_ids, parameters, value, values};

    proptest! {
        #[test]
        fn parameters_are_those_of_the_standard(query in "[a-c&=%+26é]{0,40}") {
            let read: Vec<_> = parameters(&query).collect();
            let standard: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(read, standard);
        }
    }

    #[test]
    fn values_are_found_in_one_pass() {
        let found = values("user=a&user_id=&user=b&user_id=c", ["user_id", "user"]);
        assert_eq!(found.map(|value| value.unwrap().into_owned()), ["c", "a"]);
        assert!(
            may_name_ids("last_id=1") && may_name_ids("last%5Fid=1") && !may_name_ids("user=a")
        );
    }

    #[test]
    fn the_first_value_that_is_not_empty_counts() {
        assert_eq!(value("user=&user=a%20b&user=c", "user").as_deref(), Some("a b"));
        assert_eq!(value("us%65r=a+b", "user").as_deref(), Some("a b"));
        assert_eq!(value("users=a&user", "user"), None);
    }
}
