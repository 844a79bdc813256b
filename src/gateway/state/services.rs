//! What is passed on without an app: services and the routes that lead to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use memchr::memchr_iter;
use smallvec::SmallVec;

use crate::gateway::state::pool::Pool;
use crate::model::{AppName, Scheme};

/// Requests that may wait for an instance of one service at a time.
const MAX_WAITING: usize = 1024;

/// All services, and the table of their routes.
#[derive(Debug)]
pub struct Services {
    /// In the order of the configuration.
    pub all: Vec<Arc<Service>>,
    /// How clients reach the gateway, as the configuration says.
    pub public_url: Option<PublicUrl>,
    /// How long a request waits for an instance.
    pub wait: Duration,
    /// By prefix; those of one prefix in the order in which they are tried.
    routes: HashMap<Box<str>, Vec<Arc<ServiceRoute>>>,
    /// The most slashes that a prefix has: what stands behind so many decides nothing.
    slashes: usize,
}

/// A pool of instances that can stand in for each other.
#[derive(Debug)]
pub struct Service {
    /// Its key in the configuration.
    pub name: AppName,
    /// Its instances.
    pub pool: Arc<Pool>,
    /// Requests that wait for an instance; it survives a reload.
    pub waiting: Arc<AtomicUsize>,
}

/// Which requests go to a service.
#[derive(Debug)]
pub struct ServiceRoute {
    /// The beginning of the path; with a slash at its end only what is below.
    pub prefix: Box<str>,
    /// Hosts in small letters, perhaps `*.` before one; empty: any.
    pub hosts: Box<[Box<str>]>,
    /// Empty: any.
    pub methods: Box<[Method]>,
    /// Whether the service is told the URL that the client asked for.
    pub says_hook_url: bool,
    /// Where they go.
    pub service: Arc<Service>,
}

/// How clients reach the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// What they speak.
    pub scheme: Scheme,
    /// The host, with a port if that is not the usual one.
    pub host: String,
    /// The port, said or not.
    pub port: u16,
}

impl Services {
    /// The table of these routes.
    pub fn new(
        all: Vec<Arc<Service>>,
        routes: Vec<ServiceRoute>,
        public_url: Option<PublicUrl>,
        wait: Duration,
    ) -> Self {
        let slashes = routes.iter().map(|route| count(&route.prefix)).max().unwrap_or(0);
        let mut by_prefix: HashMap<_, Vec<_>> = HashMap::new();
        for route in routes {
            by_prefix.entry(route.prefix.clone()).or_default().push(Arc::new(route));
        }
        for same in by_prefix.values_mut() {
            same.sort_by_key(|route| route.breadth());
        }
        Self { all, public_url, wait, routes: by_prefix, slashes }
    }

    /// The route of the longest prefix that takes a request. The path has no escapes; the host is in
    /// small letters and without a port.
    pub(crate) fn find(
        &self,
        method: &Method,
        host: Option<&str>,
        path: &str,
    ) -> Option<&Arc<ServiceRoute>> {
        let takes = |prefix: &str| {
            let routes = self.routes.get(prefix)?;
            routes.iter().find(|route| route.takes(method, host))
        };
        let cuts: SmallVec<[usize; 8]> =
            memchr_iter(b'/', path.as_bytes()).take(self.slashes + 1).collect();
        if cuts.len() <= self.slashes
            && let Some(route) = takes(path)
        {
            return Some(route);
        }
        cuts.iter().rev().find_map(|&cut| takes(&path[..=cut]).or_else(|| takes(&path[..cut])))
    }
}

fn count(prefix: &str) -> usize {
    memchr_iter(b'/', prefix.as_bytes()).count()
}

impl ServiceRoute {
    /// Whether it is one of Dify's service API, which apps have too.
    pub(crate) fn is_service_api(&self) -> bool {
        let prefix = &*self.prefix;
        prefix.ends_with("/v1") || prefix.contains("/v1/")
    }

    /// The smaller, the sooner it is tried: one host, any host below a name, by method, all.
    fn breadth(&self) -> (u8, bool) {
        let hosts = match &self.hosts[..] {
            [] => 2,
            hosts if hosts.iter().any(|host| host.starts_with("*.")) => 1,
            _ => 0,
        };
        (hosts, self.methods.is_empty())
    }

    fn takes(&self, method: &Method, host: Option<&str>) -> bool {
        let is_host = |pattern: &str, host: &str| match pattern.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == pattern,
        };
        let of_hosts = self.hosts.is_empty()
            || host.is_some_and(|host| self.hosts.iter().any(|pattern| is_host(pattern, host)));
        of_hosts && (self.methods.is_empty() || self.methods.contains(method))
    }
}

impl Service {
    /// A place among those that wait for an instance; none if they are too many.
    pub(crate) fn wait(&self) -> Option<WaitGuard> {
        let waiting = Arc::clone(&self.waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            return Some(WaitGuard(waiting));
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

/// A request that waits for an instance, counted until dropped.
pub(crate) struct WaitGuard(Arc<AtomicUsize>);

impl Drop for WaitGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
