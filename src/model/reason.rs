//! Why a request ended as it did: a closed list, used as a metric label and in the record.

use serde::Serialize;

/// The one word that says how a request ended. Metrics and logs carry it; a new variant makes the
/// compiler ask at every place that must decide about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The instance's answer was passed on to its end.
    Answered,
    /// The gateway answered itself: health, status, CORS preflight.
    Local,
    /// No `Authorization`, a wrong scheme or an unknown token.
    Unauthorized,
    /// A token of several apps came without `X-Difygate-App`.
    AmbiguousApp,
    /// The request breaks HTTP's framing rules or is not what it says it is.
    BadRequest,
    /// The body is larger than `limits.max_body`.
    BodyTooLarge,
    /// The client did not send its body in time.
    BodyTimeout,
    /// The body could not be kept in `spool_dir`.
    SpoolFailed,
    /// No app serves this path.
    NoRoute,
    /// The path is an admin's and this client is not one; or it is of the knowledge API, which is not
    /// open to this app's clients.
    Forbidden,
    /// Every instance of the app is out, and `last_resort` is `refuse`.
    NoInstance,
    /// All connection slots of the instance stayed taken until the queue's limit.
    Busy,
    /// No candidate could be connected to.
    ConnectFailed,
    /// The instance closed or broke the connection before an answer.
    InstanceClosed,
    /// The instance's answer is not HTTP.
    InstanceGarbled,
    /// The instance did not answer in time.
    InstanceTimeout,
    /// The instance's answer broke off after it had begun.
    AnswerCut,
    /// The instance's answer stood still for longer than `timeouts.idle`.
    AnswerIdle,
    /// The client went away before the end.
    ClientGone,
    /// The instance that has what the request names is out.
    OwnerOut,
    /// The instance answered with a status after which another is asked. Of attempts only.
    BadStatus,
    /// Conversations cannot be looked up, and turns are refused then.
    StoreFailed,
    /// All request bodies together have as much memory as `limits.all_bodies_memory` allows.
    BodiesFull,
    /// A streamed flow said nothing within `timeouts.run_start`. It may still be done.
    RunNotStarted,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 24] = [
        Self::Answered,
        Self::Local,
        Self::Unauthorized,
        Self::AmbiguousApp,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::SpoolFailed,
        Self::NoRoute,
        Self::Forbidden,
        Self::NoInstance,
        Self::Busy,
        Self::ConnectFailed,
        Self::InstanceClosed,
        Self::InstanceGarbled,
        Self::InstanceTimeout,
        Self::AnswerCut,
        Self::AnswerIdle,
        Self::ClientGone,
        Self::OwnerOut,
        Self::BadStatus,
        Self::StoreFailed,
        Self::BodiesFull,
        Self::RunNotStarted,
    ];

    /// The label: lower case, words joined by `_`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Local => "local",
            Self::Unauthorized => "unauthorized",
            Self::AmbiguousApp => "ambiguous_app",
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::SpoolFailed => "spool_failed",
            Self::NoRoute => "no_route",
            Self::Forbidden => "forbidden",
            Self::NoInstance => "no_instance",
            Self::Busy => "busy",
            Self::ConnectFailed => "connect_failed",
            Self::InstanceClosed => "instance_closed",
            Self::InstanceGarbled => "instance_garbled",
            Self::InstanceTimeout => "instance_timeout",
            Self::AnswerCut => "answer_cut",
            Self::AnswerIdle => "answer_idle",
            Self::ClientGone => "client_gone",
            Self::OwnerOut => "owner_out",
            Self::BadStatus => "bad_status",
            Self::StoreFailed => "store_failed",
            Self::BodiesFull => "bodies_full",
            Self::RunNotStarted => "run_not_started",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn the_label_is_what_serde_writes_and_the_list_is_whole() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{}\"", reason.label()));
        }
        assert_eq!(Reason::ALL.len(), Reason::RunNotStarted as usize + 1);
    }
}
