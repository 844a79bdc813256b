//! The client's address behind trusted proxies, from `X-Forwarded-For` or `Forwarded` (RFC 7239).
//!
//! Each proxy appends the address that it saw, so the list is read from its end: a trusted hop leads to
//! the one before it, the first other one is the client. What stands before that, the client may have
//! made up. A hop that is no address (`unknown`, a name, a zone, nothing at all) ends the walk, too: who
//! is behind it is not known.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use crate::gateway::http::client_conn::Client;
use crate::gateway::http::header_name::Name;
use crate::gateway::http::headers::Fields;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::upstream_request::Origin;

/// Where a request comes from.
pub(crate) fn origin(snapshot: &Snapshot, client: &Client, fields: &Fields) -> Origin {
    let (peer, scheme) = (Rc::clone(&client.peer_text), client.scheme());
    let address = client.peer.ip().to_canonical();
    let trusts = |address| snapshot.trusts(address);
    let via_proxy = trusts(address);
    let found = match via_proxy {
        true => walk(address, fields, trusts),
        false => Found { address, is_known: true },
    };
    Origin { peer, client: found.address, is_known: found.is_known, scheme, via_proxy }
}

/// What the walk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// The client, or the last proxy before it where it is not known.
    address: IpAddr,
    /// Whether it is the client.
    is_known: bool,
}

fn walk(peer: IpAddr, fields: &Fields, trusts: impl Fn(IpAddr) -> bool) -> Found {
    let chain = fields.all(Name::ForwardedFor).flat_map(|value| value.split(|byte| *byte == b','));
    let by_chain = fields.has(Name::ForwardedFor).then(|| {
        let hops: Vec<_> = chain.map(|hop| address(hop.trim_ascii())).collect();
        last(peer, &hops, &trusts)
    });
    let by_forwarded = fields.has(Name::Forwarded).then(|| {
        let hops: Vec<_> = fields.all(Name::Forwarded).flat_map(elements).collect();
        last(peer, &hops, &trusts)
    });
    match (by_chain, by_forwarded) {
        // A proxy writes one of them and may pass on the other as the client made it up.
        (Some(one), Some(other)) => Found { is_known: one.is_known && one == other, ..one },
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Found { address: peer, is_known: true },
    }
}

/// The last hop that is not trusted, else the first of all.
fn last(peer: IpAddr, hops: &[Option<IpAddr>], trusts: impl Fn(IpAddr) -> bool) -> Found {
    let mut nearest = peer;
    for hop in hops.iter().rev() {
        match *hop {
            None => return Found { address: nearest, is_known: false },
            Some(address) if !trusts(address) => return Found { address, is_known: true },
            Some(address) => nearest = address,
        }
    }
    Found { address: nearest, is_known: true }
}

/// An address, for IPv6 perhaps in brackets, and perhaps a port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let alone = || text.parse::<IpAddr>().ok();
    let with_port = || {
        let socket = text.parse::<SocketAddr>().ok()?;
        // `[fe80::1%2]:80` is an address of a link that only its host knows.
        let is_zoned = matches!(socket, SocketAddr::V6(socket) if socket.scope_id() != 0)
            || text.contains('%');
        (!is_zoned).then(|| socket.ip())
    };
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let found = alone().or_else(with_port).or_else(in_brackets)?;
    Some(found.to_canonical())
}

/// The addresses that the elements of a `Forwarded` name. A value that is not well formed is one hop
/// that cannot be read: a quote that a client left open would hide what its proxy appended.
fn elements(value: &[u8]) -> Vec<Option<IpAddr>> {
    let (mut hops, mut rest) = (Vec::new(), value);
    loop {
        let Some((hop, after)) = element(rest) else { return vec![None] };
        hops.push(hop);
        match after {
            [b',', after @ ..] => rest = after,
            _ => return hops,
        }
    }
}

/// The first element: the address in its `for`, and what follows it. Nothing if it is malformed.
fn element(mut rest: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let (mut hop, mut count) = (None, 0);
    loop {
        rest = rest.trim_ascii_start();
        if let [] | [b',', ..] = rest {
            break;
        }
        if let [b';', after @ ..] = rest {
            rest = after;
            continue;
        }
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let (name, after) = (&rest[..equals], &rest[equals + 1..]);
        if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let (value, after) = value(after)?;
        if name.eq_ignore_ascii_case(b"for") {
            (hop, count) = (address(value), count + 1);
        }
        rest = after.trim_ascii_start();
        if !matches!(rest, [] | [b',' | b';', ..]) {
            return None;
        }
    }
    Some((hop.filter(|_| count == 1), rest))
}

/// A token or a quoted string, and what follows it. No address has a backslash.
fn value(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    if let [b'"', quoted @ ..] = rest {
        let end = quoted.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        return (quoted[end] == b'"').then(|| (&quoted[..end], &quoted[end + 1..]));
    }
    let ends = |byte: &u8| matches!(byte, b',' | b';' | b' ' | b'\t');
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    (!rest[..end].contains(&b'"')).then(|| rest.split_at(end))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Found, walk};
    use crate::gateway::http::headers::Fields;

    const PROXY: &str = "10.0.0.1";

    fn found(lines: &[(&str, &str)]) -> (String, bool) {
        let proxies: [ipnet::IpNet; 2] =
            ["10.0.0.0/24".parse().unwrap(), "fd00::/16".parse().unwrap()];
        let trusts = |address: IpAddr| proxies.iter().any(|net| net.contains(&address));
        let Found { address, is_known } =
            walk(PROXY.parse().unwrap(), &Fields::of_lines(lines), trusts);
        (address.to_string(), is_known)
    }

    #[test]
    fn ports_and_brackets_are_read_and_what_cannot_be_read_ends_the_walk() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&[], PROXY, true),
            (&["192.0.2.1"], "192.0.2.1", true),
            (&["10.1.2.3, 203.0.113.9:4711"], "203.0.113.9", true),
            (&["10.1.2.3, 203.0.113.9"], "203.0.113.9", true),
            (&["10.1.2.3, [2001:db8::9]"], "2001:db8::9", true),
            (&["10.1.2.3, [2001:db8::9]:4711"], "2001:db8::9", true),
            (&["10.1.2.3, 2001:db8::9"], "2001:db8::9", true),
            (&["10.1.2.3, ::ffff:203.0.113.9"], "203.0.113.9", true),
            (&["192.0.2.1, 10.0.0.9:80, [fd00::1]:443"], "192.0.2.1", true),
            (&["192.0.2.1", "10.0.0.9"], "192.0.2.1", true),
            (&["10.0.0.7, 10.0.0.9"], "10.0.0.7", true),
            (&["10.1.2.3, unknown"], PROXY, false),
            (&["10.1.2.3, unknown, 10.0.0.9"], "10.0.0.9", false),
            (&["10.1.2.3, _secret"], PROXY, false),
            (&["10.1.2.3, fe80::1%eth0"], PROXY, false),
            (&["10.1.2.3, [fe80::1%2]:80"], PROXY, false),
            (&["10.1.2.3, [fe80::1%0]:80"], PROXY, false),
            (&["10.1.2.3, "], PROXY, false),
            (&["10.1.2.3,, 10.0.0.9"], "10.0.0.9", false),
            (&["10.1.2.3", ""], PROXY, false),
            (&["10.1.2.3, 203.0.113.9:"], PROXY, false),
            (&["10.1.2.3, 203.0.113.9:99999"], PROXY, false),
            (&["10.1.2.3, 203.0.113.9 :1"], PROXY, false),
            (&["10.1.2.3, [203.0.113.9]"], PROXY, false),
            (&["10.1.2.3, \"203.0.113.9\""], PROXY, false),
            (&["10.1.2.3, 203.0.113.09"], PROXY, false),
        ];
        for (values, address, is_known) in cases {
            let lines: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
            assert_eq!(found(&lines), ((*address).to_owned(), *is_known), "{values:?}");
        }
    }

    #[test]
    fn forwarded_is_read_alike() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&["for=192.0.2.1"], "192.0.2.1", true),
            (&["For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1"], "192.0.2.1", true),
            (&["for=10.1.2.3, for=\"[2001:db8::9]:4711\""], "2001:db8::9", true),
            (
                &["for=10.1.2.3, proto=http; for=\"[2001:db8::9]\" ;host=\"a,b\""],
                "2001:db8::9",
                true,
            ),
            (&["for=192.0.2.1", "for=10.0.0.9, for=\"[fd00::1]\""], "192.0.2.1", true),
            (&["for=10.1.2.3, for=unknown"], PROXY, false),
            (&["for=10.1.2.3, for=_hidden, for=10.0.0.9"], "10.0.0.9", false),
            (&["for=10.1.2.3, proto=http"], PROXY, false),
            (&["for=10.1.2.3, "], PROXY, false),
            (&["for=10.1.2.3;for=10.1.2.4"], PROXY, false),
            (&["for=10.1.2.3, for=\"[fe80::1%eth0]\""], PROXY, false),
            // An open quote would swallow what the proxy appends.
            (&["for=10.1.2.3;x=\", for=203.0.113.9"], PROXY, false),
            (&["for=10.1.2.3, for=\", for=\"[2001:db8::9]:1\""], PROXY, false),
            (&["for=10.1.2.3;x=\"\\\", for=\"203.0.113.9\""], PROXY, false),
            (&["10.1.2.3"], PROXY, false),
            (&["for =10.1.2.3"], PROXY, false),
            (&["=10.1.2.3"], PROXY, false),
        ];
        for (values, address, is_known) in cases {
            let lines: Vec<_> = values.iter().map(|value| ("forwarded", *value)).collect();
            assert_eq!(found(&lines), ((*address).to_owned(), *is_known), "{values:?}");
        }
    }

    #[test]
    fn where_both_are_there_they_must_agree() {
        let both =
            |chain, forwarded| found(&[("x-forwarded-for", chain), ("forwarded", forwarded)]);
        assert_eq!(both("192.0.2.1", "for=\"192.0.2.1:80\""), ("192.0.2.1".to_owned(), true));
        assert_eq!(both("10.1.2.3", "for=192.0.2.1"), ("10.1.2.3".to_owned(), false));
        assert_eq!(both("192.0.2.1", "for=10.1.2.3"), ("192.0.2.1".to_owned(), false));
        assert_eq!(both("192.0.2.1", "for=unknown"), ("192.0.2.1".to_owned(), false));
    }
}
