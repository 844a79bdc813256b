//! The table of what leads to which service, as `difygate check` prints it.

use serde_json::{Value, json};

use crate::cli::table::table;
use crate::config::{Config, Service, ServiceRoute};
use crate::model::AppName;

/// The routes, those of the longest prefix first.
fn routes(config: &Config) -> Vec<(&ServiceRoute, &AppName, &Service)> {
    let services = config.services.iter();
    let mut routes: Vec<_> = services
        .flat_map(|(name, service)| {
            service.routes.iter().map(move |route| (route, name, &**service))
        })
        .collect();
    routes.sort_by_key(|(route, ..)| std::cmp::Reverse(route.prefix.len()));
    routes
}

fn addresses(service: &Service) -> Vec<String> {
    service.instances.iter().map(|instance| instance.address.to_string()).collect()
}

/// For people.
pub(super) fn text(config: &Config) -> String {
    let any = |list: &[String]| match list {
        [] => "any".to_owned(),
        list => list.join(", "),
    };
    let rows = routes(config).into_iter().map(|(route, name, service)| {
        [
            route.prefix.as_str().into(),
            any(&route.hosts).into(),
            any(&route.methods).into(),
            name.as_str().into(),
            addresses(service).join(", ").into(),
        ]
    });
    table(["PATH", "HOST", "METHOD", "SERVICE", "INSTANCES"], rows.collect())
}

/// For programs.
pub(super) fn to_json(config: &Config) -> Value {
    let routes = routes(config).into_iter().map(|(route, name, service)| {
        json!({
            "prefix": route.prefix,
            "hosts": route.hosts,
            "methods": route.methods,
            "service": name.as_str(),
            "instances": addresses(service),
        })
    });
    routes.collect()
}
