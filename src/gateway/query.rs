//! The parameters of a query: read where they stand, decoded only where something is encoded.

use std::borrow::Cow;

/// A name and its value.
pub(super) type Parameter<'q> = (Cow<'q, str>, Cow<'q, str>);

/// The parameters of a query, as the WHATWG URL Standard reads `application/x-www-form-urlencoded`.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = Parameter<'_>> {
    query.split('&').filter(|piece| !piece.is_empty()).filter_map(|piece| {
        if piece.contains(['%', '+']) {
            return form_urlencoded::parse(piece.as_bytes()).next();
        }
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        Some((Cow::Borrowed(name), Cow::Borrowed(value)))
    })
}

/// The first value of a parameter that is not empty.
pub(super) fn value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    parameters(query).find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};

    use super::{parameters, value};

    proptest! {
        #[test]
        fn parameters_are_those_of_the_standard(query in "[a-c&=%+26é]{0,40}") {
            let read: Vec<_> = parameters(&query).collect();
            let standard: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(read, standard);
        }
    }

    #[test]
    fn the_first_value_that_is_not_empty_counts() {
        assert_eq!(value("user=&user=a%20b&user=c", "user").as_deref(), Some("a b"));
        assert_eq!(value("us%65r=a+b", "user").as_deref(), Some("a b"));
        assert_eq!(value("users=a&user", "user"), None);
    }
}
