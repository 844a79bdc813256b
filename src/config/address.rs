//! An instance's address from `host` and `port` or from `url`.

use std::net::Ipv6Addr;

use crate::model::{Address, Scheme};

/// Where Dify's API listens unless told otherwise (`DIFY_PORT` of Dify 1.5.0).
const DIFY_PORT: u16 = 5001;

const FORM: &str = "write `http://` or `https://` and a host, with a port if it is not the usual one: `http://10.0.0.2:5001`";

/// What is wrong with an address, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) message: &'static str,
    pub(super) hint: &'static str,
}

fn unusable<T>(message: &'static str, hint: &'static str) -> Result<T, Unusable> {
    Err(Unusable { message, hint })
}

pub(super) fn from_host(host: &str, port: Option<u16>) -> Result<Address, Unusable> {
    if host.contains("://") {
        return unusable("`host` is a name or an IP address, not a URL", "write it as `url`");
    }
    let port = port.unwrap_or(DIFY_PORT);
    if let Some(host) = valid_host(host) {
        return Ok(Address { host, port, scheme: Scheme::Http, base_path: String::new() });
    }
    let named = host.rsplit_once(':').filter(|(name, _)| valid_host(name).is_some());
    if named.is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        return unusable("`host` takes no port", "write the port as `port`");
    }
    unusable("`host` is neither a name nor an IP address", "write it without a path or blanks")
}

pub(super) fn from_url(url: &str) -> Result<Address, Unusable> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return unusable("`url` has no scheme", FORM);
    };
    let (scheme, usual_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Scheme::Http, 80),
        "https" => (Scheme::Https, 443),
        _ => return unusable("`url` must begin with `http://` or `https://`", FORM),
    };
    if rest.contains('@') {
        let hint = "remove them: the gateway authenticates to Dify with `token`";
        return unusable("`url` contains a user name or a password", hint);
    }
    if rest.contains(['?', '#']) {
        return unusable("`url` contains a query or a fragment", FORM);
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let base_path = base_path(path)?;
    let (host, port) = match authority.rsplit_once(':') {
        // What ends in a bracket is an IPv6 address without a port.
        Some((host, port)) if !authority.ends_with(']') => match port.parse() {
            Ok(port) if port != 0 => (host, port),
            _ => return unusable("the port in `url` is not a number from 1 to 65535", FORM),
        },
        _ => (authority, usual_port),
    };
    if host.contains(':') && !host.starts_with('[') {
        let hint = "put brackets around an IPv6 address: `http://[::1]:5001`";
        return unusable("the host in `url` is neither a name nor an IP address", hint);
    }
    match valid_host(host) {
        Some(host) => Ok(Address { host, port, scheme, base_path }),
        None => unusable("the host in `url` is neither a name nor an IP address", FORM),
    }
}

/// What stands before each path that is asked for, without a slash at its end.
fn base_path(path: &str) -> Result<String, Unusable> {
    let path = path.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let fits = |name: &str| !matches!(name, "" | "." | "..") && name.bytes().all(plain);
    if !path.is_empty() && !path[1..].split('/').all(fits) {
        let hint =
            "write letters, digits and `-._~` between single slashes: `http://10.0.0.2/dify`";
        return unusable("the path in `url` cannot stand before others", hint);
    }
    if path.ends_with("/v1") {
        let hint = "remove `/v1`: it begins the path of each request, and the path in `url` is put before it";
        return unusable("`url` ends with `/v1`", hint);
    }
    Ok(path.to_owned())
}

/// A host in lower case and without brackets, if it is one.
fn valid_host(host: &str) -> Option<String> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let whole = bare.is_none() && (1..=253).contains(&host.len()) && host.bytes().all(fits);
    whole.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{from_host, from_url};

    #[test]
    fn a_host_gets_the_port_of_dify() {
        for (host, port, shown) in [
            ("127.0.0.1", Some(5002), "127.0.0.1:5002"),
            ("Dify-API", None, "dify-api:5001"),
            ("my_dify.local", None, "my_dify.local:5001"),
            ("::1", None, "[::1]:5001"),
            ("[0:0::1]", Some(80), "[::1]:80"),
        ] {
            assert_eq!(from_host(host, port).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_url_gets_the_usual_port_of_its_scheme() {
        for (url, shown) in [
            ("http://127.0.0.1:5002", "127.0.0.1:5002"),
            ("HTTP://Dify/", "dify:80"),
            ("http://[::1]", "[::1]:80"),
            ("https://Dify.example.org", "https://dify.example.org:443"),
            ("HTTPS://[::1]:8443/", "https://[::1]:8443"),
            ("http://[::1]:5001/", "[::1]:5001"),
            ("http://Dify/Dify", "dify:80/Dify"),
            ("https://dify.example.org/a/b-c//", "https://dify.example.org:443/a/b-c"),
        ] {
            assert_eq!(from_url(url).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        let host = |host| from_host(host, None).unwrap_err().message;
        assert_eq!(host("http://dify"), "`host` is a name or an IP address, not a URL");
        assert_eq!(host("dify:5001"), "`host` takes no port");
        assert_eq!(host("dify/v1"), "`host` is neither a name nor an IP address");
        assert_eq!(host("a b"), "`host` is neither a name nor an IP address");
        let url = |url: &str| from_url(url).unwrap_err().message;
        assert_eq!(url("dify:5001"), "`url` has no scheme");
        assert_eq!(url("ftp://dify"), "`url` must begin with `http://` or `https://`");
        assert_eq!(url("http://u:p@dify"), "`url` contains a user name or a password");
        assert_eq!(url("http://dify?x"), "`url` contains a query or a fragment");
        assert_eq!(url("http://dify/v1"), "`url` ends with `/v1`");
        assert_eq!(url("http://dify/dify/v1/"), "`url` ends with `/v1`");
        for path in ["a b", "a//b", "/a", "..", "a/../b", "a/./b", "\u{e4}", "a%"] {
            let written = format!("http://dify/{path}");
            let said = url(&written);
            assert_eq!(said, "the path in `url` cannot stand before others", "{path}");
        }
        assert_eq!(url("http://dify:0"), "the port in `url` is not a number from 1 to 65535");
        assert_eq!(url("http://"), "the host in `url` is neither a name nor an IP address");
        assert_eq!(url("http://::1"), "the host in `url` is neither a name nor an IP address");
    }
}
