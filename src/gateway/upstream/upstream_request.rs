//! The request as it goes to an instance.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;
use std::rc::Rc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use memchr::memchr;

use crate::gateway::http::buffered_body::{BufferedBody, ReplayBody};
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::{HeaderSet, KnownHeader};
use crate::gateway::http::headers::{Header, Headers, Occurrence};
use crate::gateway::http::hop_by_hop::StrippedHeaders;
use crate::gateway::http::query;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::http::send_state::SendState;
use crate::gateway::state::member::Member;
use crate::gateway::upstream::client_info::ClientInfo;
use crate::gateway::upstream::forwarding::Forwarding;

/// What the gateway calls itself in requests of its own.
const AGENT: &str = concat!("difygate/", env!("CARGO_PKG_VERSION"));

/// What the gateway says itself, or keeps for itself.
const REPLACED: HeaderSet = HeaderSet::of(&[
    KnownHeader::App,
    KnownHeader::Authorization,
    KnownHeader::ForwardedFor,
    KnownHeader::HookUrl,
    KnownHeader::Host,
    KnownHeader::RealIp,
    KnownHeader::RequestId,
]);

/// The same for a request to a service, whose key is the client's own.
const REPLACED_FOR_SERVICES: HeaderSet = HeaderSet::of(&[
    KnownHeader::App,
    KnownHeader::Forwarded,
    KnownHeader::ForwardedFor,
    KnownHeader::ForwardedHost,
    KnownHeader::ForwardedPort,
    KnownHeader::ForwardedProto,
    KnownHeader::HookUrl,
    KnownHeader::Host,
    KnownHeader::RealIp,
    KnownHeader::RequestId,
]);

/// What only a trusted proxy may say.
const BELIEVED_OF_PROXIES: HeaderSet = HeaderSet::of(&[
    KnownHeader::Forwarded,
    KnownHeader::ForwardedHost,
    KnownHeader::ForwardedPort,
    KnownHeader::ForwardedPrefix,
    KnownHeader::ForwardedProto,
]);

/// A request ready for any member of the pool: all but the member's own token.
///
/// The headers stay as they came. What goes on and what is added is said one by one when the request
/// is sent ([`headers`](Self::headers)), so that nothing is taken out of a head or copied before.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamRequest {
    head: Rc<RequestHead>,
    /// Headers that do not go on, or are replaced.
    stripped: StrippedHeaders,
    sender: Sender,
    request_id: RequestId,
    has_length: bool,
    key: Credential,
    body: BufferedBody,
}

/// By which of a member's keys a request is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The app's.
    App,
    Datasets,
}

#[derive(Clone, Debug)]
enum Sender {
    Client(ClientInfo),
    /// A client of a service.
    Ingress(Box<Forwarding>),
    /// The gateway's own, with a body of this type.
    Gateway(HeaderValue),
}

impl UpstreamRequest {
    /// Leaves out what belongs to the client's connection and adds what the instance should know.
    pub(crate) fn new(
        head: Rc<RequestHead>,
        body: BufferedBody,
        origin: ClientInfo,
        request_id: RequestId,
    ) -> Self {
        let mut stripped = StrippedHeaders::of_request(&head.headers);
        stripped.add_all(REPLACED);
        if !origin.via_proxy {
            stripped.add_all(BELIEVED_OF_PROXIES);
        }
        // HTTP/2 may part cookies, and HTTP/1.1 may not (RFC 9113 §8.2.3).
        if head.headers.said(KnownHeader::Cookie) == Occurrence::Often {
            stripped.add(KnownHeader::Cookie);
        }
        let has_length = !body.is_empty() || !matches!(head.method, Method::GET | Method::HEAD);
        let (sender, key) = (Sender::Client(origin), Credential::App);
        Self { head, stripped, sender, request_id, has_length, key, body }
    }

    /// The same for a service: the client's own key goes on, and what is said of the client is in
    /// `forwarding`.
    pub(crate) fn to_service(
        head: Rc<RequestHead>,
        body: BufferedBody,
        forwarding: Forwarding,
        request_id: RequestId,
    ) -> Self {
        let request = Self::new(head, body, forwarding.client.clone(), request_id);
        let mut stripped = StrippedHeaders::of_request(&request.head.headers);
        stripped.add_all(REPLACED_FOR_SERVICES);
        if !forwarding.client.via_proxy {
            stripped.add(KnownHeader::ForwardedPrefix);
        }
        if request.head.headers.said(KnownHeader::Cookie) == Occurrence::Often {
            stripped.add(KnownHeader::Cookie);
        }
        Self { stripped, sender: Sender::Ingress(Box::new(forwarding)), ..request }
    }

    /// The request is let in by this key.
    pub(crate) fn use_key(&mut self, key: Credential) {
        self.key = key;
    }

    /// A request of the gateway's own.
    pub(crate) fn own(
        method: Method,
        path: &str,
        content_type: HeaderValue,
        body: BufferedBody,
        request_id: &RequestId,
    ) -> Self {
        let has_length = !body.is_empty() || method != Method::GET;
        let uri = path.parse().unwrap_or_default();
        let (version, headers) = (Version::HTTP_11, Headers::default());
        let head = Rc::new(RequestHead { method, uri, version, headers });
        let (sender, request_id) = (Sender::Gateway(content_type), request_id.clone());
        let (stripped, key) = (StrippedHeaders::default(), Credential::App);
        Self { head, stripped, sender, request_id, has_length, key, body }
    }

    /// The instance's response must be read here, so it may not be packed.
    pub(crate) fn refuse_packed_answers(&mut self) {
        self.stripped.add(KnownHeader::AcceptEncoding);
    }

    /// Takes the conversation out of a JSON body, whose value stands at `place`, quotes included: the
    /// turn then begins a new one.
    ///
    /// # Errors
    /// The spool could not be written to.
    pub(crate) async fn leave_conversation(&mut self, place: Range<u64>) -> io::Result<()> {
        let mut empty = b"\"\"".to_vec();
        // Blanks after a value mean nothing, and the length stays the same.
        empty.resize(usize::try_from(place.end - place.start).unwrap_or(2), b' ');
        let body = std::mem::replace(&mut self.body, BufferedBody::EMPTY);
        self.body = body.overwritten(place, empty).await?;
        Ok(())
    }

    /// Whether the request may be sent to a second instance after the first may have had it.
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(self.head.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// The first value of a parameter of its query, if that is not empty.
    pub(crate) fn in_query(&self, name: &str) -> Option<Cow<'_, str>> {
        query::value(self.head.uri.query()?, name)
    }

    pub(crate) fn method(&self) -> &Method {
        &self.head.method
    }

    pub(crate) fn body(&self, progress: &SendState) -> ReplayBody {
        ReplayBody::new(self.body.clone(), progress.clone())
    }

    /// Its headers for one member, but the length, one by one.
    fn headers(&self, member: Option<&Member>, mut put: impl FnMut(Header<'_>)) {
        let mut add = |name: KnownHeader, value: &[u8]| {
            put(Header { name, spelt: name.text().as_bytes(), value });
        };
        // RFC 9112 §3.2.2: the host of an absolute URI counts, not the header.
        let authority = self.head.uri.authority().map(|name| name.as_str().as_bytes());
        let named = authority.or_else(|| self.head.headers.get(KnownHeader::Host));
        let own_host = member.filter(|member| member.instance.goes_by_host() || named.is_none());
        let own_host = own_host.and_then(|member| member.instance.authority());
        let own_host = own_host.map(|host| host.as_str().as_bytes());
        own_host.or(named).into_iter().for_each(|host| add(KnownHeader::Host, host));
        add(KnownHeader::RequestId, self.request_id.as_str().as_bytes());
        match &self.sender {
            Sender::Client(origin) => self.of_client(origin, named, &mut add),
            Sender::Ingress(forwarding) => {
                forwarding.each(&self.head.headers, &mut add);
                self.cookies(&mut add);
            }
            Sender::Gateway(content_type) => {
                add(KnownHeader::UserAgent, AGENT.as_bytes());
                if !self.body.is_empty() {
                    add(KnownHeader::ContentType, content_type.as_bytes());
                }
            }
        }
        let key = member.and_then(|member| match self.key {
            Credential::App => member.authorization.as_ref(),
            Credential::Datasets => member.datasets.as_deref(),
        });
        if let Some(authorization) = key {
            add(KnownHeader::Authorization, authorization.expose());
        }
        let goes_on = |field: &Header<'_>| !self.stripped.has(field) && !is_ambiguous(field);
        self.head.headers.iter().filter(goes_on).for_each(put);
    }

    /// Says who asks. What an untrusted client says of itself is stripped.
    fn of_client(
        &self,
        origin: &ClientInfo,
        host: Option<&[u8]>,
        add: &mut impl FnMut(KnownHeader, &[u8]),
    ) {
        let said = &self.head.headers;
        let peer = origin.peer.as_bytes();
        if origin.via_proxy {
            let before = said.all(KnownHeader::ForwardedFor).filter(|chain| !chain.is_empty());
            let chain = before.chain([peer]).collect::<Vec<_>>();
            add(KnownHeader::ForwardedFor, &chain.join(&b", "[..]));
            add(KnownHeader::RealIp, origin.client.to_string().as_bytes());
        } else {
            add(KnownHeader::ForwardedFor, peer);
            add(KnownHeader::RealIp, peer);
        }
        if !(origin.via_proxy && said.has(KnownHeader::ForwardedProto)) {
            add(KnownHeader::ForwardedProto, origin.scheme.label().as_bytes());
        }
        if let (Some(host), false) =
            (host, origin.via_proxy && said.has(KnownHeader::ForwardedHost))
        {
            add(KnownHeader::ForwardedHost, host);
        }
        self.cookies(add);
    }

    /// Parted cookies as one.
    fn cookies(&self, add: &mut impl FnMut(KnownHeader, &[u8])) {
        let said = &self.head.headers;
        if said.said(KnownHeader::Cookie) == Occurrence::Often {
            let cookies = said.all(KnownHeader::Cookie).collect::<Vec<_>>();
            add(KnownHeader::Cookie, &cookies.join(&b"; "[..]));
        }
    }

    fn target(&self) -> &str {
        self.head.uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// Writes the head for one member, with that member's token, as HTTP/1.1 has it.
    pub(crate) fn write_head(&self, member: &Member, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.method.as_str().as_bytes());
        out.push(b' ');
        let base_path = &member.instance.address().base_path;
        if !base_path.is_empty() {
            out.extend_from_slice(base_path.as_bytes());
        }
        out.extend_from_slice(self.target().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.headers(Some(member), |field| {
            out.extend_from_slice(field.spelt);
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
        });
        if self.has_length {
            // Writing to a vector cannot fail.
            let _ = write!(out, "content-length: {}\r\n", self.body.len());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether an instance would take it for another: WSGI (PEP 3333), which Dify is behind, reads `_` and `-`
/// in names as the same, so that `X_Forwarded_For` would stand beside the gateway's own.
fn is_ambiguous(field: &Header<'_>) -> bool {
    field.name == KnownHeader::Other && memchr(b'_', field.spelt).is_some()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::rc::Rc;

    use bytes::Bytes;
    use http::Request;
    use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

    use super::{ClientInfo, UpstreamRequest};
    use crate::gateway::http::buffered_body::BufferedBody;
    use crate::gateway::http::head::RequestHead;
    use crate::model::Scheme;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn outbound(headers: &[(&str, &str)], origin: &ClientInfo) -> UpstreamRequest {
        let mut request = Request::builder().method("POST").uri("http://gate/v1/x?y=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = RequestHead::of_parts(request.body(()).unwrap().into_parts().0);
        let body = BufferedBody::Piece(Bytes::from_static(b"{}"));
        UpstreamRequest::new(Rc::new(head), body, origin.clone(), "r1".into())
    }

    fn headers(outbound: &UpstreamRequest) -> HeaderMap {
        let mut headers = HeaderMap::new();
        outbound.headers(None, |field| field.put(&mut headers));
        if outbound.has_length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(outbound.body.len()));
        }
        headers
    }

    fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        assert!(headers.get_all(name).iter().count() < 2, "{name}");
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn origin(peer: IpAddr, scheme: Scheme, via_proxy: bool) -> ClientInfo {
        ClientInfo {
            peer: peer.to_string().into(),
            client: CLIENT,
            is_known: true,
            scheme,
            via_proxy,
        }
    }

    #[test]
    fn what_an_untrusted_client_says_of_itself_is_replaced() {
        let resource_ids = [
            ("host", "other"),
            ("authorization", "Bearer user-token"),
            ("x-difygate-app", "shop"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-prefix", "/evil"),
            ("x_forwarded_for", "1.2.3.4"),
            ("X_Forwarded-For", "1.2.3.4"),
            ("x_any", "1"),
            ("content-length", "9"),
        ];
        let origin = origin(CLIENT, Scheme::Http, false);
        let outbound = outbound(&resource_ids, &origin);
        let sent = headers(&outbound);
        assert_eq!(header(&sent, "x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(header(&sent, "x-real-ip"), Some("192.0.2.7"));
        assert_eq!(header(&sent, "x-forwarded-proto"), Some("http"));
        assert_eq!(header(&sent, "x-forwarded-host"), Some("gate"));
        assert_eq!(header(&sent, "host"), Some("gate"));
        assert_eq!(header(&sent, "content-length"), Some("2"));
        assert_eq!(header(&sent, "x-request-id"), Some("r1"));
        for gone in [
            "authorization",
            "x-difygate-app",
            "forwarded",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x_forwarded_for",
            "x_forwarded-for",
            "x_any",
        ] {
            assert_eq!(header(&sent, gone), None, "{gone}");
        }
        assert_eq!(outbound.target(), "/v1/x?y=1");
    }

    #[test]
    fn parted_cookies_become_one() {
        let origin = origin(CLIENT, Scheme::Https, false);
        let sent = headers(&outbound(&[("cookie", "a=1"), ("cookie", "b=2")], &origin));
        assert_eq!(header(&sent, "cookie"), Some("a=1; b=2"));
        assert_eq!(header(&sent, "x-forwarded-proto"), Some("https"));
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_added_to() {
        let resource_ids = [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-prefix", "/dify"),
            ("x_forwarded_for", "1.2.3.4"),
            ("host", "gate"),
        ];
        let origin = origin(PROXY, Scheme::Http, true);
        let outbound = outbound(&resource_ids, &origin);
        let sent = headers(&outbound);
        assert_eq!(header(&sent, "x-forwarded-for"), Some("192.0.2.7, 10.0.0.1"));
        assert_eq!(header(&sent, "x-forwarded-port"), Some("443"));
        assert_eq!(header(&sent, "x-forwarded-prefix"), Some("/dify"));
        assert_eq!(
            header(&sent, "x_forwarded_for"),
            None,
            "a proxy passes on what its client made up"
        );
        assert_eq!(header(&sent, "x-forwarded-proto"), Some("https"));
        assert_eq!(header(&sent, "x-real-ip"), Some("192.0.2.7"));
    }
}
