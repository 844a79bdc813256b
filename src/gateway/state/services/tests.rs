use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::{Service, ServiceRoute, Services};
use crate::balance;
use crate::gateway::state::policy::Retry;
use crate::gateway::state::pool::Pool;

/// A table of `name: hosts methods prefix`, of which hosts and methods may be `-`.
fn table(routes: &[(&str, &str, &str, &str)]) -> Services {
    let list = |text: &str| -> Vec<String> {
        text.split(',').filter(|one| *one != "-").map(str::to_owned).collect()
    };
    let route = |(name, hosts, methods, prefix): &(&str, &str, &str, &str)| {
        let how = (balance::Method::LeastConnections, None);
        let pool = Pool::new((*name).into(), Vec::new(), how, Retry::default(), Arc::default());
        let service =
            Service { name: (*name).into(), pool: Arc::new(pool), waiting: Arc::default() };
        ServiceRoute {
            prefix: (*prefix).into(),
            hosts: list(hosts).into_iter().map(Into::into).collect(),
            methods: list(methods).iter().map(|method| method.parse().unwrap()).collect(),
            says_hook_url: false,
            service: Arc::new(service),
        }
    };
    Services::new(Vec::new(), routes.iter().map(route).collect(), None, Duration::ZERO)
}

fn found(table: &Services, method: &Method, host: &str, path: &str) -> String {
    let route = table.find(method, Some(host), path);
    route.map_or_else(|| "-".to_owned(), |route| route.service.name.as_str().to_owned())
}

#[test]
fn the_longest_prefix_of_whole_segments_wins() {
    let table = table(&[
        ("web", "-", "-", "/"),
        ("api", "-", "-", "/api"),
        ("console", "-", "-", "/console/api"),
        ("hooks", "-", "-", "/e/"),
    ]);
    for (path, name) in [
        ("/", "web"),
        ("/apix", "web"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/a/b/c/d/e", "api"),
        ("/console", "web"),
        ("/console/api/setup", "console"),
        ("/console/apis", "web"),
        ("/e", "web"),
        ("/e/", "hooks"),
        ("/e/x/y", "hooks"),
        ("/explore", "web"),
    ] {
        assert_eq!(found(&table, &Method::GET, "any", path), name, "{path}");
    }
}

#[test]
fn hosts_and_methods_come_before_any_and_fall_back_to_shorter_prefixes() {
    let table = table(&[
        ("all", "-", "-", "/"),
        ("below", "*.example.com", "-", "/"),
        ("one", "a.example.com", "-", "/"),
        ("reads", "-", "GET,HEAD", "/data"),
        ("writes", "-", "POST", "/data"),
    ]);
    for (method, host, path, name) in [
        (Method::GET, "other", "/", "all"),
        (Method::GET, "example.com", "/", "all"),
        (Method::GET, "b.example.com", "/", "below"),
        (Method::GET, "a.example.com", "/x", "one"),
        (Method::GET, "other", "/data/1", "reads"),
        (Method::POST, "other", "/data", "writes"),
        (Method::DELETE, "other", "/data", "all"),
    ] {
        assert_eq!(found(&table, &method, host, path), name, "{method} {host}{path}");
    }
}

#[test]
fn what_no_route_takes_goes_nowhere() {
    let table = table(&[("api", "-", "-", "/api")]);
    assert_eq!(found(&table, &Method::GET, "any", "/"), "-");
    assert_eq!(found(&table, &Method::GET, "any", "*"), "-");
}

#[test]
fn so_many_may_wait_and_one_that_leaves_makes_room() {
    let table = table(&[("web", "-", "-", "/")]);
    let service = &table.find(&Method::GET, None, "/").unwrap().service;
    let mut waiting: Vec<_> = std::iter::from_fn(|| service.wait()).collect();
    assert_eq!(waiting.len(), super::MAX_WAITING);
    waiting.pop();
    assert!(service.wait().is_some());
}
