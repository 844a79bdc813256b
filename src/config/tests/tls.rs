//! Certificates in the configuration.

use std::path::Path;

use crate::config::{Environment, parse};

const APPS: &str = "apps:\n  shop:\n    user_tokens: [usertoken--shop]\n    instances:\n";

fn read(top: &str, instance: &str) -> Result<crate::config::Config, String> {
    let text = format!("{top}\n{APPS}      - {{ name: one, token: app-one, {instance} }}\n");
    let environment = Environment { base: "/etc/difygate".into(), ..Environment::default() };
    let loaded = parse("gateway.yaml", &text, &environment);
    loaded.map(|loaded| loaded.config).map_err(|findings| findings.to_string())
}

#[test]
fn paths_start_at_the_configurations_folder_and_are_watched() {
    let config = read(
        "tls: [{ cert: c/a.pem, key: /k/a.key, hosts: [A.example, \"*.b.example\"] }]\n\
         client_certificates: { ca: clients.pem }",
        "url: https://dify, tls: { ca: ca.pem }",
    )
    .unwrap();
    assert_eq!(config.tls[0].cert, Path::new("/etc/difygate/c/a.pem"));
    assert_eq!(config.tls[0].key, Path::new("/k/a.key"));
    assert_eq!(config.tls[0].hosts, ["a.example", "*.b.example"]);
    let clients = config.client_certificates.unwrap();
    assert!(clients.required && clients.ca == Path::new("/etc/difygate/clients.pem"));
    let watched = ["c/a.pem", "/k/a.key", "clients.pem", "ca.pem"];
    let watched = watched.map(|file| Path::new("/etc/difygate").join(file));
    assert_eq!(config.watched_files, watched);
}

#[test]
fn what_cannot_be_is_said() {
    let plain = "host: dify";
    for (top, instance, said) in [
        ("client_certificates: { ca: a.pem }", plain, "has no effect without `tls`"),
        ("tls: [{ cert: a.pem }]", plain, "`key`"),
        ("tls: [{ cert: a, key: b, hosts: [\"*\"] }]", plain, "not a valid server name"),
        ("tls: [{ cert: a, key: b, hosts: [10.0.0.1] }]", plain, "not a valid server name"),
        ("admin: { hosts: [\"*\"] }", plain, "not a valid host name"),
        ("admin: { hosts: [\"http://a\"] }", plain, "not a valid host name"),
        ("admin: { hosts: [\"a.example:9090\"] }", plain, "not a valid host name"),
        ("tls: [{ cert: a, key: b, hosts: [x, X] }]", plain, "another certificate has this name"),
        ("", "host: dify, tls: { ca: a }", "reached without TLS"),
        ("", "url: http://dify, tls: { sni: a }", "reached without TLS"),
        ("", "url: https://dify, tls: { insecure: true }", "unknown key `insecure`"),
    ] {
        let findings = read(top, instance).unwrap_err();
        assert!(findings.contains(said), "{top} {instance}: {findings}");
    }
}

#[test]
fn an_address_has_one_way_of_tls() {
    let two = "url: https://dify, tls: { ca: a } }\n      - { name: two, token: app-two, \
               url: https://dify, tls: { ca: b }";
    let findings = read("", two).unwrap_err();
    assert!(findings.contains("another instance with this address has another `tls`"));
}
