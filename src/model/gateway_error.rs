//! What a client is told when the gateway has no answer to pass on.

use std::borrow::Cow;
use std::fmt;

use crate::model::Reason;

/// Who is to mend what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client's request.
    Client,
    /// The gateway: its configuration, limits or host.
    Gateway,
    /// The instance behind it.
    Instance,
}

impl Source {
    /// For the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Instance => "instance",
        }
    }
}

/// The sort of an error; each protocol has its own word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
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

impl ErrorKind {
    fn of(reason: Reason) -> Self {
        match reason {
            Reason::Unauthorized => Self::Authentication,
            Reason::AmbiguousApp | Reason::BadRequest | Reason::BodyTimeout => Self::InvalidRequest,
            Reason::BodyTooLarge => Self::TooLarge,
            Reason::NoRoute => Self::NotFound,
            Reason::Forbidden => Self::Permission,
            Reason::Busy => Self::RateLimit,
            Reason::NoInstance
            | Reason::OwnerOut
            | Reason::SpoolFailed
            | Reason::StoreFailed
            | Reason::BodiesFull => Self::Overloaded,
            Reason::InstanceTimeout | Reason::AnswerIdle | Reason::RunNotStarted => Self::Timeout,
            Reason::ConnectFailed
            | Reason::InstanceClosed
            | Reason::InstanceGarbled
            | Reason::AnswerCut
            | Reason::BadStatus
            | Reason::ClientGone
            | Reason::Answered
            | Reason::Local => Self::Server,
        }
    }
}

/// The one error that a client may be told; a protocol renders it.
///
/// `message` goes to the client and says how to mend the request; `detail` goes to the log alone.
/// Neither may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayError {
    /// The one word for metrics and the record.
    pub reason: Reason,
    /// Who is to mend it.
    pub source: Source,
    /// What sort of error.
    pub kind: ErrorKind,
    /// HTTP status, where the response has not begun.
    pub status: u16,
    /// A word for programs, such as Dify's `invalid_param` or OpenAI's `model_not_found`.
    pub code: Cow<'static, str>,
    /// For the client.
    pub message: Cow<'static, str>,
    /// The field of the request that is wrong.
    pub param: Option<String>,
    /// Repeating the request would run it twice, or be in vain.
    pub is_final: bool,
    /// For the log.
    pub detail: Option<String>,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
}

impl GatewayError {
    /// An error of that sort. Below 500 it is the client's to mend (`bad_request` in the record),
    /// else an instance's that has answered; [`Self::with_reason`] says otherwise.
    pub fn new(
        status: u16,
        kind: ErrorKind,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (reason, source) = match status {
            ..500 => (Reason::BadRequest, Source::Client),
            _ => (Reason::Answered, Source::Instance),
        };
        let error = Self::with(reason, source, status, (code.into(), message.into()));
        Self { kind, ..error }
    }

    /// The request is wrong: 400.
    pub fn invalid(code: &'static str, param: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, ErrorKind::InvalidRequest, code, message).with_param(param)
    }

    /// A field that no app of Dify can serve: 400 `unsupported_parameter`.
    pub fn unsupported(param: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::invalid("unsupported_parameter", param, message)
    }

    /// An error that the client is to mend.
    pub fn client(
        reason: Reason,
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::with(reason, Source::Client, status, (code.into(), message.into()))
    }

    /// An error that is the gateway's own doing.
    pub fn gateway(
        reason: Reason,
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::with(reason, Source::Gateway, status, (code.into(), message.into()))
    }

    /// An error because of what an instance did or did not do.
    pub fn instance(
        reason: Reason,
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::with(reason, Source::Instance, status, (code.into(), message.into()))
    }

    fn with(
        reason: Reason,
        source: Source,
        status: u16,
        (code, message): (Cow<'static, str>, Cow<'static, str>),
    ) -> Self {
        Self {
            reason,
            source,
            kind: ErrorKind::of(reason),
            status,
            code,
            message,
            param: None,
            is_final: false,
            detail: None,
            retry_after_s: None,
        }
    }

    /// Another word for metrics and the record; the rest stays.
    #[must_use]
    pub fn with_reason(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    /// Names the field of the request that is wrong.
    #[must_use]
    pub fn with_param(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// Adds what the log should say beyond the message.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The same, not to be repeated.
    #[must_use]
    pub fn for_good(self) -> Self {
        Self { is_final: true, ..self }
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.reason.label(), self.message)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}
