//! The request as it goes to an instance.

use std::io;
use std::net::IpAddr;
use std::ops::Range;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST,
    HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, Version};

use crate::gateway::body::{Kept, Replay};
use crate::gateway::framing;
use crate::gateway::progress::Progress;
use crate::gateway::snapshot::Member;
use crate::model::Scheme;

/// `X-Request-ID`.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Names the app of a token that opens several; for the gateway alone.
pub(super) const APP: HeaderName = HeaderName::from_static("x-difygate-app");
/// `X-Forwarded-For`.
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What the gateway calls itself in requests of its own.
const AGENT: &str = concat!("difygate/", env!("CARGO_PKG_VERSION"));

/// A request ready for any member of the pool: all but the member's own token.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    head: Parts,
    body: Kept,
}

/// Where a request comes from, as the instance is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The other end of the client's socket.
    pub peer: IpAddr,
    /// The client itself: the peer, or what a trusted proxy says.
    pub client: IpAddr,
    /// How the peer speaks to the gateway.
    pub scheme: Scheme,
    /// The peer is a trusted proxy, so what it says of the client is kept and added to.
    pub via_proxy: bool,
}

impl Outbound {
    /// Takes out what belongs to the client's connection and adds what the instance should know.
    pub(super) fn new(
        mut head: Parts,
        body: Kept,
        origin: Origin,
        request_id: &HeaderValue,
    ) -> Self {
        let authority = head.uri.authority().map(|name| name.as_str().to_owned());
        let headers = &mut head.headers;
        framing::strip_request(headers);
        headers.remove(AUTHORIZATION);
        headers.remove(APP);
        join_cookies(headers);
        if let Some(host) = authority.and_then(|name| HeaderValue::try_from(name).ok()) {
            // RFC 9112 §3.2.2: the host of an absolute URI counts, not the header.
            headers.insert(HOST, host);
        }
        headers.insert(REQUEST_ID, request_id.clone());
        forwarded(&mut head, origin);
        if !body.is_empty() || !matches!(head.method, Method::GET | Method::HEAD) {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let path = head.uri.path_and_query().cloned();
        head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        head.version = Version::HTTP_11;
        head.extensions.clear();
        Self { head, body }
    }

    /// A request of the gateway's own.
    pub(super) fn own(
        method: Method,
        path: &str,
        content_type: HeaderValue,
        body: Kept,
        request_id: &HeaderValue,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, request_id.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if !body.is_empty() || method != Method::GET {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let mut head = Request::new(()).into_parts().0;
        head.method = method;
        head.uri = path.parse().unwrap_or_default();
        head.headers = headers;
        Self { head, body }
    }

    /// The instance's answer must be read here, so it may not be packed.
    pub(super) fn refuse_packed_answers(&mut self) {
        self.head.headers.remove(ACCEPT_ENCODING);
    }

    /// Takes the conversation out of a JSON body, whose value stands at `place`, quotes included: the
    /// turn then begins a new one.
    ///
    /// # Errors
    /// The spool could not be written to.
    pub(super) async fn leave_conversation(&mut self, place: Range<u64>) -> io::Result<()> {
        let mut empty = b"\"\"".to_vec();
        // Blanks after a value mean nothing, and the length stays the same.
        empty.resize(usize::try_from(place.end - place.start).unwrap_or(2), b' ');
        let body = std::mem::replace(&mut self.body, Kept::EMPTY);
        self.body = body.overwritten(place, empty).await?;
        Ok(())
    }

    /// Whether the request may be sent to a second instance after the first may have had it.
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(self.head.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// The request for one member, with that member's token.
    pub(super) fn request(&self, member: &Member, progress: &Progress) -> Request<Replay> {
        let mut head = self.head.clone();
        if let Some(authorization) = &member.authorization {
            head.headers.insert(AUTHORIZATION, authorization.clone());
        }
        // Behind TLS stands a server for several names, which goes by the host.
        if !head.headers.contains_key(HOST) || member.instance.address().scheme == Scheme::Https {
            let authority = member.instance.authority().map(|name| name.as_str());
            if let Some(Ok(host)) = authority.map(HeaderValue::try_from) {
                head.headers.insert(HOST, host);
            }
        }
        Request::from_parts(head, Replay::new(self.body.clone(), progress.clone()))
    }
}

/// HTTP/2 may part cookies, and HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    if let (Some(_), Some(_)) = (cookies.next(), cookies.next()) {
        let all: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, joined);
        }
    }
}

/// Says who asks. What an untrusted client says of itself is replaced.
fn forwarded(head: &mut Parts, origin: Origin) {
    let host = head.headers.get(HOST).cloned();
    let headers = &mut head.headers;
    let peer = origin.peer.to_string();
    let chain = match headers.get(FORWARDED_FOR).and_then(|chain| chain.to_str().ok()) {
        Some(chain) if origin.via_proxy => format!("{chain}, {peer}"),
        _ => peer,
    };
    if let Ok(chain) = HeaderValue::try_from(chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
    if let Ok(client) = HeaderValue::try_from(origin.client.to_string()) {
        headers.insert(REAL_IP, client);
    }
    if !(origin.via_proxy && headers.contains_key(FORWARDED_PROTO)) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(origin.scheme.label()));
    }
    if let (Some(host), false) = (host, origin.via_proxy && headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, host);
    }
    if !origin.via_proxy {
        headers.remove(FORWARDED);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use bytes::Bytes;
    use http::{HeaderValue, Request};

    use super::{Origin, Outbound};
    use crate::gateway::body::Kept;
    use crate::model::Scheme;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn outbound(headers: &[(&str, &str)], origin: Origin) -> Outbound {
        let mut request = Request::builder().method("POST").uri("http://gate/v1/x?y=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let body = Kept::Piece(Bytes::from_static(b"{}"));
        Outbound::new(head, body, origin, &HeaderValue::from_static("r1"))
    }

    fn header<'a>(outbound: &'a Outbound, name: &str) -> Option<&'a str> {
        outbound.head.headers.get(name).map(|value| value.to_str().unwrap())
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
            ("content-length", "9"),
        ];
        let origin =
            Origin { peer: CLIENT, client: CLIENT, scheme: Scheme::Http, via_proxy: false };
        let sent = outbound(&claims, origin);
        assert_eq!(header(&sent, "x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(header(&sent, "x-real-ip"), Some("192.0.2.7"));
        assert_eq!(header(&sent, "x-forwarded-proto"), Some("http"));
        assert_eq!(header(&sent, "x-forwarded-host"), Some("gate"));
        assert_eq!(header(&sent, "host"), Some("gate"));
        assert_eq!(header(&sent, "content-length"), Some("2"));
        assert_eq!(header(&sent, "x-request-id"), Some("r1"));
        for gone in ["authorization", "x-difygate-app", "forwarded"] {
            assert_eq!(header(&sent, gone), None, "{gone}");
        }
        assert_eq!(sent.head.uri, "/v1/x?y=1");
    }

    #[test]
    fn parted_cookies_become_one() {
        let origin =
            Origin { peer: CLIENT, client: CLIENT, scheme: Scheme::Https, via_proxy: false };
        let sent = outbound(&[("cookie", "a=1"), ("cookie", "b=2")], origin);
        let cookies: Vec<_> = sent.head.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
        assert_eq!(header(&sent, "x-forwarded-proto"), Some("https"));
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_added_to() {
        let claims =
            [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("host", "gate")];
        let origin = Origin { peer: PROXY, client: CLIENT, scheme: Scheme::Http, via_proxy: true };
        let sent = outbound(&claims, origin);
        assert_eq!(header(&sent, "x-forwarded-for"), Some("192.0.2.7, 10.0.0.1"));
        assert_eq!(header(&sent, "x-forwarded-proto"), Some("https"));
        assert_eq!(header(&sent, "x-real-ip"), Some("192.0.2.7"));
    }
}
