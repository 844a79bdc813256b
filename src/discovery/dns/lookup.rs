//! Questions to DNS servers, by the resolver library.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as NetDnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::error::DnsError;
use super::merge::{Found, HostAnswer, SrvRecord};

/// How long one try takes at most.
const TRY: Duration = Duration::from_secs(1);
/// Tries after the first. The library's own defaults let a name that nobody answers for take 15 s.
const RETRIES: usize = 1;

/// Which kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    Both,
    Ipv4,
    Ipv6,
}

/// Asks DNS servers.
#[derive(Clone)]
pub(super) struct Lookup(TokioResolver);

impl Lookup {
    /// With these servers, or with the system's as they are now: a container's `/etc/resolv.conf` and
    /// `/etc/hosts` change while it runs.
    ///
    /// # Errors
    /// The system's configuration cannot be read or names no server.
    pub(super) fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let wrong = |error: NetError| DnsError::Configuration { cause: error.to_string() };
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(wrong)?
        } else {
            let servers = servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        limit(builder.options_mut());
        builder.build().map(Self).map_err(wrong)
    }

    /// The addresses of a host.
    pub(super) async fn addresses(&self, name: &Name, families: Families) -> HostAnswer {
        let ipv4 = async {
            match families {
                Families::Both | Families::Ipv4 => {
                    Some(self.ask(name, RecordType::A, address).await)
                }
                Families::Ipv6 => None,
            }
        };
        let ipv6 = async {
            match families {
                Families::Both | Families::Ipv6 => {
                    Some(self.ask(name, RecordType::AAAA, address).await)
                }
                Families::Ipv4 => None,
            }
        };
        let (ipv4, ipv6) = tokio::join!(ipv4, ipv6);
        HostAnswer { ipv4, ipv6 }
    }

    /// The SRV records of a service. A target that is the root says that there is no service.
    pub(super) async fn service(&self, name: &Name) -> Found<SrvRecord> {
        self.ask(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) if !srv.target.is_root() => Some(SrvRecord {
                priority: srv.priority,
                target: srv.target.to_lowercase().to_string(),
                port: srv.port,
                weight: srv.weight,
            }),
            _ => None,
        })
        .await
    }

    async fn ask<T>(
        &self,
        name: &Name,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Found<T> {
        match self.0.lookup(name.clone(), kind).await {
            // CNAMEs stand among the answers, and live as short as what they lead to.
            Ok(lookup) => {
                let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                let found = lookup.answers().iter().filter_map(|record| read(&record.data));
                Ok((found.collect(), Duration::from_secs(ttl.into())))
            }
            Err(error) => failure(&name.to_string(), &error).map(|()| (Vec::new(), Duration::ZERO)),
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let to_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = server.connections.into_iter().map(to_port).collect();
    server
}

fn limit(options: &mut ResolverOpts) {
    options.timeout = TRY;
    options.attempts = RETRIES;
    // The source has its own times; a cached answer would outlive a container.
    options.cache_size = 0;
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

/// What the library calls an error. No record of this kind for a name that exists is none.
fn failure(name: &str, error: &NetError) -> Result<(), DnsError> {
    let name = name.to_owned();
    match error {
        NetError::Dns(NetDnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            match *response_code {
                ResponseCode::NoError => Ok(()),
                ResponseCode::NXDomain => Err(DnsError::NoSuchName { name }),
                code => Err(DnsError::Refused { name, code: code.to_string() }),
            }
        }
        NetError::Dns(NetDnsError::ResponseCode(code)) => {
            Err(DnsError::Refused { name, code: code.to_string() })
        }
        NetError::Timeout => Err(DnsError::Timeout { name }),
        other => Err(DnsError::Other { name, cause: other.to_string() }),
    }
}
