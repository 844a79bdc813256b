//! How DNS fails.

/// Why a name has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// NXDOMAIN. Docker's DNS says so of a service none of whose containers runs.
    #[error(
        "there is no name `{name}` (NXDOMAIN): does the service run, and on a network of the gateway?"
    )]
    NoSuchName {
        /// What was asked for.
        name: String,
    },
    /// The name has no address, or none of the kind that was asked for.
    #[error("`{name}` has no such record: the DNS server's answer is empty")]
    Empty {
        /// What was asked for.
        name: String,
    },
    /// SERVFAIL, REFUSED and the like.
    #[error("the DNS server cannot tell about `{name}`: {code}")]
    Refused {
        /// What was asked for.
        name: String,
        /// The response code.
        code: String,
    },
    /// No server answered in time.
    #[error("no DNS server answered for `{name}` within a second, twice: can it be reached?")]
    Timeout {
        /// What was asked for.
        name: String,
    },
    /// An SRV record that names so many hosts is not asked after.
    #[error("`{name}` names {count} hosts, at most {limit} are asked after")]
    TooManyHosts {
        /// What was asked for.
        name: String,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The system's configuration (`/etc/resolv.conf`) cannot be used.
    #[error("the system's DNS configuration cannot be used: {cause}")]
    Configuration {
        /// What is wrong.
        cause: String,
    },
    /// Anything else: a malformed answer, a socket that cannot be made.
    #[error("`{name}` cannot be looked up: {cause}")]
    Other {
        /// What was asked for.
        name: String,
        /// What is wrong.
        cause: String,
    },
}

impl DnsError {
    /// Which of two failures says more: that a server is in trouble more than that it has nothing.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Empty { .. } => 0,
            Self::NoSuchName { .. } => 1,
            _ => 2,
        }
    }
}
