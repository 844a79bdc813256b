//! How an engine fails.

use std::io;
use std::time::Duration;

use super::address::EngineAddress;

/// Why an engine cannot be asked. `engine` is its address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No such socket.
    #[error(
        "there is no Docker engine at {engine}: mount its socket into the gateway's container, or name \
         a socket proxy"
    )]
    Missing {
        /// Where.
        engine: String,
    },
    /// The socket may not be opened.
    #[error(
        "{engine} may not be opened: run the gateway in the group that owns the socket (in compose: \
         `group_add`), or use a socket proxy"
    )]
    Denied {
        /// Where.
        engine: String,
    },
    /// Nobody listens, or the way there is broken.
    #[error("the Docker engine at {engine} cannot be reached: {cause}")]
    Unreachable {
        /// Where.
        engine: String,
        /// What the system says.
        cause: String,
    },
    /// It takes connections and says nothing.
    #[error("the Docker engine at {engine} did not answer {path} within {limit:?}")]
    Timeout {
        /// Where.
        engine: String,
        /// What was asked for.
        path: String,
        /// How long it had.
        limit: Duration,
    },
    /// It refused, or a socket proxy did.
    #[error(
        "{engine} answered {status} to GET {path}: {message} (a socket proxy on the way must allow it)"
    )]
    Status {
        /// Where.
        engine: String,
        /// What was asked for.
        path: String,
        /// The status code.
        status: u16,
        /// The beginning of what it said.
        message: String,
    },
    /// Its answer cannot be read.
    #[error("the answer of {engine} to GET {path} cannot be read: {cause}")]
    Malformed {
        /// Where.
        engine: String,
        /// What was asked for.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// It is older than what was tested.
    #[error(
        "the Docker engine at {engine} speaks API {version}; 1.41 (engine 20.10) or newer is needed"
    )]
    TooOld {
        /// Where.
        engine: String,
        /// What it speaks.
        version: String,
    },
    /// The event stream ended: it was restarted, or a proxy between cut a connection that was idle.
    #[error("the event stream of {engine} ended")]
    EventsEnded {
        /// Where.
        engine: String,
    },
}

impl EngineError {
    /// What it means that no connection could be made.
    pub(super) fn of_connect(engine: &EngineAddress, error: &io::Error) -> Self {
        let engine = engine.to_string();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { engine },
            io::ErrorKind::PermissionDenied => Self::Denied { engine },
            _ => Self::Unreachable { engine, cause: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::EngineError;
    use crate::discovery::EngineAddress;

    #[test]
    fn what_the_socket_says_is_told_with_how_to_mend_it() {
        for (kind, hint) in [
            (ErrorKind::NotFound, "mount its socket"),
            (ErrorKind::PermissionDenied, "group_add"),
            (ErrorKind::ConnectionRefused, "cannot be reached"),
        ] {
            let error = EngineError::of_connect(&EngineAddress::default(), &Error::from(kind));
            let text = error.to_string();
            assert!(text.contains("unix:///var/run/docker.sock"), "{text}");
            assert!(text.contains(hint), "{text}");
        }
    }
}
