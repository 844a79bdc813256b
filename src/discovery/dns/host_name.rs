//! Names that are asked for exactly as they stand.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hickory_resolver::proto::rr::Name;

/// A name to look up, always from the root: `api` is asked for as `api.`, whatever `search` and `ndots`
/// in `/etc/resolv.conf` say.
///
/// Otherwise a host in the operator's search domain that happens to be called `api` answers in the place
/// of a container that is not there (a host with wildcard records even for each name). Where a search
/// domain is meant, as in Kubernetes, the name is to be written in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(Name);

/// Why a text is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// An address needs no discovery.
    #[error("`{0}` is an address, which needs no DNS: list it under `instances`")]
    Address(IpAddr),
    /// A name with a part that is empty or too long, or with characters that no name has.
    #[error("`{0}` is no name of a host: letters, digits, `-`, `_` and dots are")]
    Invalid(String),
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Err(HostNameError::Address(address));
        }
        let invalid = || HostNameError::Invalid(text.to_owned());
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text == "." || !text.chars().all(is_allowed) {
            return Err(invalid());
        }
        let mut name = Name::from_ascii(text).map_err(|_| invalid())?;
        name.set_fqdn(true);
        Ok(Self(name.to_lowercase()))
    }
}

impl HostName {
    /// As the resolver wants it.
    pub(super) fn as_name(&self) -> &Name {
        &self.0
    }
}

impl fmt::Display for HostName {
    /// With its final dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{HostName, HostNameError};

    #[test]
    fn a_name_is_always_asked_for_from_the_root() {
        for (text, name) in [
            ("api", "api."),
            ("api.", "api."),
            ("API.Example.com", "api.example.com."),
            ("_http._tcp.api.dify.svc.cluster.local", "_http._tcp.api.dify.svc.cluster.local."),
        ] {
            let parsed: HostName = text.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert!(parsed.as_name().is_fqdn());
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", ".", "a..b", "a b", "api:5001", "http://api", &"a".repeat(64), "é"] {
            let error = text.parse::<HostName>().unwrap_err();
            assert_eq!(error, HostNameError::Invalid(text.to_owned()));
        }
        for text in ["10.0.0.1", "::1", "[::1]"] {
            assert!(matches!(text.parse::<HostName>(), Err(HostNameError::Address(_))), "{text}");
        }
    }
}
