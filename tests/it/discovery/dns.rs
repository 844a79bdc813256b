//! DNS as a source.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use difygate::discovery::{
    DnsError, DnsRecords, DnsSettings, DnsSource, KeepLast, SourceError, SourceHandle, spawn,
};

use super::dns_server::{DnsServer, Kind, NOERROR, NXDOMAIN, REFUSED, Reply, SERVFAIL};
use super::{addresses, short, until};

/// A time to live that no test waits for.
const LONG: Duration = Duration::from_secs(600);

fn v4(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn hosts(ttl: u32, lasts: impl IntoIterator<Item = u8>) -> Reply {
    Reply::Addresses(ttl, lasts.into_iter().map(v4).collect())
}

fn settings(server: &DnsServer, host: &str, records: DnsRecords) -> DnsSettings {
    let mut settings = DnsSettings::new("api", host.parse().unwrap(), records);
    settings.servers = vec![server.address()];
    settings.max_ttl = LONG;
    settings
}

/// Both kinds of addresses of `api`, asked for again only when it is told to.
fn start(server: &DnsServer) -> SourceHandle {
    spawn(DnsSource::new(settings(server, "api", DnsRecords::Addresses { port: 5001 })))
}

#[tokio::test]
async fn each_address_of_both_kinds_is_an_endpoint() {
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(600, [3, 2]));
    server.set("api.", Kind::Aaaa, Reply::Addresses(600, vec!["fd00::1".parse().unwrap()]));
    let source = start(&server);
    let state = until(&source, |state| state.set.is_some()).await;
    assert_eq!(
        short(&state),
        [
            "api#1 10.0.0.2:5001 1 0 ready",
            "api#2 10.0.0.3:5001 1 0 ready",
            "api#3 [fd00::1]:5001 1 0 ready"
        ]
    );
    assert!(!state.failing && state.last_error.is_none() && state.last_success.is_some());
    assert_eq!(source.description(), "dns api.:5001");
    let mut asked = server.asked();
    asked.sort();
    assert_eq!(asked, ["udp api. A", "udp api. AAAA"], "from the root, and once");
}

#[tokio::test]
async fn one_kind_alone_is_asked_for_where_that_is_meant() {
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(600, [1]));
    server.set("api.", Kind::Aaaa, Reply::Addresses(600, vec!["fd00::1".parse().unwrap()]));
    for (records, expected, asked) in [
        (DnsRecords::Ipv4 { port: 80 }, "10.0.0.1:80", "udp api. A"),
        (DnsRecords::Ipv6 { port: 80 }, "[fd00::1]:80", "udp api. AAAA"),
    ] {
        let source = spawn(DnsSource::new(settings(&server, "api.", records)));
        let state = until(&source, |state| state.set.is_some()).await;
        assert_eq!(addresses(&state), [expected]);
        assert_eq!(server.asked().last().unwrap(), asked);
    }
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn an_address_keeps_its_name_and_a_new_one_takes_the_place_of_what_went() {
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(600, [7, 5, 6]));
    let source = start(&server);
    until(&source, |state| addresses(state).len() == 3).await;
    server.set("api.", Kind::A, hosts(600, [7, 9, 5]));
    source.refresh();
    let state =
        until(&source, |state| addresses(state).contains(&"10.0.0.9:5001".to_owned())).await;
    assert_eq!(
        short(&state),
        [
            "api#1 10.0.0.5:5001 1 0 ready",
            "api#2 10.0.0.9:5001 1 0 ready",
            "api#3 10.0.0.7:5001 1 0 ready"
        ]
    );
}

#[tokio::test]
async fn a_time_to_live_of_600_s_is_cut_to_max_ttl_and_a_short_one_counts() {
    for (ttl, max_ttl) in [(600, Duration::from_secs(1)), (1, LONG), (0, LONG)] {
        let server = DnsServer::start().await;
        server.set("api.", Kind::A, hosts(ttl, [1]));
        let mut settings = settings(&server, "api", DnsRecords::Ipv4 { port: 5001 });
        settings.max_ttl = max_ttl;
        let source = spawn(DnsSource::new(settings));
        until(&source, |state| addresses(state) == ["10.0.0.1:5001"]).await;
        server.set("api.", Kind::A, hosts(ttl, [2]));
        until(&source, |state| addresses(state) == ["10.0.0.2:5001"]).await;
    }
}

#[tokio::test]
async fn what_fails_keeps_the_last_good_set_and_is_said() {
    let name = || "api.".to_owned();
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(600, [1, 2]));
    let source = start(&server);
    let good = until(&source, |state| state.set.is_some()).await;
    let refused = |code: &str| DnsError::Refused { name: name(), code: code.to_owned() };
    for (reply, error) in [
        (Reply::Code(NXDOMAIN), DnsError::NoSuchName { name: name() }),
        (Reply::Code(NOERROR), DnsError::Empty { name: name() }),
        (Reply::Code(SERVFAIL), refused("Server Failure")),
        (Reply::Code(REFUSED), refused("Query Refused")),
        (Reply::Silence, DnsError::Timeout { name: name() }),
    ] {
        for kind in [Kind::A, Kind::Aaaa] {
            server.set("api.", kind, reply.clone());
        }
        source.refresh();
        let failing = until(&source, |state| state.failing).await;
        assert_eq!(failing.set, good.set, "{error}");
        assert_eq!(failing.last_error.unwrap().error, SourceError::Dns(error));
        // It asks again by itself.
        server.set("api.", Kind::A, hosts(600, [1, 2]));
        server.set("api.", Kind::Aaaa, Reply::Code(NOERROR));
        let again = until(&source, |state| !state.failing).await;
        assert_eq!(again.set, good.set);
        assert!(again.last_error.is_some());
    }
}

#[tokio::test]
async fn addresses_hold_where_the_other_kind_is_not_answered() {
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(600, [1]));
    server.set("api.", Kind::Aaaa, Reply::Silence);
    let source = start(&server);
    let state = until(&source, |state| state.set.is_some()).await;
    assert_eq!(addresses(&state), ["10.0.0.1:5001"]);
    assert!(!state.failing);
    assert!(state.set.unwrap().notes[0].starts_with("AAAA records: no DNS server answered"));
}

#[tokio::test]
async fn a_set_older_than_keep_last_is_given_up() {
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(0, [1]));
    let mut settings = settings(&server, "api", DnsRecords::Ipv4 { port: 5001 });
    settings.keep_last = KeepLast::For(Duration::from_millis(100));
    let source = spawn(DnsSource::new(settings));
    until(&source, |state| addresses(state).len() == 1).await;
    server.set("api.", Kind::A, Reply::Code(SERVFAIL));
    let state = until(&source, |state| state.failing && addresses(state).is_empty()).await;
    assert!(!state.set.unwrap().notes.is_empty());
}

#[tokio::test]
async fn two_hundred_addresses_in_another_order_are_the_same_set() {
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(600, 1..=200));
    let source = start(&server);
    let state = until(&source, |state| state.set.is_some()).await;
    assert_eq!(addresses(&state).len(), 200);
    assert!(server.asked().contains(&"tcp api. A".to_owned()), "UDP has no room for them");
    let mut changes = source.subscribe();
    changes.mark_unchanged();
    let rounds = server.rounds();
    server.set("api.", Kind::A, hosts(600, (1..=200).rev()));
    source.refresh();
    while server.rounds() < rounds + 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It is through with that answer once it has asked again.
    source.refresh();
    while server.rounds() < rounds + 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!changes.has_changed().unwrap(), "nobody is woken");
    assert_eq!(source.state().set, state.set);
}

#[tokio::test]
async fn however_often_it_is_told_to_it_asks_once_a_second() {
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(600, [1]));
    let began = Instant::now();
    let source = start(&server);
    until(&source, |state| state.set.is_some()).await;
    while server.rounds() < 3 {
        source.refresh();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let most = began.elapsed().as_secs_f64().floor() + 1.0;
    assert!(server.rounds() <= most as usize, "{} in {:?}", server.rounds(), began.elapsed());
}

#[tokio::test]
async fn srv_records_bring_port_weight_and_priority() {
    let server = DnsServer::start().await;
    server.set(
        "_http._tcp.api.",
        Kind::Srv,
        Reply::Services(
            600,
            vec![(10, 60, 5001, "a.example."), (20, 0, 5002, "b.example."), (10, 1, 5003, "gone.")],
        ),
    );
    server.set("a.example.", Kind::A, hosts(600, [1, 2]));
    server.set("b.example.", Kind::Aaaa, Reply::Addresses(600, vec!["fd00::1".parse().unwrap()]));
    let source = spawn(DnsSource::new(settings(&server, "_http._tcp.api", DnsRecords::Srv)));
    let state = until(&source, |state| state.set.is_some()).await;
    assert_eq!(
        short(&state),
        [
            "api#1 10.0.0.1:5001 60 10 ready",
            "api#2 10.0.0.2:5001 60 10 ready",
            "api#3 [fd00::1]:5002 1 20 ready"
        ]
    );
    assert!(state.set.as_ref().unwrap().notes[0].contains("`gone.`"));
    // A host that fails keeps its addresses.
    server.set("a.example.", Kind::A, Reply::Code(SERVFAIL));
    server.set("b.example.", Kind::Aaaa, Reply::Addresses(600, vec!["fd00::2".parse().unwrap()]));
    source.refresh();
    let moved = |state: &_| addresses(state).contains(&"[fd00::2]:5002".to_owned());
    assert_eq!(addresses(&until(&source, moved).await).len(), 3);
    // `.` says that the service is not offered.
    server.set("_http._tcp.api.", Kind::Srv, Reply::Services(600, vec![(0, 0, 0, ".")]));
    source.refresh();
    let state = until(&source, |state| state.failing).await;
    let name = "_http._tcp.api.".to_owned();
    assert_eq!(state.last_error.unwrap().error, SourceError::Dns(DnsError::Empty { name }));
    assert_eq!(state.set.unwrap().endpoints.len(), 3);
}

#[tokio::test]
async fn a_source_ends_with_its_handle() {
    let server = DnsServer::start().await;
    server.set("api.", Kind::A, hosts(0, [1]));
    let source = start(&server);
    let mut state = source.subscribe();
    until(&source, |state| state.set.is_some()).await;
    drop(source);
    while state.changed().await.is_ok() {}
}
