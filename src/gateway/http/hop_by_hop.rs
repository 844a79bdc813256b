//! Headers that go no further: those of one connection (RFC 9110 §7.6.1), and what is replaced.

use crate::gateway::http::header_name::{HeaderSet, KnownHeader};
use crate::gateway::http::headers::{Header, Headers};

const HOP_BY_HOP: HeaderSet = HeaderSet::of(&[
    KnownHeader::Connection,
    KnownHeader::KeepAlive,
    KnownHeader::ProxyAuthenticate,
    KnownHeader::ProxyAuthorization,
    KnownHeader::ProxyConnection,
    KnownHeader::Te,
    KnownHeader::Trailer,
    KnownHeader::TransferEncoding,
    KnownHeader::Upgrade,
]);

/// What frames a request besides; the gateway frames its own.
const FRAMING: HeaderSet = HeaderSet::of(&[KnownHeader::ContentLength, KnownHeader::Expect]);

/// Which headers of a head do not go on.
#[derive(Clone, Debug, Default)]
pub(crate) struct StrippedHeaders {
    names: HeaderSet,
    /// Names that only `Connection` knows.
    others: Vec<Box<[u8]>>,
}

impl StrippedHeaders {
    /// Of a client's request.
    pub(crate) fn of_request(headers: &Headers) -> Self {
        Self::beside(HOP_BY_HOP.with(FRAMING), headers)
    }

    /// Of an instance's response. `Content-Length` stays: it is what tells a client that a response was
    /// cut.
    pub(crate) fn of_answer(headers: &Headers) -> Self {
        Self::beside(HOP_BY_HOP, headers)
    }

    /// These, and what `Connection` names.
    fn beside(names: HeaderSet, headers: &Headers) -> Self {
        let mut stripped = Self { names, others: Vec::new() };
        // The usual `Connection: keep-alive` or `close` names nothing else.
        for value in headers.all(KnownHeader::Connection).filter(|value| !is_plain(value)) {
            for named in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                match KnownHeader::of(named) {
                    KnownHeader::Other => stripped.others.push(named.into()),
                    // A client must not be able to have the gateway take out what it relies on.
                    KnownHeader::Host | KnownHeader::ContentLength => {}
                    known => stripped.names.add(known),
                }
            }
        }
        stripped
    }

    pub(crate) fn add(&mut self, name: KnownHeader) {
        self.names.add(name);
    }

    pub(crate) fn add_all(&mut self, names: HeaderSet) {
        self.names = self.names.with(names);
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, field: &Header<'_>) -> bool {
        self.names.has(field.name)
            || self.others.iter().any(|other| other.eq_ignore_ascii_case(field.spelt))
    }
}

fn is_plain(connection: &[u8]) -> bool {
    connection.eq_ignore_ascii_case(b"keep-alive") || connection.eq_ignore_ascii_case(b"close")
}

#[cfg(test)]
mod tests {
    use super::StrippedHeaders;
    use crate::gateway::http::headers::Headers;

    #[test]
    fn headers_of_the_connection_do_not_travel() {
        let lines = [
            ("Connection", "keep-alive, X-Private , host, content-length"),
            ("x-private", "1"),
            ("Keep-Alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic eDp5"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("content-length", "1"),
            ("host", "gateway"),
            ("x-kept", "1"),
        ];
        let headers = Headers::of_lines(&lines);
        let left = |stripped: StrippedHeaders| {
            let left = headers.iter().filter(|field| !stripped.has(field));
            left.map(|field| String::from_utf8_lossy(field.spelt).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(left(StrippedHeaders::of_request(&headers)), ["host", "x-kept"]);
        let response = ["expect", "content-length", "host", "x-kept"];
        assert_eq!(left(StrippedHeaders::of_answer(&headers)), response);
    }
}
