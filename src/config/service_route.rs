//! Which requests go to a service.

use serde::Serialize;

use super::raw::RawRoute;

/// Requests that go to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceRoute {
    /// The beginning of the path; with a slash at its end only what is below.
    pub prefix: String,
    /// Host names in small letters, perhaps `*.` before one; empty: any.
    pub hosts: Vec<String>,
    /// HTTP methods; empty: any.
    pub methods: Vec<String>,
    /// Whether the service is told the URL that the client asked for.
    pub dify_hook_url: bool,
}

impl ServiceRoute {
    /// Whether both would get the same requests.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        (&self.prefix, &self.hosts, &self.methods) == (&other.prefix, &other.hosts, &other.methods)
    }

    /// A route as it is written, its lists in order.
    pub(super) fn of(raw: &RawRoute) -> Self {
        let mut hosts: Vec<_> = raw.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let mut methods = raw.methods.clone();
        hosts.sort();
        methods.sort();
        Self { prefix: raw.prefix.clone(), hosts, methods, dify_hook_url: raw.dify_hook_url }
    }
}
