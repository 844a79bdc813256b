//! What `check` tells of changes since an earlier version.

use crate::config::{Diagnostics, Environment, Severity, parse};

fn changes(text: &str) -> Diagnostics {
    parse("gateway.yaml", text, &Environment::default()).unwrap().changes
}

/// A file of today, and what is written into it.
fn with(app: &str, top: &str) -> Diagnostics {
    changes(&format!(
        "apps:\n  shop:\n    user_tokens: [user-token]\n    instances:\n      - {{ name: a, host: h, token: k, \
         max_concurrent: 10 }}\n{app}{top}"
    ))
}

#[test]
fn a_file_of_today_has_nothing_to_know() {
    let keys = "keys: [{ name: a, secret: secret-of-a, impersonate: false }, { name: b, anonymous: true }]\n";
    for top in ["", keys, "limits: { max_body: 16MiB }\n", "admin: { listen: 127.0.0.1:0 }\n"] {
        assert!(with("", top).is_empty(), "{}", with("", top));
    }
}

#[test]
fn keys_that_named_any_user_are_named_once() {
    let top = "keys:\n  - { name: ka, secret: secret-of-a }\n  - { name: kb, secret: secret-of-b, impersonate: true }\n  \
               - { name: kc, secret: secret-of-c }\n";
    let found = with("", top);
    assert_eq!(found.findings().len(), 1, "{found}");
    assert_eq!(found.findings()[0].severity, Severity::Warning);
    let said = found.to_string();
    assert!(said.starts_with("gateway.yaml:7:") && said.ends_with(": `ka`, `kc`"), "{said}");
    assert!(!said.contains("secret-of"), "{said}");
    assert_eq!(found.warnings().count(), 1);
}

#[test]
fn what_an_earlier_version_did_otherwise_is_told_where_it_is_written() {
    let jwt =
        "    ai: { user_jwt: { header: X-Jwt, secret: \"0123456789abcdef0123456789abcdef\" } }\n";
    for (app, top, line, word) in [
        ("", "fail_statuses: [502]\n", 6, "now for the app that got them"),
        ("    fail_statuses: [502]\n", "", 6, "now for the app that got them"),
        (jwt, "", 6, "a valid one is 401"),
        ("", "trusted_proxies: [10.0.0.1]\n", 6, "`Forwarded`"),
        ("", "access_log: { path: /a.log }\n", 6, "0640"),
        ("", "conversations: { max_age: 1d }\n", 6, "now it gets 403"),
        ("", "admin: { listen: 127.0.0.1:1, allow: [10.0.0.1] }\n", 6, "closed at once"),
        ("", "admin: { listen: 0.0.0.0:1 }\n", 6, "421"),
        ("", "limits: { max_body: 64MiB }\nkeys: [{ name: a, anonymous: true }]\n", 6, "32 MiB"),
    ] {
        let found = with(app, top);
        let place = found.findings().first().and_then(|one| one.at.as_ref());
        assert_eq!(place.map(|place| place.line), Some(line), "{top}{app}: {found}");
        assert!(found.to_string().contains(word), "{top}{app}: {found}");
        assert_eq!((found.findings().len(), found.warnings().count()), (1, 0), "{found}");
    }
}

#[test]
fn slots_that_nobody_has_written_are_told_once() {
    let text = "apps:\n  shop:\n    user_tokens: [user-token]\n    instances:\n      \
                - { name: a, host: h, token: k, max_concurrent: 4 }\n      \
                - { name: b, host: i, token: k }\n      - { name: c, host: j, token: k }\n";
    let found = changes(text).to_string();
    assert!(found.starts_with("gateway.yaml:6:") && found.contains("note: 0.1 gave"), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
}
