//! Services to pools and the table of their routes.

use std::collections::HashMap;
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;

use super::{Builder, Judgement, retry};
use crate::balance::StatusSet;
use crate::config::{self, Config, ConsistentHash};
use crate::gateway::EjectionGuard;
use crate::gateway::state::member_stats::MemberStats;
use crate::gateway::state::pool::Pool;
use crate::gateway::state::services::{PublicUrl, Service, ServiceRoute, Services};
use crate::model::{AppName, Scheme};

impl Builder<'_> {
    /// The services of a configuration; none if it has none.
    ///
    /// # Errors
    /// As of any member; a method or the public URL is none, which the check has refused.
    pub(super) fn services(&mut self, config: &Config) -> Result<Option<Services>, String> {
        if config.services.is_empty() {
            return Ok(None);
        }
        let (mut all, mut routes) = (Vec::new(), Vec::new());
        for (name, written) in &config.services {
            let service = Arc::new(self.service(name, written)?);
            for route in &written.routes {
                let methods = route.methods.iter().map(|method| {
                    let refused = |_| format!("`{method}` is not an HTTP method");
                    method.parse::<http::Method>().map_err(refused)
                });
                routes.push(ServiceRoute {
                    prefix: route.prefix.as_str().into(),
                    hosts: route.hosts.iter().map(|host| host.as_str().into()).collect(),
                    methods: methods.collect::<Result<_, _>>()?,
                    says_hook_url: route.dify_hook_url,
                    service: Arc::clone(&service),
                });
            }
            all.push(service);
        }
        let public_url = config.ingress.public_url.as_deref().map(public_url).transpose()?;
        Ok(Some(Services::new(all, routes, public_url, config.ingress.wait)))
    }

    fn service(&mut self, name: &AppName, written: &config::Service) -> Result<Service, String> {
        let old = self.survivors.services.get(name).copied();
        let members = old.into_iter().flat_map(|old| &old.pool.members);
        let counted: HashMap<_, _> = members
            .map(|member| ((member.name(), member.instance.address()), &member.stats))
            .collect();
        let stats: Vec<Arc<MemberStats>> = written
            .instances
            .iter()
            .map(|one| counted.get(&(&one.name, &one.address)).map(|stats| Arc::clone(stats)))
            .map(Option::unwrap_or_default)
            .collect();
        let judgement = self.service_judgement(name, written, &stats);
        let instances = written.instances.iter();
        let members: Result<Vec<_>, _> = instances
            .zip(stats)
            .map(|(one, stats)| self.keyless(one, judgement.clone(), stats).map(Arc::new))
            .collect();
        let members = members?;
        let method = self.method(&members, (written.method, ConsistentHash::default()));
        let stats = old.map(|old| Arc::clone(&old.pool.stats)).unwrap_or_default();
        let waiting = old.map(|old| Arc::clone(&old.waiting)).unwrap_or_default();
        let pool = Pool::new(name.clone(), members, (method, None), retry(&written.retry), stats);
        Ok(Service { name: name.clone(), pool: Arc::new(pool), waiting })
    }

    /// No status of a service's takes an instance out: what it means is not known.
    pub(super) fn service_judgement(
        &self,
        name: &AppName,
        written: &config::Service,
        stats: &[Arc<MemberStats>],
    ) -> Judgement {
        let mates = written.instances.iter().zip(stats).map(|(one, stats)| {
            let instance = &self.instances.by_address[&one.address].instance;
            (Arc::clone(instance), Arc::clone(stats))
        });
        Judgement {
            fail_statuses: StatusSet::default(),
            pool_mates: Arc::new(EjectionGuard::new(name.clone(), mates.collect(), 100)),
        }
    }
}

/// The parts of a URL that its check has let through.
fn public_url(text: &str) -> Result<PublicUrl, String> {
    let refused = || "`ingress.public_url` is not a URL".to_owned();
    let uri: Uri = text.parse().map_err(|_| refused())?;
    let scheme = match uri.scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let authority = uri.authority().ok_or_else(refused)?;
    let port = authority.port_u16().unwrap_or_else(|| scheme.usual_port());
    Ok(PublicUrl { scheme, host: Authority::as_str(authority).to_owned(), port })
}
