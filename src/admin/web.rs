//! What a web page could have a browser send here.
//!
//! A browser stands inside the operators' network and may ask where its user may; the page in it comes
//! from anywhere. Three things tell the two apart: a name of the page's own that leads here (DNS
//! rebinding) stands in `Host`; a page's POST has an `Origin`, and says by `Sec-Fetch-Site` where it
//! comes from; and an image or a link, which needs neither, to a plain-http address of this machine has
//! `Sec-Fetch-Site` all the same, since browsers hold loopback for trustworthy.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN, REFERER};
use axum::http::{HeaderMap, Method};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Alien {
    /// This host is none by which operators ask.
    Host(String),
    /// It changes something, and comes from another site's page.
    Page,
    /// `GET /reload-config`, and perhaps from a page.
    Get,
}

/// Refuses what may come from a web page. A page cannot show the token, so `shows_token` vouches for the
/// name and for a GET that changes something.
///
/// # Errors
/// What makes it look like one.
pub(super) fn check(request: &Request, hosts: &[String], token: Token) -> Result<(), Alien> {
    let (method, path) = (request.method(), request.uri().path());
    if token == Token::Absent
        && path != "/ready"
        && let Some(host) = named(request).find(|host| !is_operators(host, hosts))
    {
        return Err(Alien::Host(host.to_owned()));
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let from_here = is_own_page(request);
        return from_here.then_some(()).ok_or(Alien::Page);
    }
    if path == "/reload-config" && token == Token::Absent && !is_plain_local(request) {
        return Err(Alien::Get);
    }
    Ok(())
}

/// Whether a request shows the admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Shown,
    Absent,
}

/// Every host that the request names, without a port. None in HTTP/1.0, which no browser speaks.
fn named(request: &Request) -> impl Iterator<Item = &str> {
    // What cannot be text is no host, and no name of operators.
    authorities(request).map(without_port)
}

fn authorities(request: &Request) -> impl Iterator<Item = &str> {
    let target = request.uri().authority().map(|authority| authority.as_str());
    let fields = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    target.into_iter().chain(fields)
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !is_open(host) => {
            host
        }
        _ => authority,
    }
}

/// Whether it is the beginning of an IPv6 address in brackets, or such an address without any.
fn is_open(host: &str) -> bool {
    host.contains(':') && !host.ends_with(']')
}

/// A name or address that no page can have for its own.
fn is_operators(host: &str, hosts: &[String]) -> bool {
    if is_address(host) {
        return true;
    }
    let host = host.to_ascii_lowercase();
    let is_label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_name = host.split('.').all(is_label);
    // A number is a name of four parts to a browser.
    (is_label(&host) && !host.bytes().all(|byte| byte.is_ascii_digit()))
        || (is_name && (host.ends_with(".svc") || host.ends_with(".cluster.local")))
        || hosts.iter().any(|known| matches(&known.to_ascii_lowercase(), &host))
}

/// Whether a name is this one, or below `*.` it.
fn matches(known: &str, host: &str) -> bool {
    match known.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => known == host,
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok() || ipv6(host).is_some()
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether it comes from a page of its own host, or from no browser: those say at least one of both.
fn is_own_page(request: &Request) -> bool {
    let headers = request.headers();
    let own_origin = |origin: &str| {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| {
            let mut known = authorities(request).peekable();
            known.peek().is_some() && known.all(|own| own.eq_ignore_ascii_case(host))
        })
    };
    let origins = headers.get_all(ORIGIN).iter();
    let mut sites = headers.get_all("sec-fetch-site").iter();
    origins.map(|origin| origin.to_str().unwrap_or("?")).all(own_origin)
        && sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether it goes to this machine by a name at which browsers always say where a request comes from, and
/// does not say so.
fn is_plain_local(request: &Request) -> bool {
    let mut hosts = named(request).peekable();
    hosts.peek().is_some() && hosts.all(is_local) && !speaks_as_browser(request.headers())
}

fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || ipv6(host).is_some_and(|address| address.is_loopback())
}

fn speaks_as_browser(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name == ORIGIN || name == REFERER || name.as_str().starts_with("sec-fetch-"))
}

impl Alien {
    /// The status, the code and the text of the answer.
    pub(super) fn answer(&self) -> (u16, &'static str, String) {
        match self {
            Self::Host(host) => {
                // What it says goes back to who said it, as a line to copy and no more.
                let name: String =
                    host.chars().filter(|char| is_of_a_name(*char)).take(253).collect();
                let text = format!(
                    "Operators do not ask by the host {name:?}, and a web page could have that name lead \
                     here. If it is yours, add it: `admin: {{ hosts: [{name}] }}`. Addresses, `localhost`, \
                     names without a dot and those of Kubernetes services need no line, nor does who shows \
                     `admin.token`."
                );
                (421, "misdirected_request", text)
            }
            Self::Page => {
                let text = "This changes something, and comes from a web page of another site (`Origin`, \
                    `Sec-Fetch-Site`).";
                (403, "forbidden", text.to_owned())
            }
            Self::Get => {
                let text = "Use POST: a GET reloads only with `Authorization: Bearer <admin.token>`, or by \
                    the host 127.0.0.1, [::1] or localhost and from no browser.";
                (403, "forbidden", text.to_owned())
            }
        }
    }
}

fn is_of_a_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-_.".contains(char)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;

    use super::{Alien, Token, check};

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn is_named(host: &str) -> bool {
        let hosts = ["Gate.example.com".to_owned(), "*.ops.example".to_owned()];
        check(&request("GET", "/status", &[("host", host)]), &hosts, Token::Absent).is_ok()
    }

    #[test]
    fn operators_ask_by_names_that_no_page_can_have() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "192.0.2.7:80",
            "[::1]",
            "[::1]:9090",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:9090",
            "difygate",
            "difygate:9090",
            "dify_gate-1:9090",
            "difygate.prod.svc",
            "difygate.prod.svc:9090",
            "difygate.prod.svc.cluster.local",
            "gate.example.com",
            "GATE.example.com:9090",
            "a.ops.example",
            "b.a.ops.example:1",
        ] {
            assert!(is_named(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.nip.example",
            "localhost.",
            "evil.",
            "",
            ":9090",
            "[::1].evil.example",
            "[evil.example]",
            "::1",
            "x.gate.example.com",
            "gate.example.com.evil.example",
            "ops.example",
            ".ops.example",
            "evilops.example",
            "svc.example",
            ".svc",
            "evil.example#.svc",
            "evil.example/.svc",
            "2130706433",
            "cluster.local.example",
            "1.2.3.4.5",
            "a b",
            "?",
        ] {
            assert!(!is_named(host), "{host}");
        }
    }

    #[test]
    fn every_name_in_a_request_counts() {
        let one = request("GET", "http://evil.example/status", &[("host", "localhost")]);
        assert_eq!(check(&one, &[], Token::Absent), Err(Alien::Host("evil.example".to_owned())));
        let two = request("GET", "/status", &[("host", "localhost"), ("host", "evil.example")]);
        assert!(check(&two, &[], Token::Absent).is_err());
        let none = request("GET", "/status", &[]);
        assert_eq!(check(&none, &[], Token::Absent), Ok(()));
        let token = request("GET", "/status", &[("host", "evil.example")]);
        assert_eq!(check(&token, &[], Token::Shown), Ok(()));
        let ready = request("GET", "/ready", &[("host", "evil.example")]);
        assert_eq!(check(&ready, &[], Token::Absent), Ok(()));
    }

    #[test]
    fn a_post_comes_from_no_page_or_from_one_of_its_own_host() {
        let post = |host: &str, headers: &[(&str, &str)], token| {
            let headers: Vec<_> = [("host", host)].iter().chain(headers).copied().collect();
            check(&request("POST", "/reload-config", &headers), &[], token)
        };
        let own: &[&[(&str, &str)]] = &[
            &[],
            &[("origin", "http://localhost:9090")],
            &[("origin", "https://LOCALHOST:9090"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ];
        for headers in own {
            assert_eq!(post("localhost:9090", headers, Token::Absent), Ok(()), "{headers:?}");
        }
        let others: &[&[(&str, &str)]] = &[
            &[("origin", "http://evil.example")],
            &[("origin", "http://localhost")],
            &[("origin", "http://localhost:9091")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "http://localhost:9090"), ("origin", "http://evil.example")],
            &[("origin", "http://localhost:9090"), ("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "Same-Origin, cross-site")],
        ];
        for headers in others {
            for token in [Token::Absent, Token::Shown] {
                assert_eq!(post("localhost:9090", headers, token), Err(Alien::Page), "{headers:?}");
            }
        }
    }

    #[test]
    fn a_get_reloads_with_the_token_or_from_this_machine_and_no_browser() {
        let get = |method: &str, host: &str, more: &[(&str, &str)], token| {
            let headers: Vec<_> = [("host", host)].iter().chain(more).copied().collect();
            check(&request(method, "/reload-config", &headers), &[], token)
        };
        for host in ["127.0.0.1", "127.8.9.1:9090", "localhost", "localhost:9090", "[::1]:9090"] {
            assert_eq!(get("GET", host, &[], Token::Absent), Ok(()), "{host}");
            for name in ["origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"]
            {
                for method in ["GET", "HEAD"] {
                    let refused = get(method, host, &[(name, "none")], Token::Absent);
                    assert_eq!(refused, Err(Alien::Get), "{method} {host} {name}");
                }
            }
        }
        for host in ["difygate:9090", "192.0.2.7", "difygate.prod.svc", "[2001:db8::1]"] {
            assert_eq!(get("GET", host, &[], Token::Absent), Err(Alien::Get), "{host}");
            assert_eq!(get("GET", host, &[], Token::Shown), Ok(()), "{host}");
        }
        let nameless = check(&request("GET", "/reload-config", &[]), &[], Token::Absent);
        assert_eq!(nameless, Err(Alien::Get));
    }

    #[test]
    fn the_line_to_add_is_named_and_holds_nothing_else() {
        let (status, _, text) = Alien::Host("gate.example.org".to_owned()).answer();
        assert_eq!(status, 421);
        assert!(text.contains("`admin: { hosts: [gate.example.org] }`"), "{text}");
        let (_, _, text) = Alien::Host("a] }\n<script>".to_owned()).answer();
        assert!(text.contains("hosts: [ascript] }"), "{text}");
    }
}
