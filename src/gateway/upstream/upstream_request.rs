//! The request as it goes to an instance.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use memchr::memchr;

use crate::gateway::http::buffered_body::Kept;
use crate::gateway::http::buffered_body::Replay;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::{Name, Names};
use crate::gateway::http::headers::{Field, Fields, Said};
use crate::gateway::http::hop_by_hop::Behind;
use crate::gateway::http::query;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::http::send_state::Progress;
use crate::gateway::state::member::Member;
use crate::model::Scheme;

/// What the gateway calls itself in requests of its own.
const AGENT: &str = concat!("difygate/", env!("CARGO_PKG_VERSION"));

/// What the gateway says itself, or keeps for itself.
const REPLACED: Names = Names::of(&[
    Name::App,
    Name::Authorization,
    Name::ForwardedFor,
    Name::Host,
    Name::RealIp,
    Name::RequestId,
]);

/// What only a trusted proxy may say.
const BELIEVED_OF_PROXIES: Names = Names::of(&[
    Name::Forwarded,
    Name::ForwardedHost,
    Name::ForwardedPort,
    Name::ForwardedPrefix,
    Name::ForwardedProto,
]);

/// A request ready for any member of the pool: all but the member's own token.
///
/// The fields stay as they came. What goes on and what is added is said one by one when the request
/// is sent ([`fields`](Self::fields)), so that nothing is taken out of a head or copied before.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    head: Rc<RequestHead>,
    /// Fields that do not go on, or are replaced.
    behind: Behind,
    sender: Sender,
    request_id: RequestId,
    has_length: bool,
    key: Key,
    body: Kept,
}

/// By which of a member's keys a request is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The app's.
    App,
    /// That of the knowledge API.
    Datasets,
}

/// Whose request it is.
#[derive(Clone, Debug)]
enum Sender {
    Client(Origin),
    /// The gateway's own, with a body of this type.
    Gateway(HeaderValue),
}

/// Where a request comes from, as the instance is told.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The other end of the client's socket, as it is written.
    pub peer: Rc<str>,
    /// The client itself: the peer, or what a trusted proxy says. The last proxy before it where what
    /// that says is no address.
    pub client: IpAddr,
    /// Whether `client` is the client, and not a proxy before it.
    pub is_known: bool,
    /// How the peer speaks to the gateway.
    pub scheme: Scheme,
    /// The peer is a trusted proxy, so what it says of the client is kept and added to.
    pub via_proxy: bool,
}

impl Origin {
    /// The client's address, if it is known: nothing may be opened to a client by another.
    pub(crate) fn known_client(&self) -> Option<IpAddr> {
        self.is_known.then_some(self.client)
    }
}

impl Outbound {
    /// Leaves out what belongs to the client's connection and adds what the instance should know.
    pub(crate) fn new(
        head: Rc<RequestHead>,
        body: Kept,
        origin: Origin,
        request_id: RequestId,
    ) -> Self {
        let mut behind = Behind::of_request(&head.fields);
        behind.add_all(REPLACED);
        if !origin.via_proxy {
            behind.add_all(BELIEVED_OF_PROXIES);
        }
        // HTTP/2 may part cookies, and HTTP/1.1 may not (RFC 9113 §8.2.3).
        if head.fields.said(Name::Cookie) == Said::Often {
            behind.add(Name::Cookie);
        }
        let has_length = !body.is_empty() || !matches!(head.method, Method::GET | Method::HEAD);
        let (sender, key) = (Sender::Client(origin), Key::App);
        Self { head, behind, sender, request_id, has_length, key, body }
    }

    /// The request is let in by this key.
    pub(crate) fn use_key(&mut self, key: Key) {
        self.key = key;
    }

    /// A request of the gateway's own.
    pub(crate) fn own(
        method: Method,
        path: &str,
        content_type: HeaderValue,
        body: Kept,
        request_id: &RequestId,
    ) -> Self {
        let has_length = !body.is_empty() || method != Method::GET;
        let uri = path.parse().unwrap_or_default();
        let (version, fields) = (Version::HTTP_11, Fields::default());
        let head = Rc::new(RequestHead { method, uri, version, fields });
        let (sender, request_id) = (Sender::Gateway(content_type), request_id.clone());
        let (behind, key) = (Behind::default(), Key::App);
        Self { head, behind, sender, request_id, has_length, key, body }
    }

    /// The instance's answer must be read here, so it may not be packed.
    pub(crate) fn refuse_packed_answers(&mut self) {
        self.behind.add(Name::AcceptEncoding);
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
        let body = std::mem::replace(&mut self.body, Kept::EMPTY);
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

    /// Its method.
    pub(crate) fn method(&self) -> &Method {
        &self.head.method
    }

    /// Its body from the beginning.
    pub(crate) fn body(&self, progress: &Progress) -> Replay {
        Replay::new(self.body.clone(), progress.clone())
    }

    /// Its fields for one member, but the length, one by one.
    fn fields(&self, member: Option<&Member>, mut put: impl FnMut(Field<'_>)) {
        let mut add = |name: Name, value: &[u8]| {
            put(Field { name, spelt: name.text().as_bytes(), value });
        };
        // RFC 9112 §3.2.2: the host of an absolute URI counts, not the header.
        let authority = self.head.uri.authority().map(|name| name.as_str().as_bytes());
        let named = authority.or_else(|| self.head.fields.get(Name::Host));
        let own_host = member.filter(|member| {
            // Behind TLS stands a server for several names, which goes by the host.
            member.instance.address().scheme == Scheme::Https || named.is_none()
        });
        let own_host = own_host.and_then(|member| member.instance.authority());
        let own_host = own_host.map(|host| host.as_str().as_bytes());
        own_host.or(named).into_iter().for_each(|host| add(Name::Host, host));
        add(Name::RequestId, self.request_id.as_str().as_bytes());
        match &self.sender {
            Sender::Client(origin) => self.of_client(origin, named, &mut add),
            Sender::Gateway(content_type) => {
                add(Name::UserAgent, AGENT.as_bytes());
                if !self.body.is_empty() {
                    add(Name::ContentType, content_type.as_bytes());
                }
            }
        }
        let key = member.and_then(|member| match self.key {
            Key::App => member.authorization.as_ref(),
            Key::Datasets => member.datasets.as_deref(),
        });
        if let Some(authorization) = key {
            add(Name::Authorization, authorization.expose());
        }
        let goes_on = |field: &Field<'_>| !self.behind.has(field) && !is_ambiguous(field);
        self.head.fields.iter().filter(goes_on).for_each(put);
    }

    /// Says who asks. What an untrusted client says of itself stays behind.
    fn of_client(&self, origin: &Origin, host: Option<&[u8]>, add: &mut impl FnMut(Name, &[u8])) {
        let said = &self.head.fields;
        let peer = origin.peer.as_bytes();
        if origin.via_proxy {
            let before = said.all(Name::ForwardedFor).filter(|chain| !chain.is_empty());
            let chain = before.chain([peer]).collect::<Vec<_>>();
            add(Name::ForwardedFor, &chain.join(&b", "[..]));
            add(Name::RealIp, origin.client.to_string().as_bytes());
        } else {
            add(Name::ForwardedFor, peer);
            add(Name::RealIp, peer);
        }
        if !(origin.via_proxy && said.has(Name::ForwardedProto)) {
            add(Name::ForwardedProto, origin.scheme.label().as_bytes());
        }
        if let (Some(host), false) = (host, origin.via_proxy && said.has(Name::ForwardedHost)) {
            add(Name::ForwardedHost, host);
        }
        if said.said(Name::Cookie) == Said::Often {
            let cookies = said.all(Name::Cookie).collect::<Vec<_>>();
            add(Name::Cookie, &cookies.join(&b"; "[..]));
        }
    }

    fn target(&self) -> &str {
        self.head.uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// Writes the head for one member, with that member's token, as HTTP/1.1 has it.
    pub(crate) fn write_head(&self, member: &Member, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.fields(Some(member), |field| {
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
fn is_ambiguous(field: &Field<'_>) -> bool {
    field.name == Name::Other && memchr(b'_', field.spelt).is_some()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::rc::Rc;

    use bytes::Bytes;
    use http::Request;
    use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

    use super::{Origin, Outbound};
    use crate::gateway::http::buffered_body::Kept;
    use crate::gateway::http::head::RequestHead;
    use crate::model::Scheme;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn outbound(headers: &[(&str, &str)], origin: &Origin) -> Outbound {
        let mut request = Request::builder().method("POST").uri("http://gate/v1/x?y=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = RequestHead::of_parts(request.body(()).unwrap().into_parts().0);
        let body = Kept::Piece(Bytes::from_static(b"{}"));
        Outbound::new(Rc::new(head), body, origin.clone(), "r1".into())
    }

    fn headers(outbound: &Outbound) -> HeaderMap {
        let mut headers = HeaderMap::new();
        outbound.fields(None, |field| field.put(&mut headers));
        if outbound.has_length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(outbound.body.len()));
        }
        headers
    }

    fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        assert!(headers.get_all(name).iter().count() < 2, "{name}");
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn origin(peer: IpAddr, scheme: Scheme, via_proxy: bool) -> Origin {
        Origin { peer: peer.to_string().into(), client: CLIENT, is_known: true, scheme, via_proxy }
    }

    #[test]
    fn what_an_untrusted_client_says_of_itself_is_replaced() {
        let claims = [
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
        let outbound = outbound(&claims, &origin);
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
        let claims = [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-prefix", "/dify"),
            ("x_forwarded_for", "1.2.3.4"),
            ("host", "gate"),
        ];
        let origin = origin(PROXY, Scheme::Http, true);
        let outbound = outbound(&claims, &origin);
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
