//! The services of Dify's `docker-compose.yaml`, and what its nginx sends to which
//! (`nginx/conf.d/default.conf.template` of Dify 1.5 to 1.17).

use std::cell::OnceCell;

use super::balancing::Method;
use super::raw::{DifyServices, RawServiceInstance, RawServices};
use super::service_route::ServiceRoute;
use super::tls::InstanceTls;

/// A service of Dify's.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    port: u16,
    prefixes: Vec<&'static str>,
    /// What one container of it serves at a time.
    pub(super) max_concurrent: u32,
    pub(super) method: Method,
    /// Whether it is the API, which a probe knows.
    pub(super) answers_as_dify: bool,
}

/// What Dify's API answers.
const API: [&str; 7] = ["/console/api", "/api", "/v1", "/files", "/mcp", "/triggers", "/openapi"];

/// Where Socket.IO is spoken.
const SOCKET_IO: &str = "/socket.io/";

/// What the plugin daemon answers.
const HOOKS: &str = "/e/";

/// The service with the sockets of people who edit together, in newer Dify and if it is wanted.
const WEBSOCKET: &str = "api_websocket";

impl Known {
    /// The names that a configuration of `dify: compose` may leave the rest out of.
    pub(super) const NAMES: [&str; 4] = ["api", WEBSOCKET, "plugin_daemon", "web"];

    /// Dify's services in a configuration; none if it does not want them.
    pub(super) fn of(raw: &RawServices) -> Vec<Self> {
        let Some(DifyServices::Compose) = raw.dify else { return Vec::new() };
        let has_websocket = raw.named.contains_key(WEBSOCKET);
        let mut prefixes = API.to_vec();
        if !has_websocket {
            prefixes.push(SOCKET_IO);
        }
        let method = Method::LeastConnections;
        let (max_concurrent, answers_as_dify) = (256, false);
        let api = Self {
            name: "api",
            port: 5001,
            prefixes,
            max_concurrent: 10,
            method,
            answers_as_dify: true,
        };
        let of = |name, port, prefixes| Self {
            name,
            port,
            prefixes,
            max_concurrent,
            method,
            answers_as_dify,
        };
        let websocket = has_websocket.then(|| Self {
            // What belongs to one socket stays where that is.
            method: Method::IpHash,
            answers_as_dify: true,
            ..of(WEBSOCKET, 5001, vec![SOCKET_IO])
        });
        let others =
            [of("plugin_daemon", 5002, vec![HOOKS]), of("web", 3000, vec!["/explore", "/"])];
        [api].into_iter().chain(websocket).chain(others).collect()
    }

    pub(super) fn routes(&self) -> Vec<ServiceRoute> {
        let route = |prefix: &&'static str| ServiceRoute {
            prefix: (*prefix).to_owned(),
            hosts: Vec::new(),
            methods: Vec::new(),
            dify_hook_url: *prefix == HOOKS,
        };
        self.prefixes.iter().map(route).collect()
    }

    /// Its one container, by the name that Docker's DNS has for it.
    pub(super) fn instance(&self) -> RawServiceInstance {
        RawServiceInstance {
            name: None,
            host: Some(self.name.to_owned()),
            port: Some(self.port),
            url: None,
            tls: InstanceTls::default(),
            weight: 1,
            max_concurrent: None,
            drain: false,
            address: OnceCell::new(),
        }
    }
}
