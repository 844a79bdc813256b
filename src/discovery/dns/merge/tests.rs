use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest;

use super::{Found, HostAddresses, HostAnswer, Service, SrvRecord};
use crate::discovery::DnsError;

fn v4(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn v6(last: u8) -> IpAddr {
    IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

fn found(addresses: impl IntoIterator<Item = IpAddr>, seconds: u64) -> Option<Found<IpAddr>> {
    Some(Ok((addresses.into_iter().collect(), Duration::from_secs(seconds))))
}

fn failed(make: fn(String) -> DnsError) -> Option<Found<IpAddr>> {
    Some(Err(make("api.".to_owned())))
}

fn nxdomain(name: String) -> DnsError {
    DnsError::NoSuchName { name }
}

fn timeout(name: String) -> DnsError {
    DnsError::Timeout { name }
}

fn kept(host: &HostAddresses) -> Vec<IpAddr> {
    host.iter().collect()
}

#[test]
fn a_kind_that_fails_keeps_its_addresses_and_is_said() {
    let mut host = HostAddresses::default();
    let both = HostAnswer { ipv4: found([v4(1)], 600), ipv6: found([v6(1)], 30) };
    assert_eq!(host.merge("api.", both).unwrap().ttl, Some(Duration::from_secs(30)));
    let merged = host
        .merge("api.", HostAnswer { ipv4: found([v4(2)], 600), ipv6: failed(timeout) })
        .unwrap();
    assert_eq!(kept(&host), [v4(2), v6(1)]);
    assert_eq!(merged.ttl, Some(Duration::from_secs(600)));
    assert_eq!(merged.notes.len(), 1);
    assert!(merged.notes[0].starts_with("AAAA records: "), "{:?}", merged.notes);
}

#[test]
fn a_kind_that_is_empty_or_unknown_beside_addresses_has_none() {
    for ipv6 in [found([], 5), failed(nxdomain)] {
        let mut host = HostAddresses::default();
        host.merge("api.", HostAnswer { ipv4: found([v4(1)], 5), ipv6: found([v6(1)], 5) })
            .unwrap();
        let merged = host.merge("api.", HostAnswer { ipv4: found([v4(1)], 5), ipv6 }).unwrap();
        assert_eq!(kept(&host), [v4(1)]);
        assert!(merged.notes.is_empty());
    }
}

#[test]
fn nothing_found_changes_nothing_and_the_worse_failure_is_said() {
    let name = || "api.".to_owned();
    let mut host = HostAddresses::default();
    host.merge("api.", HostAnswer { ipv4: found([v4(1)], 5), ipv6: found([v6(1)], 5) }).unwrap();
    for (ipv4, ipv6, error) in [
        (found([], 5), found([], 5), DnsError::Empty { name: name() }),
        (failed(nxdomain), failed(nxdomain), nxdomain(name())),
        (found([], 5), failed(nxdomain), nxdomain(name())),
        (failed(timeout), found([], 5), timeout(name())),
        (failed(nxdomain), failed(timeout), timeout(name())),
        (None, None, DnsError::Empty { name: name() }),
    ] {
        assert_eq!(host.merge("api.", HostAnswer { ipv4, ipv6 }), Err(error));
        assert_eq!(kept(&host), [v4(1), v6(1)]);
    }
}

fn record(priority: u16, target: &str) -> SrvRecord {
    SrvRecord { priority, target: target.to_owned(), port: 5001, weight: 10 }
}

#[test]
fn a_host_of_a_service_that_fails_keeps_its_addresses() {
    let mut service = Service::default();
    let only_v4 = |answer| HostAnswer { ipv4: answer, ipv6: None };
    let records = || vec![record(0, "a."), record(0, "b.")];
    let answers = vec![
        ("a.".to_owned(), only_v4(found([v4(1)], 9))),
        ("b.".to_owned(), only_v4(found([v4(2)], 3))),
    ];
    assert_eq!(service.merge(records(), answers).unwrap().ttl, Some(Duration::from_secs(3)));
    let answers = vec![
        ("a.".to_owned(), only_v4(failed(nxdomain))),
        ("b.".to_owned(), only_v4(found([v4(3)], 9))),
    ];
    assert_eq!(service.merge(records(), answers).unwrap().notes.len(), 1);
    assert_eq!(service.addresses("a.").collect::<Vec<_>>(), [v4(1)]);
    assert_eq!(service.addresses("b.").collect::<Vec<_>>(), [v4(3)]);
    // A host that is named no longer is forgotten.
    let answers = vec![("b.".to_owned(), only_v4(found([v4(3)], 9)))];
    service.merge(vec![record(0, "b.")], answers).unwrap();
    assert_eq!(service.addresses("a.").count(), 0);
    // None has an address: everything stays.
    let answers = vec![("c.".to_owned(), only_v4(failed(timeout)))];
    assert!(service.merge(vec![record(0, "c.")], answers).is_err());
    assert_eq!(service.records, [record(0, "b.")]);
}

fn any_answer(address: fn(u8) -> IpAddr) -> impl Strategy<Value = Option<Found<IpAddr>>> {
    let some = proptest::collection::vec(any::<u8>(), 0..4);
    prop_oneof![
        some.prop_map(move |lasts| found(lasts.into_iter().map(address), 5)),
        Just(failed(nxdomain)),
        Just(failed(timeout)),
    ]
}

proptest! {
    #[test]
    fn once_there_are_addresses_no_answer_takes_them_all(
        answers in proptest::collection::vec((any_answer(v4), any_answer(v6)), 1..10)
    ) {
        let mut host = HostAddresses::default();
        for (ipv4, ipv6) in answers {
            let before = kept(&host);
            let merged = host.merge("api.", HostAnswer { ipv4, ipv6 });
            match merged {
                Ok(_) => assert!(!kept(&host).is_empty()),
                Err(_) => assert_eq!(kept(&host), before),
            }
        }
    }
}
