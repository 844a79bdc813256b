//! From services as they are written to those that are used: defaults, and what Dify's own are.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::balancing::Method;
use super::compose::Known;
use super::probe::Probe;
use super::raw::{RawRoute, RawService, RawServiceInstance, RawServices};
use super::retry::Retry;
use super::service_route::ServiceRoute;
use super::types::{App, Instance, Service};
use crate::model::{Address, AppName, ProbeExpect, Queue, Token};

/// Connections to an instance of a service of which nothing is known.
const MAX_CONCURRENT: u32 = 256;

/// What services take from the rest of the configuration.
pub(super) struct Above<'a> {
    pub(super) probe: &'a Arc<Probe>,
    pub(super) retry: &'a Retry,
    pub(super) apps: &'a IndexMap<AppName, Arc<App>>,
}

/// The services by their names. `None` only if an instance has no address, which the checks have
/// refused.
pub(super) fn resolve(
    mut raw: RawServices,
    above: &Above<'_>,
) -> Option<IndexMap<AppName, Arc<Service>>> {
    let written: Vec<_> = written_routes(&raw).map(ServiceRoute::of).collect();
    let mut services: IndexMap<AppName, Arc<Service>> = IndexMap::new();
    for known in Known::of(&raw) {
        let own = raw.named.shift_remove(known.name).unwrap_or_default();
        let has_routes = own.routes.is_some();
        let mut service = resolve_service(known.name, own, Some(&known), above)?;
        if !has_routes {
            // What is written stands before Dify's own.
            service.routes.retain(|route| !written.iter().any(|own| own.replaces(route)));
        }
        services.insert(known.name.into(), Arc::new(service));
    }
    for (name, own) in raw.named {
        let service = resolve_service(&name, own, None, above)?;
        services.insert(name.into(), Arc::new(service));
    }
    Some(services)
}

fn written_routes(raw: &RawServices) -> impl Iterator<Item = &RawRoute> {
    raw.named.values().filter_map(|service| service.routes.as_ref()).flatten()
}

fn resolve_service(
    name: &str,
    raw: RawService,
    known: Option<&Known>,
    above: &Above<'_>,
) -> Option<Service> {
    let probe = raw.probe.or(&Arc::new(default_probe(known, above.probe)));
    let routes = match (&raw.routes, known) {
        (Some(routes), _) => routes.iter().map(ServiceRoute::of).collect(),
        (None, Some(known)) => known.routes(),
        (None, None) => Vec::new(),
    };
    let most = known.map_or(MAX_CONCURRENT, |known| known.max_concurrent);
    let instances = match (raw.instances, known) {
        (Some(written), _) => {
            let numbered = written.len() > 1;
            let instance = |(index, raw): (usize, RawServiceInstance)| {
                let own = raw.name.clone().unwrap_or_else(|| match numbered {
                    true => format!("{name}-{}", index + 1),
                    false => name.to_owned(),
                });
                Some(instance(own, raw.address()?.clone(), &probe, (&raw, most, above)))
            };
            written.into_iter().enumerate().map(instance).collect::<Option<_>>()?
        }
        (None, Some(known)) => {
            let raw = known.instance();
            let address = raw.address()?.clone();
            vec![instance(name.to_owned(), address, &probe, (&raw, most, above))]
        }
        (None, None) => Vec::new(),
    };
    let usual = known.map_or(Method::LeastConnections, |known| known.method);
    let (method, retry) = (raw.method.unwrap_or(usual), raw.retry.or(above.retry));
    Some(Service { routes, method, retry, instances })
}

fn instance(
    name: String,
    address: Address,
    probe: &Arc<Probe>,
    (raw, most, above): (&RawServiceInstance, u32, &Above<'_>),
) -> Instance {
    // Settings of an address are those of all who use it: what an app says of it stands.
    let twin = above.apps.values().flat_map(|app| &app.instances);
    let twin = twin.into_iter().find(|instance| instance.address == address);
    Instance {
        name: name.into(),
        address,
        tls: twin.map_or_else(|| raw.tls.clone(), |twin| twin.tls.clone()),
        web_url: None,
        files_url: None,
        token: Token::new(""),
        dataset_token: None,
        weight: raw.weight,
        max_fails: twin.map_or(3, |twin| twin.max_fails),
        fail_timeout: twin.map_or(Duration::from_secs(30), |twin| twin.fail_timeout),
        max_concurrent: raw.max_concurrent.or(twin.map(|twin| twin.max_concurrent)).unwrap_or(most),
        max_runs: twin.and_then(|twin| twin.max_runs),
        queue: twin.map_or_else(Queue::default, |twin| twin.queue),
        probe: Arc::clone(probe),
        slow_start: Duration::ZERO,
        drain: raw.drain,
    }
}

/// The probe of a service that says nothing of it: how often is inherited, what is asked is not.
fn default_probe(known: Option<&Known>, top: &Arc<Probe>) -> Probe {
    let usual = Probe::default();
    let is_dify = known.is_some_and(|known| known.answers_as_dify);
    let (path, expect) = match is_dify {
        true => (usual.path, ProbeExpect::Dify),
        false => ("/".to_owned(), ProbeExpect::Statuses(vec![100..=499])),
    };
    Probe {
        written_expect: Some(expect.clone()),
        expect,
        path,
        method: usual.method,
        headers: usual.headers,
        with_key: false,
        expect_body: None,
        ..Probe::clone(top)
    }
}
