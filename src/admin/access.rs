//! Who may ask for more than `/health`.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use ipnet::IpNet;

use crate::admin::visitor::Listener;
use crate::model::Token;

/// The rules of access.
///
/// The admin token and the addresses in `allow` open both listeners. Without a token configured, the
/// admin listener also answers clients on the same machine.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `admin.token`.
    pub token: Option<Token>,
    /// `admin.allow`.
    pub allow: Vec<IpNet>,
    /// `admin.hosts`.
    pub hosts: Vec<String>,
}

impl Access {
    /// Whether a client may ask, by its address if that is known.
    pub fn allows(&self, address: Option<IpAddr>, headers: &HeaderMap, on: Listener) -> bool {
        address.is_some_and(|address| self.allows_address(address, on)) || self.shows_token(headers)
    }

    /// Whether a client may ask without the token.
    pub(super) fn allows_address(&self, address: IpAddr, on: Listener) -> bool {
        self.allow.iter().any(|net| net.contains(&address))
            || (on == Listener::Admin && self.token.is_none() && address.is_loopback())
    }

    /// Whether these show the admin token.
    pub(super) fn shows_token(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let shown = shown.and_then(|value| value.split_at_checked("Bearer ".len()));
        match (&self.token, shown) {
            (Some(token), Some((scheme, secret))) => {
                scheme.eq_ignore_ascii_case(b"Bearer ") && token.matches(secret.trim_ascii())
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::header::AUTHORIZATION;
    use http::{HeaderMap, HeaderValue};

    use super::Access;
    use crate::admin::visitor::Listener;
    use crate::model::Token;

    const LOCAL: &str = "127.0.0.1";
    const OFFICE: &str = "10.1.2.3";
    const STRANGER: &str = "192.0.2.1";
    const UNKNOWN: &str = "unknown";

    fn allows(access: &Access, address: &str, token: Option<&str>, on: Listener) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers
                .insert(AUTHORIZATION, HeaderValue::try_from(format!("bearer {token}")).unwrap());
        }
        access.allows(address.parse::<IpAddr>().ok(), &headers, on)
    }

    #[test]
    fn without_rules_only_the_same_machine_is_answered_and_only_on_the_admin_listener() {
        let access = Access::default();
        assert!(allows(&access, LOCAL, None, Listener::Admin));
        assert!(!allows(&access, LOCAL, None, Listener::Main));
        assert!(!allows(&access, STRANGER, Some(""), Listener::Admin));
    }

    #[test]
    fn allowed_addresses_and_the_token_open_both_listeners() {
        let access = Access {
            token: Some(Token::new("admin-secret")),
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            hosts: Vec::new(),
        };
        for on in [Listener::Admin, Listener::Main] {
            assert!(allows(&access, OFFICE, None, on));
            assert!(allows(&access, STRANGER, Some("admin-secret"), on));
            assert!(!allows(&access, STRANGER, Some("wrong"), on));
            assert!(!allows(&access, LOCAL, None, on));
            assert!(!allows(&access, UNKNOWN, None, on));
            assert!(allows(&access, UNKNOWN, Some("admin-secret"), on));
        }
    }
}
