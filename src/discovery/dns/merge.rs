//! From answers to addresses: what failed keeps what it said before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::error::DnsError;

/// What one question found. NXDOMAIN is an error; an answer without such a record is an empty list.
pub(super) type Found<T> = Result<(Vec<T>, Duration), DnsError>;

/// The answers about one host, each with its time to live; `None` where a kind was not asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct HostAnswer {
    pub(super) ipv4: Option<Found<IpAddr>>,
    pub(super) ipv6: Option<Found<IpAddr>>,
}

/// The addresses of one host by its last good answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostAddresses {
    ipv4: BTreeSet<IpAddr>,
    ipv6: BTreeSet<IpAddr>,
}

/// What a good answer brought besides addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// The shortest time to live of what was found.
    pub(super) ttl: Option<Duration>,
    /// What failed beside it.
    pub(super) notes: Vec<String>,
}

impl HostAddresses {
    /// Takes the answers over. Where they hold no address at all, nothing changes.
    ///
    /// A kind that failed keeps its addresses, one that is empty beside the other has none. NXDOMAIN
    /// beside addresses counts as empty: some servers say so of AAAA.
    ///
    /// # Errors
    /// There is no address; of two failures the one that says more.
    pub(super) fn merge(&mut self, name: &str, answer: HostAnswer) -> Result<Merged, DnsError> {
        let kinds = [(answer.ipv4, &mut self.ipv4, "A"), (answer.ipv6, &mut self.ipv6, "AAAA")];
        let finds = |found: &Option<Found<IpAddr>>| matches!(found, Some(Ok((addresses, _))) if !addresses.is_empty());
        if !kinds.iter().any(|(found, ..)| finds(found)) {
            let empty = DnsError::Empty { name: name.to_owned() };
            let errors = kinds.into_iter().filter_map(|(found, ..)| found?.err());
            return Err(errors.max_by_key(DnsError::weight).unwrap_or(empty));
        }
        let mut merged = Merged::default();
        for (found, kept, kind) in kinds {
            match found {
                Some(Ok((addresses, ttl))) => {
                    if !addresses.is_empty() {
                        merged.ttl = Some(merged.ttl.map_or(ttl, |other| other.min(ttl)));
                    }
                    *kept = addresses.into_iter().collect();
                }
                None | Some(Err(DnsError::NoSuchName { .. } | DnsError::Empty { .. })) => {
                    kept.clear();
                }
                Some(Err(error)) => merged.notes.push(format!("{kind} records: {error}")),
            }
        }
        Ok(merged)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ipv4.iter().chain(&self.ipv6).copied()
    }
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SrvRecord {
    /// Lower ones come first. It is compared first, so that of two records for one address the better
    /// one is kept.
    pub(super) priority: u16,
    /// The host, with its final dot.
    pub(super) target: String,
    pub(super) port: u16,
    pub(super) weight: u16,
}

/// The hosts of a service by the last good answers.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) records: Vec<SrvRecord>,
    hosts: BTreeMap<String, HostAddresses>,
}

impl Service {
    /// Takes records and what was found about their hosts over. A host that failed keeps its addresses.
    ///
    /// # Errors
    /// No host has an address, now or from before; the first host's failure.
    pub(super) fn merge(
        &mut self,
        records: Vec<SrvRecord>,
        answers: Vec<(String, HostAnswer)>,
    ) -> Result<Merged, DnsError> {
        let mut hosts = BTreeMap::new();
        let mut merged = Merged::default();
        let mut first_error = None;
        for (target, answer) in answers {
            let mut host = self.hosts.get(&target).cloned().unwrap_or_default();
            match host.merge(&target, answer) {
                Ok(found) => {
                    let ttls = merged.ttl.into_iter().chain(found.ttl);
                    merged.ttl = ttls.min();
                    merged.notes.extend(found.notes);
                }
                Err(error) => {
                    merged.notes.push(error.to_string());
                    first_error.get_or_insert(error);
                }
            }
            hosts.insert(target, host);
        }
        if hosts.values().all(|host| host.iter().next().is_none()) {
            let name = records.first().map_or_else(String::new, |record| record.target.clone());
            return Err(first_error.unwrap_or(DnsError::Empty { name }));
        }
        (self.records, self.hosts) = (records, hosts);
        Ok(merged)
    }

    /// The addresses of a host.
    pub(super) fn addresses(&self, target: &str) -> impl Iterator<Item = IpAddr> + '_ {
        self.hosts.get(target).into_iter().flat_map(HostAddresses::iter)
    }
}

#[cfg(test)]
mod tests;
