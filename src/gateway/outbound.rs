//! The request as it goes to an instance.

use std::io::{self, Write};
use std::net::IpAddr;
use std::ops::Range;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST,
    HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, Version};
use smallvec::SmallVec;

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
///
/// The headers stay as they came. What goes on and what is added is said one by one when the request
/// is sent ([`fields`](Self::fields)), so that nothing is taken out of a map or copied before.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    /// Headers that do not go on, beside those that never do.
    left_out: SmallVec<[HeaderName; 2]>,
    /// Headers of the gateway's own; they replace the client's.
    added: SmallVec<[(HeaderName, HeaderValue); 6]>,
    has_length: bool,
    body: Kept,
}

/// Where a request comes from, as the instance is told.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The other end of the client's socket, as it is written.
    pub peer: HeaderValue,
    /// The client itself: the peer, or what a trusted proxy says.
    pub client: IpAddr,
    /// How the peer speaks to the gateway.
    pub scheme: Scheme,
    /// The peer is a trusted proxy, so what it says of the client is kept and added to.
    pub via_proxy: bool,
}

/// A field's value: one that is at hand, or text.
pub(super) enum Text<'a> {
    Value(&'a HeaderValue),
    Host(&'a str),
}

impl Text<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Value(value) => value.as_bytes(),
            Self::Host(text) => text.as_bytes(),
        }
    }
}

impl Outbound {
    /// Leaves out what belongs to the client's connection and adds what the instance should know.
    pub(super) fn new(head: Parts, body: Kept, origin: &Origin, request_id: &HeaderValue) -> Self {
        let authority = head.uri.authority().map(|name| name.as_str().to_owned());
        let headers = head.headers;
        let mut left_out: SmallVec<_> = framing::named_by_connection(&headers).collect();
        left_out.push(AUTHORIZATION);
        left_out.push(APP);
        if !origin.via_proxy {
            left_out.push(FORWARDED);
        }
        let mut added = SmallVec::new();
        // RFC 9112 §3.2.2: the host of an absolute URI counts, not the header.
        let host = authority.and_then(|name| HeaderValue::try_from(name).ok());
        let said = host.as_ref().or_else(|| headers.get(HOST)).cloned();
        added.extend(host.map(|host| (HOST, host)));
        added.push((REQUEST_ID, request_id.clone()));
        forwarded(&mut added, &headers, origin, said);
        added.extend(joined_cookies(&headers).map(|cookies| (COOKIE, cookies)));
        let has_length = !body.is_empty() || !matches!(head.method, Method::GET | Method::HEAD);
        let target = match (head.uri.scheme(), head.uri.authority()) {
            (None, None) => head.uri,
            _ => {
                let path = head.uri.path_and_query().cloned();
                Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            }
        };
        Self { method: head.method, target, headers, left_out, added, has_length, body }
    }

    /// A request of the gateway's own.
    pub(super) fn own(
        method: Method,
        path: &str,
        content_type: HeaderValue,
        body: Kept,
        request_id: &HeaderValue,
    ) -> Self {
        let mut added = SmallVec::new();
        added.push((REQUEST_ID, request_id.clone()));
        added.push((USER_AGENT, HeaderValue::from_static(AGENT)));
        if !body.is_empty() {
            added.push((CONTENT_TYPE, content_type));
        }
        let has_length = !body.is_empty() || method != Method::GET;
        let (target, headers) = (path.parse().unwrap_or_default(), HeaderMap::new());
        Self { method, target, headers, left_out: SmallVec::new(), added, has_length, body }
    }

    /// The instance's answer must be read here, so it may not be packed.
    pub(super) fn refuse_packed_answers(&mut self) {
        self.left_out.push(ACCEPT_ENCODING);
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
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Its method.
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// Its body from the beginning.
    pub(super) fn body(&self, progress: &Progress) -> Replay {
        Replay::new(self.body.clone(), progress.clone())
    }

    /// Its headers for one member, but the length, one by one.
    fn fields(&self, member: Option<&Member>, mut put: impl FnMut(&HeaderName, Text<'_>)) {
        let own_host = member.filter(|member| {
            // Behind TLS stands a server for several names, which goes by the host.
            member.instance.address().scheme == Scheme::Https || !self.names_host()
        });
        if let Some(host) = own_host.and_then(|member| member.instance.authority()) {
            put(&HOST, Text::Host(host.as_str()));
        }
        for (name, value) in &self.headers {
            let replaced = || {
                (own_host.is_some() && *name == HOST)
                    || self.added.iter().any(|(added, _)| added == name)
            };
            if !framing::stays_behind(name) && !self.left_out.contains(name) && !replaced() {
                put(name, Text::Value(value));
            }
        }
        for (name, value) in &self.added {
            if own_host.is_none() || *name != HOST {
                put(name, Text::Value(value));
            }
        }
        if let Some(authorization) = member.and_then(|member| member.authorization.as_ref()) {
            put(&AUTHORIZATION, Text::Value(authorization));
        }
    }

    fn names_host(&self) -> bool {
        self.headers.contains_key(HOST) || self.added.iter().any(|(name, _)| *name == HOST)
    }

    /// Writes the head for one member, with that member's token, as HTTP/1.1 has it.
    pub(super) fn write_head(&self, member: &Member, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        let target = self.target.path_and_query().map_or("/", PathAndQuery::as_str);
        out.extend_from_slice(target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.fields(Some(member), |name, value| {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        });
        if self.has_length {
            // Writing to a vector cannot fail.
            let _ = write!(out, "content-length: {}\r\n", self.body.len());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The request for one member, with that member's token.
    pub(super) fn request(&self, member: &Member, progress: &Progress) -> Request<Replay> {
        let mut request = Request::new(self.body(progress));
        request.method_mut().clone_from(&self.method);
        request.uri_mut().clone_from(&self.target);
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers_for(Some(member));
        request
    }

    fn headers_for(&self, member: Option<&Member>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + self.added.len());
        self.fields(member, |name, value| {
            let value = match value {
                Text::Value(value) => Some(value.clone()),
                Text::Host(text) => HeaderValue::from_str(text).ok(),
            };
            if let Some(value) = value {
                headers.append(name, value);
            }
        });
        if self.has_length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        headers
    }
}

/// HTTP/2 may part cookies, and HTTP/1.1 may not (RFC 9113 §8.2.3).
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut cookies = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let _ = (cookies.next()?, cookies.next()?);
    let all: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&all.join(&b"; "[..])).ok()
}

/// Says who asks. What an untrusted client says of itself is replaced.
fn forwarded(
    added: &mut SmallVec<[(HeaderName, HeaderValue); 6]>,
    headers: &HeaderMap,
    origin: &Origin,
    host: Option<HeaderValue>,
) {
    if !origin.via_proxy {
        added.push((FORWARDED_FOR, origin.peer.clone()));
        added.push((REAL_IP, origin.peer.clone()));
    } else {
        let before = headers.get(FORWARDED_FOR).map(HeaderValue::as_bytes);
        let chain = [before.unwrap_or_default(), origin.peer.as_bytes()];
        let chain = chain.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let chain = HeaderValue::from_bytes(&chain.join(&b", "[..])).ok();
        added.extend(chain.map(|chain| (FORWARDED_FOR, chain)));
        let client = HeaderValue::try_from(origin.client.to_string()).ok();
        added.extend(client.map(|client| (REAL_IP, client)));
    }
    if !(origin.via_proxy && headers.contains_key(FORWARDED_PROTO)) {
        added.push((FORWARDED_PROTO, HeaderValue::from_static(origin.scheme.label())));
    }
    if let (Some(host), false) = (host, origin.via_proxy && headers.contains_key(FORWARDED_HOST)) {
        added.push((FORWARDED_HOST, host));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request};

    use super::{Origin, Outbound};
    use crate::gateway::body::Kept;
    use crate::model::Scheme;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn outbound(headers: &[(&str, &str)], origin: &Origin) -> Outbound {
        let mut request = Request::builder().method("POST").uri("http://gate/v1/x?y=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let body = Kept::Piece(Bytes::from_static(b"{}"));
        Outbound::new(head, body, origin, &HeaderValue::from_static("r1"))
    }

    fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        assert!(headers.get_all(name).iter().count() < 2, "{name}");
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn origin(peer: IpAddr, scheme: Scheme, via_proxy: bool) -> Origin {
        Origin { peer: peer.to_string().parse().unwrap(), client: CLIENT, scheme, via_proxy }
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
        let origin = origin(CLIENT, Scheme::Http, false);
        let outbound = outbound(&claims, &origin);
        let sent = outbound.headers_for(None);
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
        assert_eq!(outbound.target, "/v1/x?y=1");
    }

    #[test]
    fn parted_cookies_become_one() {
        let origin = origin(CLIENT, Scheme::Https, false);
        let sent = outbound(&[("cookie", "a=1"), ("cookie", "b=2")], &origin).headers_for(None);
        assert_eq!(header(&sent, "cookie"), Some("a=1; b=2"));
        assert_eq!(header(&sent, "x-forwarded-proto"), Some("https"));
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_added_to() {
        let claims =
            [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("host", "gate")];
        let origin = origin(PROXY, Scheme::Http, true);
        let outbound = outbound(&claims, &origin);
        let sent = outbound.headers_for(None);
        assert_eq!(header(&sent, "x-forwarded-for"), Some("192.0.2.7, 10.0.0.1"));
        assert_eq!(header(&sent, "x-forwarded-proto"), Some("https"));
        assert_eq!(header(&sent, "x-real-ip"), Some("192.0.2.7"));
    }
}
