//! Where an engine listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an engine listens, written as in `DOCKER_HOST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// A Unix socket: `unix:///var/run/docker.sock`.
    Unix(PathBuf),
    /// Plain HTTP, as of a socket proxy: `tcp://socket-proxy:2375`; the part after `tcp://`.
    Tcp(String),
}

/// Why a text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no engine: write unix:///var/run/docker.sock or tcp://socket-proxy:2375")]
pub struct EngineAddressError(String);

impl Default for EngineAddress {
    fn default() -> Self {
        Self::Unix(PathBuf::from("/var/run/docker.sock"))
    }
}

impl FromStr for EngineAddress {
    type Err = EngineAddressError;

    fn from_str(text: &str) -> Result<Self, EngineAddressError> {
        let wrong = || EngineAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let rest = text.strip_prefix("tcp://").ok_or_else(wrong)?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if is_host && is_port { Ok(Self::Tcp(rest.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EngineAddress;

    #[test]
    fn addresses_are_read_as_in_docker_host() {
        for text in ["unix:///var/run/docker.sock", "tcp://proxy:2375", "tcp://[::1]:2375"] {
            assert_eq!(text.parse::<EngineAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "/var/run/docker.sock",
            "unix://docker.sock",
            "tcp://proxy",
            "tcp://:1",
            "tcp://proxy:0",
            "tcp://proxy:2375/v1.41",
            "tcp://a@b:1",
            "https://proxy:2376",
            "ssh://host",
        ] {
            assert!(text.parse::<EngineAddress>().is_err(), "{text}");
        }
    }
}
