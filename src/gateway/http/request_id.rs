//! The id of a request.

use std::rc::Rc;

use http::HeaderValue;
use uuid::Uuid;

use crate::gateway::http::header_name::Name;
use crate::gateway::http::headers::Fields;

/// The longest id of a client that is taken over, in bytes.
const MOST_BYTES: usize = 128;

/// What `X-Request-ID` says to the client, to the instance and in the access log: visible ASCII
/// without blanks.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Rc<str>);

impl RequestId {
    /// The client's own where it is usable, else a new one.
    pub(crate) fn of(fields: &Fields) -> Self {
        let given = fields.get(Name::RequestId).filter(|id| {
            (1..=MOST_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
        });
        given.and_then(|id| std::str::from_utf8(id).ok()).map_or_else(Self::new, Self::from)
    }

    fn new() -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        Self::from(&*Uuid::new_v4().hyphenated().encode_lower(&mut text))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As the value of a field.
    pub(crate) fn header(&self) -> HeaderValue {
        // It cannot fail: an id is visible ASCII.
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("none"))
    }
}

impl From<&str> for RequestId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;
    use crate::gateway::http::headers::Fields;

    #[test]
    fn a_clients_id_is_kept_where_it_is_usable() {
        let of = |id: &str| RequestId::of(&Fields::of_lines(&[("x-request-id", id)]));
        let longest = "x".repeat(128);
        for usable in ["a", "Req-1/2?", &longest] {
            assert_eq!(of(usable).as_str(), usable);
            assert_eq!(of(usable).header(), usable);
        }
        let too_long = "x".repeat(129);
        for other in ["", "a b", "\u{e9}", "a\u{7f}", &too_long] {
            assert_eq!(of(other).as_str().len(), 36, "{other}");
        }
        assert_ne!(of("").as_str(), of("").as_str());
    }
}
