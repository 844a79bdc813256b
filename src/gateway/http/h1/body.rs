//! Where a body ends (RFC 9112 §6.3), and its bytes up to there.

use bytes::Bytes;

use crate::gateway::http::h1::chunked::Chunks;
use crate::gateway::http::header_name::Name;
use crate::gateway::http::headers::{Fields, decimal};

/// What is still to come of a body.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many bytes.
    Known(u64),
    /// Chunks.
    Chunked(Chunks),
    /// All until the other side closes.
    UntilClose,
}

impl Body {
    /// By the headers of a request; the rules of `framing` are checked elsewhere.
    pub(crate) fn of_request(fields: &Fields) -> Self {
        if fields.has(Name::TransferEncoding) {
            return Self::Chunked(Chunks::new());
        }
        Self::Known(length(fields).unwrap_or(0))
    }

    /// By the headers of an answer that may have a body.
    pub(crate) fn of_answer(fields: &Fields) -> Self {
        if fields.has(Name::TransferEncoding) {
            return Self::Chunked(Chunks::new());
        }
        match fields.has(Name::ContentLength) {
            true => Self::Known(length(fields).unwrap_or(0)),
            false => Self::UntilClose,
        }
    }

    /// Whether nothing is to come.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Known(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_over(),
            Self::UntilClose => false,
        }
    }

    /// How many bytes are to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Known(left) => Some(*left),
            Self::Chunked(chunks) => chunks.is_over().then_some(0),
            Self::UntilClose => None,
        }
    }

    /// Takes what belongs to the body from the front of `input`: its next piece, if there is one.
    ///
    /// # Errors
    /// The chunks are not valid.
    pub(crate) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, &'static str> {
        if input.is_empty() || self.is_over() {
            return Ok(None);
        }
        match self {
            Self::Known(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                Ok(Some(input.split_to(here)))
            }
            Self::Chunked(chunks) => chunks.decode(input),
            Self::UntilClose => Ok(Some(std::mem::take(input))),
        }
    }

    /// The other side has closed: whether the body is whole.
    pub(crate) fn ends_by_closing(&mut self) -> bool {
        if matches!(self, Self::UntilClose) {
            *self = Self::Known(0);
        }
        self.is_over()
    }
}

/// One decimal number that fits.
fn length(fields: &Fields) -> Option<u64> {
    decimal(fields.get(Name::ContentLength)?)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Body;
    use crate::gateway::http::headers::Fields;

    #[test]
    fn a_body_ends_where_its_headers_say() {
        let mut body = Body::of_request(&Fields::of_lines(&[("content-length", "5")]));
        let mut input = Bytes::from_static(b"helloGET /");
        assert_eq!(body.decode(&mut input).unwrap().unwrap(), "hello");
        assert!(body.is_over() && input == "GET /");
        assert!(Body::of_request(&Fields::of_lines(&[])).is_over());
    }

    #[test]
    fn an_answer_without_a_length_ends_with_its_connection() {
        let mut body = Body::of_answer(&Fields::of_lines(&[]));
        assert_eq!(body.decode(&mut Bytes::from_static(b"all")).unwrap().unwrap(), "all");
        assert!(!body.is_over() && body.left().is_none() && body.ends_by_closing());
        let mut cut = Body::of_answer(&Fields::of_lines(&[("content-length", "5")]));
        assert!(!cut.ends_by_closing());
        let mut cut = Body::of_answer(&Fields::of_lines(&[("transfer-encoding", "chunked")]));
        assert!(!cut.ends_by_closing());
    }
}
