//! What goes wrong, in words that every door can say in its own shape.

use std::borrow::Cow;

/// What sort of thing went wrong; each door has its own word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong.
    InvalidRequest,
    /// The key is missing or unknown.
    Authentication,
    /// The key may not do that.
    Permission,
    /// There is no such thing.
    NotFound,
    /// Too many bytes.
    TooLarge,
    /// Too much at once.
    RateLimit,
    /// The gateway, Dify or the model behind it failed.
    Server,
    /// It took too long.
    Timeout,
    /// Nobody can serve it at the moment.
    Overloaded,
}

/// An error as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status, where the answer has not begun.
    pub status: u16,
    /// What sort of error.
    pub kind: Kind,
    /// A word for programs, such as `model_not_found`.
    pub code: Cow<'static, str>,
    /// For people; says how to mend it.
    pub message: String,
    /// The field of the request that is wrong.
    pub param: Option<String>,
    /// Repeating the request would run it twice, or be in vain: `x-should-retry: false`.
    pub is_final: bool,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
}

impl Fault {
    /// An error without param, retry or end.
    pub fn new(
        status: u16,
        kind: Kind,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            code: code.into(),
            message: message.into(),
            param: None,
            is_final: false,
            retry_after_s: None,
        }
    }

    /// The request is wrong: 400.
    pub fn invalid(code: &'static str, param: &str, message: impl Into<String>) -> Self {
        let fault = Self::new(400, Kind::InvalidRequest, code, message);
        Self { param: Some(param.to_owned()), ..fault }
    }

    /// A field that no app of Dify can serve: 400 `unsupported_parameter`.
    pub fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self::invalid("unsupported_parameter", param, message)
    }

    /// The same, not to be repeated.
    #[must_use]
    pub fn for_good(self) -> Self {
        Self { is_final: true, ..self }
    }
}
