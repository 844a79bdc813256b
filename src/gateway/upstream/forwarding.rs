//! What a service is told of its client and of the URL that was asked for.

use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::headers::Headers;
use crate::gateway::upstream::client_info::ClientInfo;
use crate::model::Scheme;

/// What a service is told of its client and of the URL that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    pub client: ClientInfo,
    /// How clients reach the gateway, or the proxy before it.
    pub scheme: Scheme,
    /// Perhaps with a port.
    pub host: Option<String>,
    pub port: u16,
    /// `Dify-Hook-Url`, where the service wants it.
    pub hook_url: Option<String>,
}

impl Forwarding {
    /// Its headers. What a trusted proxy has said before is in `said`, and is added to.
    pub(crate) fn each(&self, said: &Headers, add: &mut impl FnMut(KnownHeader, &[u8])) {
        let peer = self.client.peer.as_bytes();
        add(KnownHeader::ForwardedFor, &self.list(said, KnownHeader::ForwardedFor, peer));
        add(KnownHeader::RealIp, self.client.client.to_string().as_bytes());
        add(KnownHeader::ForwardedProto, self.scheme.label().as_bytes());
        if let Some(host) = &self.host {
            add(KnownHeader::ForwardedHost, host.as_bytes());
        }
        add(KnownHeader::ForwardedPort, self.port.to_string().as_bytes());
        let element = self.element();
        add(KnownHeader::Forwarded, &self.list(said, KnownHeader::Forwarded, element.as_bytes()));
        if let Some(url) = &self.hook_url {
            add(KnownHeader::HookUrl, url.as_bytes());
        }
    }

    /// What trusted proxies have listed, and `own` behind it.
    fn list(&self, said: &Headers, name: KnownHeader, own: &[u8]) -> Vec<u8> {
        let before = said.all(name).filter(|_| self.client.via_proxy);
        let before = before.filter(|list| !list.is_empty());
        before.chain([own]).collect::<Vec<_>>().join(&b", "[..])
    }

    /// An element of `Forwarded` (RFC 7239 §4); what has a colon stands in quotes (§6).
    fn element(&self) -> String {
        let peer = &*self.client.peer;
        let by_whom = match peer.contains(':') {
            true => format!("\"[{peer}]\""),
            false => peer.to_owned(),
        };
        let host = self.host.as_deref().map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
        format!("for={by_whom}{host};proto={}", self.scheme.label())
    }
}
