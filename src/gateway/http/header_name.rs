//! The names of headers that mean something to the gateway.

use http::HeaderName;

/// A field's name, if it is one of those; all others are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum KnownHeader {
    AcceptEncoding,
    App,
    AccelBuffering,
    Authorization,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentType,
    Conversation,
    Cookie,
    Date,
    Expect,
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedPort,
    ForwardedPrefix,
    ForwardedProto,
    HookUrl,
    Host,
    Instance,
    KeepAlive,
    Origin,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    RealIp,
    Referer,
    RequestId,
    RequestMethod,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    UserId,
    Other,
}

impl KnownHeader {
    /// Which one a name is, in whatever case.
    pub(crate) fn of(name: &[u8]) -> Self {
        Self::usual(name).unwrap_or_else(|| {
            let known = Self::as_long_as(name).iter().copied();
            let mut same = known.filter(|known| known.text().as_bytes().eq_ignore_ascii_case(name));
            same.next().unwrap_or(Self::Other)
        })
    }

    /// The names of most headers, as they are mostly spelt: comparing words costs a tenth of comparing
    /// letters of either case.
    fn usual(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"Host" | b"host" => Self::Host,
            b"Date" | b"date" => Self::Date,
            b"Connection" | b"connection" => Self::Connection,
            b"User-Agent" | b"user-agent" => Self::UserAgent,
            b"Content-Type" | b"content-type" => Self::ContentType,
            b"X-Request-ID" | b"x-request-id" => Self::RequestId,
            b"Authorization" | b"authorization" => Self::Authorization,
            b"Content-Length" | b"content-length" => Self::ContentLength,
            b"Accept-Encoding" | b"accept-encoding" => Self::AcceptEncoding,
            b"Transfer-Encoding" | b"transfer-encoding" => Self::TransferEncoding,
            b"Accept" | b"accept" | b"Server" | b"server" | b"Vary" | b"vary" => Self::Other,
            _ => return None,
        })
    }

    /// Those of its length: a few comparisons find the one, if it is there.
    fn as_long_as(name: &[u8]) -> &'static [Self] {
        match name.len() {
            2 => &[Self::Te],
            4 => &[Self::Host, Self::Date],
            6 => &[Self::Cookie, Self::Expect, Self::Origin],
            7 => &[Self::Upgrade, Self::Trailer, Self::Referer],
            9 => &[Self::UserId, Self::RealIp, Self::Forwarded],
            10 => &[Self::Connection, Self::UserAgent, Self::KeepAlive],
            12 => &[Self::ContentType, Self::RequestId],
            13 => &[Self::Authorization, Self::HookUrl],
            14 => &[Self::ContentLength, Self::App],
            15 => &[Self::AcceptEncoding, Self::ForwardedFor],
            16 => &[
                Self::ContentEncoding,
                Self::ForwardedHost,
                Self::ForwardedPort,
                Self::ProxyConnection,
            ],
            17 => &[Self::TransferEncoding, Self::ForwardedProto, Self::AccelBuffering],
            18 => &[Self::ForwardedPrefix, Self::ProxyAuthenticate],
            19 => &[Self::ProxyAuthorization, Self::Instance],
            23 => &[Self::Conversation],
            29 => &[Self::RequestMethod],
            _ => &[],
        }
    }

    /// The name in small letters; nothing for [`Other`](Self::Other).
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::AcceptEncoding => "accept-encoding",
            Self::App => "x-difygate-app",
            Self::AccelBuffering => "x-accel-buffering",
            Self::Authorization => "authorization",
            Self::Connection => "connection",
            Self::ContentEncoding => "content-encoding",
            Self::ContentLength => "content-length",
            Self::ContentType => "content-type",
            Self::Conversation => "x-difygate-conversation",
            Self::Cookie => "cookie",
            Self::Date => "date",
            Self::Expect => "expect",
            Self::Forwarded => "forwarded",
            Self::ForwardedFor => "x-forwarded-for",
            Self::ForwardedHost => "x-forwarded-host",
            Self::ForwardedPort => "x-forwarded-port",
            Self::ForwardedPrefix => "x-forwarded-prefix",
            Self::ForwardedProto => "x-forwarded-proto",
            Self::HookUrl => "dify-hook-url",
            Self::Host => "host",
            Self::Instance => "x-difygate-instance",
            Self::KeepAlive => "keep-alive",
            Self::Origin => "origin",
            Self::ProxyAuthenticate => "proxy-authenticate",
            Self::ProxyAuthorization => "proxy-authorization",
            Self::ProxyConnection => "proxy-connection",
            Self::RealIp => "x-real-ip",
            Self::Referer => "referer",
            Self::RequestId => "x-request-id",
            Self::RequestMethod => "access-control-request-method",
            Self::Te => "te",
            Self::Trailer => "trailer",
            Self::TransferEncoding => "transfer-encoding",
            Self::Upgrade => "upgrade",
            Self::UserAgent => "user-agent",
            Self::UserId => "x-user-id",
            Self::Other => "",
        }
    }

    /// The name in the types of `http`.
    pub(crate) const fn header(self) -> HeaderName {
        HeaderName::from_static(self.text())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderSet(u64);

impl HeaderSet {
    pub(crate) const fn of(names: &[KnownHeader]) -> Self {
        let (mut bits, mut place) = (0, 0);
        while place < names.len() {
            bits |= 1 << names[place] as u8;
            place += 1;
        }
        Self(bits)
    }

    pub(crate) const fn has(self, name: KnownHeader) -> bool {
        self.0 & (1 << name as u8) != 0
    }

    pub(crate) const fn add(&mut self, name: KnownHeader) {
        self.0 |= 1 << name as u8;
    }

    pub(crate) const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderSet, KnownHeader};

    #[test]
    fn each_name_is_found_in_any_case() {
        let mut found = 0;
        for length in 0..64 {
            let none = vec![b'-'; length];
            assert_eq!(KnownHeader::of(&none), KnownHeader::Other);
            for known in KnownHeader::as_long_as(&none) {
                assert_eq!(known.text().len(), length, "{known:?}");
                assert_eq!(KnownHeader::of(known.text().as_bytes()), *known);
                assert_eq!(KnownHeader::of(known.text().to_uppercase().as_bytes()), *known);
                assert!(
                    KnownHeader::usual(known.text().as_bytes()).is_none_or(|usual| usual == *known)
                );
                assert_eq!(known.header(), known.text());
                found += 1;
            }
        }
        assert_eq!(found, KnownHeader::Other as usize, "each is listed by its length");
    }

    #[test]
    fn a_usual_name_is_the_same_however_it_is_found() {
        let spelt = "Host Date Connection User-Agent Content-Type X-Request-ID Authorization \
                     Content-Length Accept-Encoding Transfer-Encoding Accept Server Vary";
        for name in spelt.split_whitespace() {
            let found = KnownHeader::usual(name.as_bytes());
            assert!(found.is_some(), "{name}");
            assert_eq!(found, Some(KnownHeader::of(name.to_uppercase().as_bytes())), "{name}");
            assert_eq!(found, KnownHeader::usual(name.to_lowercase().as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_are_among_those_that_were_put_together() {
        let mut names = HeaderSet::of(&[KnownHeader::Te, KnownHeader::Host]);
        names.add(KnownHeader::UserId);
        assert!(
            names.has(KnownHeader::Te)
                && names.has(KnownHeader::UserId)
                && !names.has(KnownHeader::Date)
        );
        let both = names.with(HeaderSet::of(&[KnownHeader::Date]));
        assert!(
            both.has(KnownHeader::Date)
                && both.has(KnownHeader::Host)
                && !both.has(KnownHeader::Other)
        );
    }
}
