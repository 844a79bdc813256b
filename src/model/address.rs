//! Where an instance listens.

use std::fmt;

use serde::{Serialize, Serializer};

/// A host, a TCP port, what is spoken there and where below it Dify is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address; an IPv6 address stands without its brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// What is spoken there.
    pub scheme: Scheme,
    /// What stands before each path that is asked for there: `/dify`, without a slash at its end; empty where
    /// Dify is at the root.
    pub base_path: String,
}

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub fn usual_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Address {
    /// As it stands in a `Host` header: `host:port`, and for https without its usual port.
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.scheme, self.port) {
            (Scheme::Https, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Address {
    /// `host:port`, with `https://` before it where TLS is spoken and the base path behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == Scheme::Https {
            f.write_str("https://")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}{}", self.host, self.port, self.base_path)
        } else {
            write!(f, "{}:{}{}", self.host, self.port, self.base_path)
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
