//! Where a client has reached the gateway, as the client sees it.

use crate::gateway::framing::is_host;
use crate::gateway::heads::RequestHead;
use crate::gateway::names::Name;
use crate::gateway::outbound::Origin;

/// Scheme and host of the gateway as the client of a request has written them, such as
/// `https://ai.example.org`. What trusted proxies say of it is believed. Empty if nobody says a host.
pub(super) fn seen_at(head: &RequestHead, origin: &Origin) -> String {
    let said = |name: Name| {
        let all = head.fields.get(name).filter(|_| origin.via_proxy)?;
        // The first proxy is next to the client.
        all.split(|byte| *byte == b',').next().map(<[u8]>::trim_ascii)
    };
    let schemes: [&[u8]; 2] = [b"http", b"https"];
    let scheme = said(Name::ForwardedProto)
        .filter(|scheme| schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)))
        .unwrap_or(origin.scheme.label().as_bytes());
    let host = said(Name::ForwardedHost)
        .filter(|host| is_host(host))
        .or_else(|| head.uri.authority().map(|authority| authority.as_str().as_bytes()))
        .or_else(|| head.fields.get(Name::Host))
        .unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
    match host.is_empty() {
        true => String::new(),
        false => format!("{}://{}", text(scheme), text(host)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::rc::Rc;

    use http::{Method, Version};

    use super::seen_at;
    use crate::gateway::fields::Fields;
    use crate::gateway::heads::RequestHead;
    use crate::gateway::outbound::Origin;
    use crate::model::Scheme;

    fn seen(fields: &[(&str, &str)], via_proxy: bool) -> String {
        let (uri, fields) = (http::Uri::from_static("/v1/models"), Fields::of_lines(fields));
        let head = RequestHead { method: Method::GET, uri, version: Version::HTTP_11, fields };
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let peer = Rc::from("127.0.0.1");
        seen_at(&head, &Origin { peer, client, is_known: true, scheme: Scheme::Http, via_proxy })
    }

    #[test]
    fn a_client_sees_what_it_wrote_or_what_its_proxy_says() {
        let proxied = [
            ("host", "10.0.0.3:8080"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "AI.example.org, inner"),
        ];
        assert_eq!(seen(&proxied, true), "https://ai.example.org");
        assert_eq!(seen(&proxied, false), "http://10.0.0.3:8080");
        let silent = [("host", "Gate:8080"), ("x-forwarded-proto", "gopher")];
        assert_eq!(seen(&silent, true), "http://gate:8080");
        let broken = [("host", "gate"), ("x-forwarded-host", "a b/<c>")];
        assert_eq!(seen(&broken, true), "http://gate");
        assert_eq!(seen(&[], false), "");
    }
}
