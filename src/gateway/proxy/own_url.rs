//! Where a client found the gateway, for links back to it.

use http::uri::Authority;

use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::headers::Headers;
use crate::gateway::upstream::client_info::ClientInfo;

/// `scheme://host[:port]` as the client wrote it, or as a trusted proxy says it did; none if the
/// request names no host.
pub(crate) fn own_url(origin: &ClientInfo, head: &RequestHead) -> Option<String> {
    let by_proxy = |name| origin.via_proxy.then(|| first(&head.headers, name)).flatten();
    let scheme =
        by_proxy(KnownHeader::ForwardedProto).filter(|scheme| matches!(*scheme, "http" | "https"));
    let host = by_proxy(KnownHeader::ForwardedHost).filter(|host| is_host(host));
    // RFC 9112 §3.2.2: the host of an absolute URI counts, not the header.
    let host = host.or_else(|| head.uri.authority().map(Authority::as_str));
    let host =
        host.or_else(|| first(&head.headers, KnownHeader::Host)).filter(|host| is_host(host))?;
    Some(format!("{}://{host}", scheme.unwrap_or(origin.scheme.label())))
}

/// The first of a header's values: of several proxies that of the outermost.
pub(crate) fn first(headers: &Headers, name: KnownHeader) -> Option<&str> {
    headers.text(name)?.split(',').next().map(str::trim)
}

pub(crate) fn is_host(text: &str) -> bool {
    !text.contains('@') && text.parse::<Authority>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use http::Request;

    use super::own_url;
    use crate::gateway::http::head::RequestHead;
    use crate::gateway::upstream::client_info::ClientInfo;
    use crate::model::Scheme;

    fn found(uri: &str, headers: &[(&str, &str)], scheme: Scheme, via_proxy: bool) -> String {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = RequestHead::of_parts(request.body(()).unwrap().into_parts().0);
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let origin =
            ClientInfo { peer: "127.0.0.1".into(), client, is_known: true, scheme, via_proxy };
        own_url(&origin, &head).unwrap_or_default()
    }

    #[test]
    fn the_host_is_the_one_that_the_client_wrote() {
        let host = [("host", "gate:8080")];
        assert_eq!(found("/v1/x", &host, Scheme::Http, false), "http://gate:8080");
        assert_eq!(found("/v1/x", &host, Scheme::Https, false), "https://gate:8080");
        assert_eq!(found("http://other/v1/x", &host, Scheme::Http, false), "http://other");
        assert_eq!(found("/v1/x", &[], Scheme::Http, false), "");
        assert_eq!(found("/v1/x", &[("host", "a@b")], Scheme::Http, false), "");
    }

    #[test]
    fn only_a_trusted_proxy_says_how_the_client_came() {
        let headers = [
            ("host", "gate"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "ai.example.org, inner"),
        ];
        assert_eq!(found("/v1/x", &headers, Scheme::Http, true), "https://ai.example.org");
        assert_eq!(found("/v1/x", &headers, Scheme::Http, false), "http://gate");
        let odd = [("host", "gate"), ("x-forwarded-proto", "ws"), ("x-forwarded-host", "a b")];
        assert_eq!(found("/v1/x", &odd, Scheme::Http, true), "http://gate");
    }
}
