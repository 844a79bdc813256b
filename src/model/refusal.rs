//! An answer that the gateway gives itself because it cannot pass one on.

use std::borrow::Cow;
use std::fmt;

use crate::model::Reason;

/// Who is to mend what a refusal complains about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client's request.
    Client,
    /// The gateway: its configuration, limits or host.
    Gateway,
    /// The instance behind it.
    Instance,
}

/// What the client is told and what the log adds to it. The door gives it its shape.
///
/// `message` goes to the client and says how to mend the request; `detail` goes to the log alone.
/// Neither may hold a secret.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The one word for metrics and the record.
    pub reason: Reason,
    /// Who is to mend it.
    pub source: Source,
    /// HTTP status.
    pub status: u16,
    /// Dify's `code`, such as `invalid_param`.
    pub code: &'static str,
    /// For the client.
    pub message: Cow<'static, str>,
    /// For the log.
    pub detail: Option<String>,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal of the client's request.
    pub fn client(
        reason: Reason,
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(reason, Source::Client, status, (code, message.into()))
    }

    /// A refusal that is the gateway's own doing.
    pub fn gateway(
        reason: Reason,
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(reason, Source::Gateway, status, (code, message.into()))
    }

    /// A refusal because of what an instance did or did not do.
    pub fn instance(
        reason: Reason,
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(reason, Source::Instance, status, (code, message.into()))
    }

    fn new(
        reason: Reason,
        source: Source,
        status: u16,
        (code, message): (&'static str, Cow<'static, str>),
    ) -> Self {
        Self { reason, source, status, code, message, detail: None, retry_after_s: None }
    }

    /// Adds what the log should say beyond the message.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.reason.label(), self.message)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}
