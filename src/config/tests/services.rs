//! Services: what is read, and what is wrong with it.

use crate::config::{Config, Environment, Method, Style, parse};
use crate::model::ProbeExpect;

const APPS: &str = "apps: { a: { user_tokens: [t], instances: [{ name: one, host: dify, token: key, max_concurrent: 7 }] } }";

fn read(text: &str) -> Result<Config, String> {
    let parsed = parse("x", &format!("{text}\n{APPS}"), &Environment::default());
    parsed.map(|loaded| loaded.config).map_err(|findings| findings.render(Style::Plain))
}

#[test]
fn dify_s_own_services_are_there_with_one_word() {
    let config =
        read("services: { dify: compose }\nprobe: { interval: 7s, path: /v1/info }").unwrap();
    let names: Vec<_> = config.services.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["api", "plugin_daemon", "web"]);
    let prefixes = |name: &str| {
        let routes = config.services[name].routes.iter();
        routes.map(|route| route.prefix.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        prefixes("api"),
        ["/console/api", "/api", "/v1", "/files", "/mcp", "/triggers", "/openapi", "/socket.io/"]
    );
    assert_eq!(prefixes("plugin_daemon"), ["/e/"]);
    assert!(config.services["plugin_daemon"].routes[0].dify_hook_url);
    let api = &config.services["api"].instances[0];
    assert_eq!((api.address.to_string().as_str(), api.max_concurrent), ("api:5001", 10));
    assert_eq!((api.probe.path.as_str(), &api.probe.expect), ("/v1/", &ProbeExpect::Dify));
    let web = &config.services["web"].instances[0];
    assert_eq!((web.address.to_string().as_str(), web.name.as_str()), ("web:3000", "web"));
    let below_500 = ProbeExpect::Statuses(vec![100..=499]);
    assert_eq!((web.probe.path.as_str(), &web.probe.expect), ("/", &below_500));
    assert_eq!(web.probe.interval.as_secs(), 7, "how often is inherited");
}

#[test]
fn what_is_written_stands_before_dify_s_own() {
    let config = read(
        "services:\n  dify: compose\n  api_websocket: {}\n  api: { instances: [{ url: \"http://a:1\" }, { \
         url: \"http://b:1\", max_concurrent: 3 }, { host: dify, port: 5001 }] }\n  mine: { instances: [{ \
         url: \"http://m:1\" }], routes: [{ prefix: /files }, { prefix: /api, methods: [GET] }] }",
    )
    .unwrap();
    let api = &config.services["api"];
    assert!(!api.routes.iter().any(|route| matches!(&*route.prefix, "/files" | "/socket.io/")));
    assert!(api.routes.iter().any(|route| route.prefix == "/api"), "the other is for GET alone");
    let instances = api.instances.iter();
    let instances: Vec<_> = instances.map(|one| (one.name.as_str(), one.max_concurrent)).collect();
    assert_eq!(
        instances,
        [("api-1", 10), ("api-2", 3), ("api-3", 7)],
        "7 says an app of that address"
    );
    let websocket = &config.services["api_websocket"];
    assert_eq!(
        (websocket.routes[0].prefix.as_str(), websocket.method),
        ("/socket.io/", Method::IpHash)
    );
    assert_eq!(config.services["mine"].instances[0].max_concurrent, 256);
}

const ONE: &str = "instances: [{ url: \"http://a:1\" }]";
const ROOT: &str = "routes: [{ prefix: / }]";

/// Texts, what is wrong with each, and how to mend it.
fn refused(cases: &[(String, &str, &str)]) {
    for (text, message, hint) in cases {
        let findings = read(text).expect_err(text);
        assert!(findings.contains(message) && findings.contains(hint), "{text}\n{findings}");
    }
}

#[test]
fn each_fault_of_a_service_is_said_with_how_to_mend_it() {
    let (one, root) = (ONE, ROOT);
    refused(&[
        ("services: { dify: helm }".to_owned(), "must be `compose`", ""),
        (
            "services: { web: {} }".to_owned(),
            "service `web` has no `instances`",
            "- { url: http://… }",
        ),
        (
            format!("services: {{ web: {{ {one} }} }}"),
            "service `web` has no `routes`",
            "- { prefix: /… }",
        ),
        (
            format!("services: {{ web: {{ instances: [], {root} }} }}"),
            "has no `instances`",
            "url: http",
        ),
        (
            format!("services: {{ web: {{ {one}, routes: [{{ prefix: api }}] }} }}"),
            "this is not a beginning of a path",
            "begin with `/`",
        ),
        (format!("services: {{ web: {{ {one}, routes: [{{}}] }} }}"), "`prefix`", ""),
        (
            format!("services: {{ a: {{ {one}, {root} }}, b: {{ {one}, {root} }} }}"),
            "another route has the same `prefix`, `hosts` and `methods`",
            "remove one of them",
        ),
        (
            format!(
                "services: {{ web: {{ {one}, routes: [{{ prefix: /, hosts: [\"http://a\"] }}] }} }}"
            ),
            "not a valid host name",
            "without scheme and port",
        ),
        (
            format!("services: {{ web: {{ {one}, routes: [{{ prefix: /, methods: [get] }}] }} }}"),
            "not an HTTP method",
            "in capitals",
        ),
    ]);
}

#[test]
fn each_fault_of_an_instance_is_said_with_how_to_mend_it() {
    let (one, root) = (ONE, ROOT);
    refused(&[
        (
            format!("services: {{ web: {{ instances: [{{ host: a }}], {root} }} }}"),
            "`host` needs a `port`",
            "port: 3000",
        ),
        (
            format!("services: {{ web: {{ instances: [{{ weight: 1 }}], {root} }} }}"),
            "needs `host` and `port`, or `url`",
            "port: 3000",
        ),
        (
            format!("services: {{ web: {{ {one}, {root}, method: consistent_hash }} }}"),
            "a service knows no users",
            "`ip_hash`",
        ),
        (
            format!("services: {{ web: {{ {one}, {root}, probe: {{ with_key: true }} }} }}"),
            "a service has no key",
            "`headers`",
        ),
        (
            format!(
                "services: {{ web: {{ instances: [{{ name: x, url: \"http://a:1\" }}, {{ name: x, url: \
                 \"http://b:1\" }}], {root} }} }}"
            ),
            "two instances with this name",
            "its own",
        ),
        ("services: { \"a b\": {} }".to_owned(), "not a name for a service", "1 to 64"),
        (
            "ingress: { public_url: \"https://a/b\" }".to_owned(),
            "`public_url` has a path",
            "scheme and host",
        ),
    ]);
}
