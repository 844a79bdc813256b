//! Several addresses, with TLS and without, and the error log's file.

use std::path::Path;

use super::findings::{lines, shown, with};
use crate::config::{Config, Environment, ErrorLog, flatten, parse};

const CERTIFICATE: &str = "tls: [{ cert: a.pem, key: a.key }]\n";

fn config(top: &str) -> Config {
    let environment = Environment { base: "/etc/difygate".into(), ..Environment::default() };
    parse("gateway.yaml", &with(top), &environment).unwrap().config
}

#[test]
fn one_address_or_several_each_with_tls_or_without() {
    for (written, read) in [
        ("", "127.0.0.1:8080"),
        ("listen: 0.0.0.0:82", "0.0.0.0:82"),
        ("listen: [0.0.0.0:82, \"[::1]:82\"]", "0.0.0.0:82, [::1]:82"),
        ("listen: { address: 0.0.0.0:82, tls: false }", "0.0.0.0:82 without TLS"),
        (
            "listen: [0.0.0.0:82, { address: 0.0.0.0:443, tls: true }, { address: 0.0.0.0:80 }]",
            "0.0.0.0:82, 0.0.0.0:443 with TLS, 0.0.0.0:80",
        ),
    ] {
        let config = config(&format!("{CERTIFICATE}{written}"));
        assert_eq!(config.listen.to_string(), read, "{written}");
    }
    assert_eq!(config("listen: [0.0.0.0:82, 0.0.0.0:83]").listen.first().port(), 82);
}

#[test]
fn what_cannot_be_is_placed() {
    for (written, said) in [
        ("listen: []", "1:9: error: `listen` has no address"),
        ("listen: 82", "1:9: error: `listen` must be an IP address with a port"),
        ("listen: [0.0.0.0:82, no]", "1:22: error: each item of `listen` must be an IP address"),
        ("listen: [{ address: 1.2.3.4:1, ssl: true }]", "error: unknown key `ssl`"),
        ("listen: [{ tls: false }]", "error: `address` is missing"),
        (
            "listen: [0.0.0.0:82, 127.0.0.1:82]",
            "1:22: error: another address of `listen` uses the same",
        ),
        (
            "listen: [0.0.0.0:82, \"[::]:82\"]",
            "1:22: error: another address of `listen` uses the same",
        ),
        (
            "listen: [0.0.0.0:82, 127.0.0.1:9090]",
            "1:22: error: `listen` and `admin.listen` use the same",
        ),
        (
            "listen: [{ address: 0.0.0.0:443, tls: true }]",
            "1:10: error: `listen` has an address with TLS",
        ),
        (
            "listen: { address: 0.0.0.0:82, tls: false }\ntls: [{ cert: a, key: b }]",
            "2:6: warning: `tls` has no effect: no address of `listen` speaks TLS",
        ),
        ("error_log: stdout", "1:12: error: `error_log` must be `stderr` or a map of `path`"),
    ] {
        let found = lines(&with(written));
        assert!(found.contains(said) && found.lines().count() == 1, "{written}: {found}");
    }
}

#[test]
fn addresses_are_shown_where_something_is_wrong_with_them() {
    let shown = shown(&with("listen: [0.0.0.0:82, \"[::]:82\", app-secret]"));
    assert!(shown.contains("listen: [0.0.0.0:82, \"[::]:82\", ***]"), "{shown}");
}

#[test]
fn a_plan_sees_each_change_of_them() {
    let listen = |written: &str| {
        let config = config(&format!("{CERTIFICATE}{written}"));
        flatten(&config, &|_| None).settings.get("listen").cloned().unwrap()
    };
    let one = listen("listen: 0.0.0.0:82");
    assert_eq!(one, listen("listen: [0.0.0.0:82]"), "another way to write the same");
    let all = [
        one,
        listen("listen: [{ address: 0.0.0.0:82, tls: true }]"),
        listen("listen: [{ address: 0.0.0.0:82, tls: true }, 0.0.0.0:83]"),
    ];
    assert!(all[0] != all[1] && all[1] != all[2], "{all:?}");
}

#[test]
fn the_error_logs_file_is_beside_the_configuration() {
    assert_eq!(config("").error_log, ErrorLog::Stderr);
    assert_eq!(config("error_log: stderr").error_log, ErrorLog::Stderr);
    let ErrorLog::File(path) = config("error_log: { path: logs/error.log }").error_log else {
        panic!("no file");
    };
    assert_eq!(path, Path::new("/etc/difygate/logs/error.log"));
}
