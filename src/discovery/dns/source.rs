//! Asks for a name again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::error::DnsError;
use super::lookup::{Families, Lookup};
use super::merge::{HostAddresses, HostAnswer, Merged, Service, SrvRecord};
use super::numbers::Numbers;
use super::settings::{DnsRecords, DnsSettings};
use crate::discovery::endpoint::{DiscoveredSet, Endpoint, EndpointState, MAX_WEIGHT};
use crate::discovery::source::{KeepLast, Publisher, Refresh, Source};

/// Never more often than this by itself: a time to live of 0 is common.
const AT_LEAST: Duration = Duration::from_secs(1);
/// Most hosts of an SRV answer.
const MAX_HOSTS: usize = 256;
/// So many of them are asked after at a time.
const HOSTS_AT_ONCE: usize = 16;

/// The addresses of a name.
#[derive(Clone, Debug)]
pub struct DnsSource {
    settings: DnsSettings,
}

impl DnsSource {
    /// A source that looks up one name.
    pub fn new(settings: DnsSettings) -> Self {
        Self { settings }
    }
}

impl Source for DnsSource {
    fn describe(&self) -> String {
        let host = &self.settings.host;
        match self.settings.records {
            DnsRecords::Srv => format!("dns SRV {host}"),
            DnsRecords::Addresses { port } => format!("dns {host}:{port}"),
            DnsRecords::Ipv4 { port } => format!("dns A {host}:{port}"),
            DnsRecords::Ipv6 { port } => format!("dns AAAA {host}:{port}"),
        }
    }

    fn keep_last(&self) -> KeepLast {
        self.settings.keep_last
    }

    async fn run(self, mut publisher: Publisher, refresh: Refresh) {
        let mut known = Known::default();
        loop {
            let began = Instant::now();
            let wait = match known.ask(&self.settings).await {
                Ok(merged) => {
                    let ttl = merged.ttl.unwrap_or(Duration::ZERO);
                    publisher.succeeded(known.set(&self.settings, merged.notes));
                    ttl.min(self.settings.max_ttl)
                }
                Err(error) => {
                    publisher.failed(error);
                    AT_LEAST
                }
            };
            // A silent server takes two seconds by itself.
            let next = (began + wait.max(AT_LEAST)).max(Instant::now());
            tokio::select! {
                () = sleep_until(next) => {}
                () = refresh.asked(began) => {}
            }
        }
    }
}

/// What is known from the last good answers.
#[derive(Default)]
struct Known {
    host: HostAddresses,
    service: Service,
    numbers: Numbers,
}

impl Known {
    async fn ask(&mut self, settings: &DnsSettings) -> Result<Merged, DnsError> {
        let lookup = Lookup::new(&settings.servers)?;
        let host = settings.host.as_name();
        let families = match settings.records {
            DnsRecords::Srv => return self.ask_service(&lookup, host).await,
            DnsRecords::Addresses { .. } => Families::Both,
            DnsRecords::Ipv4 { .. } => Families::Ipv4,
            DnsRecords::Ipv6 { .. } => Families::Ipv6,
        };
        let answer = lookup.addresses(host, families).await;
        self.host.merge(&host.to_string(), answer)
    }

    async fn ask_service(&mut self, lookup: &Lookup, name: &Name) -> Result<Merged, DnsError> {
        let (mut records, ttl) = lookup.service(name).await?;
        if records.is_empty() {
            return Err(DnsError::Empty { name: name.to_string() });
        }
        records.sort();
        let targets: BTreeSet<_> = records.iter().map(|record| record.target.clone()).collect();
        if targets.len() > MAX_HOSTS {
            let (name, count) = (name.to_string(), targets.len());
            return Err(DnsError::TooManyHosts { name, count, limit: MAX_HOSTS });
        }
        let answers = hosts(lookup, targets.into_iter().collect()).await;
        let mut merged = self.service.merge(records, answers)?;
        merged.ttl = Some(merged.ttl.map_or(ttl, |other| other.min(ttl)));
        Ok(merged)
    }

    /// What is known, as a set. Weights of SRV records are taken as they are (0 as 1), never in
    /// proportion to each other: one host less must not change the shares of the others.
    fn set(&mut self, settings: &DnsSettings, notes: Vec<String>) -> DiscoveredSet {
        let addresses: BTreeMap<SocketAddr, (u16, u32)> = match settings.records {
            DnsRecords::Srv => by_address(&self.service),
            DnsRecords::Addresses { port }
            | DnsRecords::Ipv4 { port }
            | DnsRecords::Ipv6 { port } => {
                self.host.iter().map(|ip| (SocketAddr::new(ip, port), (0, 1))).collect()
            }
        };
        let numbers = self.numbers.assign(&addresses.keys().copied().collect());
        let by_number: BTreeMap<u32, SocketAddr> =
            numbers.iter().map(|(address, number)| (*number, *address)).collect();
        let endpoint = |(number, address): (u32, SocketAddr)| {
            let (priority, weight) = addresses.get(&address).copied().unwrap_or((0, 1));
            Endpoint {
                name: format!("{}#{number}", settings.name),
                address,
                weight,
                priority,
                state: EndpointState::Ready,
                why: None,
            }
        };
        DiscoveredSet { endpoints: by_number.into_iter().map(endpoint).collect(), notes }
    }
}

/// Priority and weight of each address. Of records for the same one the first counts.
fn by_address(service: &Service) -> BTreeMap<SocketAddr, (u16, u32)> {
    let mut all = BTreeMap::new();
    for SrvRecord { priority, target, port, weight } in &service.records {
        for ip in service.addresses(target) {
            let weight = u32::from(*weight).clamp(1, MAX_WEIGHT);
            all.entry(SocketAddr::new(ip, *port)).or_insert((*priority, weight));
        }
    }
    all
}

/// The addresses of several hosts, some at a time.
async fn hosts(lookup: &Lookup, targets: Vec<String>) -> Vec<(String, HostAnswer)> {
    let mut answers = Vec::new();
    let mut asking = JoinSet::new();
    for target in targets {
        if asking.len() >= HOSTS_AT_ONCE {
            answers.extend(asking.join_next().await.and_then(Result::ok));
        }
        let lookup = lookup.clone();
        asking.spawn(async move {
            let answer = match Name::from_ascii(&target) {
                Ok(name) => lookup.addresses(&name, Families::Both).await,
                Err(_) => HostAnswer::default(),
            };
            (target, answer)
        });
    }
    while let Some(answer) = asking.join_next().await {
        answers.extend(answer.ok());
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::Known;
    use crate::discovery::dns::merge::{HostAnswer, SrvRecord};
    use crate::discovery::{DnsRecords, DnsSettings};

    fn record(priority: u16, weight: u16, target: &str) -> SrvRecord {
        SrvRecord { priority, target: target.to_owned(), port: 5001, weight }
    }

    fn answer(target: &str, last: u8) -> (String, HostAnswer) {
        let found = Some(Ok((vec![IpAddr::from([10, 0, 0, last])], Duration::ZERO)));
        (target.to_owned(), HostAnswer { ipv4: found, ipv6: None })
    }

    #[test]
    fn weights_are_those_of_the_records_and_the_better_record_of_an_address_counts() {
        let mut known = Known::default();
        let mut records = vec![
            record(20, 7, "a."),
            record(10, 65_535, "a."),
            record(10, 0, "b."),
            record(20, 300, "c."),
        ];
        records.sort();
        let answers = vec![answer("a.", 1), answer("b.", 2), answer("c.", 3)];
        known.service.merge(records, answers).unwrap();
        let settings = DnsSettings::new("api", "_http._tcp.api".parse().unwrap(), DnsRecords::Srv);
        let set = known.set(&settings, Vec::new());
        let found: Vec<_> = set
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.name.as_str(), endpoint.priority, endpoint.weight))
            .collect();
        assert_eq!(found, [("api#1", 10, 10_000), ("api#2", 10, 1), ("api#3", 20, 300)]);
    }
}
