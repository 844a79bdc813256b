//! Where a client thinks it is: what a trusted proxy says, else what the configuration says, else how
//! it came.

use http::uri::{Authority, PathAndQuery};

use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::proxy::own_url::{first, is_host};
use crate::gateway::state::services::{PublicUrl, ServiceRoute};
use crate::gateway::upstream::client_info::ClientInfo;
use crate::gateway::upstream::forwarding::Forwarding;
use crate::model::Scheme;

/// What the service of a route is told.
pub(super) fn of(
    client: ClientInfo,
    head: &RequestHead,
    public: Option<&PublicUrl>,
    route: &ServiceRoute,
) -> Forwarding {
    let mut forwarding = place(client, head, public);
    if route.says_hook_url {
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let origin = origin(&forwarding);
        forwarding.hook_url = origin.map(|origin| format!("{origin}{target}"));
    }
    forwarding
}

fn place(client: ClientInfo, head: &RequestHead, public: Option<&PublicUrl>) -> Forwarding {
    let by_proxy = |name| client.via_proxy.then(|| first(&head.headers, name)).flatten();
    let said_scheme = by_proxy(KnownHeader::ForwardedProto).and_then(|scheme| match scheme {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    });
    let usual = public.map_or(client.scheme, |public| public.scheme);
    let scheme = said_scheme.unwrap_or(usual);
    let said_host = by_proxy(KnownHeader::ForwardedHost).filter(|host| is_host(host));
    // RFC 9112 §3.2.2: the host of an absolute URI counts, not the header.
    let asked = || {
        let host = head.uri.authority().map(Authority::as_str);
        host.or_else(|| first(&head.headers, KnownHeader::Host)).filter(|host| is_host(host))
    };
    let host = said_host.or_else(|| public.map(|public| public.host.as_str())).or_else(asked);
    let said_port = by_proxy(KnownHeader::ForwardedPort).and_then(|port| port.parse().ok());
    // A proxy that names another scheme or host than the configuration means another port, too.
    let is_public = said_host.is_none() && public.is_some_and(|public| public.scheme == scheme);
    let port = said_port
        .or_else(|| public.filter(|_| is_public).map(|public| public.port))
        .or_else(|| host?.parse::<Authority>().ok()?.port_u16())
        .unwrap_or_else(|| scheme.usual_port());
    let host = host.map(str::to_owned);
    Forwarding { client, scheme, host, port, hook_url: None }
}

/// `scheme://host`, with the port if it is not the usual one; none if the request names no host.
fn origin(forwarding: &Forwarding) -> Option<String> {
    let Forwarding { scheme, host, port, .. } = forwarding;
    let authority: Authority = host.as_deref()?.parse().ok()?;
    let host = authority.host();
    Some(match *port == scheme.usual_port() {
        true => format!("{}://{host}", scheme.label()),
        false => format!("{}://{host}:{port}", scheme.label()),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use http::Request;

    use super::{origin, place};
    use crate::gateway::http::head::RequestHead;
    use crate::gateway::state::services::PublicUrl;
    use crate::gateway::upstream::client_info::ClientInfo;
    use crate::model::Scheme;

    fn found(headers: &[(&str, &str)], public: Option<&PublicUrl>, via_proxy: bool) -> String {
        let mut request = Request::builder().uri("/e/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = RequestHead::of_parts(request.body(()).unwrap().into_parts().0);
        let client = ClientInfo {
            peer: "127.0.0.1".into(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            is_known: true,
            scheme: Scheme::Http,
            via_proxy,
        };
        let place = place(client, &head, public);
        format!("{} {}", origin(&place).unwrap_or_default(), place.port)
    }

    #[test]
    fn a_trusted_proxy_then_the_configuration_then_the_connection_decides() {
        let public = PublicUrl {
            scheme: Scheme::Https,
            host: "dify.example.org:8443".to_owned(),
            port: 8443,
        };
        let inner = ("host", "inner:8080");
        let proto = ("x-forwarded-proto", "https");
        let host = ("x-forwarded-host", "other.example.org");
        let port = ("x-forwarded-port", "444");
        for (headers, configured, via_proxy, expected) in [
            (&[inner][..], None, false, "http://inner:8080 8080"),
            (&[inner, proto, host, port], None, false, "http://inner:8080 8080"),
            (&[inner], Some(&public), false, "https://dify.example.org:8443 8443"),
            (
                &[inner, proto, host, port],
                Some(&public),
                false,
                "https://dify.example.org:8443 8443",
            ),
            (&[("host", "name"), proto], None, true, "https://name 443"),
            (&[inner, proto, host], None, true, "https://other.example.org 443"),
            (&[inner, proto, host, port], None, true, "https://other.example.org:444 444"),
            (&[inner, proto], Some(&public), true, "https://dify.example.org:8443 8443"),
            (&[inner, proto, host], Some(&public), true, "https://other.example.org 443"),
            (&[inner, ("x-forwarded-host", "a b")], None, true, "http://inner:8080 8080"),
            (&[], None, false, " 80"),
        ] {
            assert_eq!(found(headers, configured, via_proxy), expected, "{headers:?} {via_proxy}");
        }
    }
}
