//! Fields that go no further: those of one connection (RFC 9110 §7.6.1), and what is replaced.

use crate::gateway::http::header_name::{Name, Names};
use crate::gateway::http::headers::{Field, Fields};

/// What belongs to one connection.
const HOP_BY_HOP: Names = Names::of(&[
    Name::Connection,
    Name::KeepAlive,
    Name::ProxyAuthenticate,
    Name::ProxyAuthorization,
    Name::ProxyConnection,
    Name::Te,
    Name::Trailer,
    Name::TransferEncoding,
    Name::Upgrade,
]);

/// What frames a request besides; the gateway frames its own.
const FRAMING: Names = Names::of(&[Name::ContentLength, Name::Expect]);

/// Which fields of a head stay behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behind {
    names: Names,
    /// Names that only `Connection` knows.
    others: Vec<Box<[u8]>>,
}

impl Behind {
    /// Of a client's request.
    pub(crate) fn of_request(fields: &Fields) -> Self {
        Self::beside(HOP_BY_HOP.with(FRAMING), fields)
    }

    /// Of an instance's answer. `Content-Length` stays: it is what tells a client that an answer was
    /// cut.
    pub(crate) fn of_answer(fields: &Fields) -> Self {
        Self::beside(HOP_BY_HOP, fields)
    }

    /// These, and what `Connection` names.
    fn beside(names: Names, fields: &Fields) -> Self {
        let mut behind = Self { names, others: Vec::new() };
        // The usual `Connection: keep-alive` or `close` names nothing else.
        for value in fields.all(Name::Connection).filter(|value| !is_plain(value)) {
            for named in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                match Name::of(named) {
                    Name::Other => behind.others.push(named.into()),
                    // A client must not be able to have the gateway take out what it relies on.
                    Name::Host | Name::ContentLength => {}
                    known => behind.names.add(known),
                }
            }
        }
        behind
    }

    /// This one stays, too.
    pub(crate) fn add(&mut self, name: Name) {
        self.names.add(name);
    }

    /// These stay, too.
    pub(crate) fn add_all(&mut self, names: Names) {
        self.names = self.names.with(names);
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, field: &Field<'_>) -> bool {
        self.names.has(field.name)
            || self.others.iter().any(|other| other.eq_ignore_ascii_case(field.spelt))
    }
}

fn is_plain(connection: &[u8]) -> bool {
    connection.eq_ignore_ascii_case(b"keep-alive") || connection.eq_ignore_ascii_case(b"close")
}

#[cfg(test)]
mod tests {
    use super::Behind;
    use crate::gateway::http::headers::Fields;

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
        let fields = Fields::of_lines(&lines);
        let left = |behind: Behind| {
            let left = fields.iter().filter(|field| !behind.has(field));
            left.map(|field| String::from_utf8_lossy(field.spelt).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(left(Behind::of_request(&fields)), ["host", "x-kept"]);
        let answer = ["expect", "content-length", "host", "x-kept"];
        assert_eq!(left(Behind::of_answer(&fields)), answer);
    }
}
