//! What is made of a configuration whose variables and secrets are not there.

use crate::config::{Environment, Loaded, Missing, parse};

const APP: &str = "apps:\n  shop:\n    user_tokens: [\"${USER_TOKEN}\"]\n    instances:\n      \
    - { name: a, host: h, token: \"file:nowhere/key\", max_concurrent: 10 }\n";

fn read(text: &str, missing: Missing) -> Result<Loaded, String> {
    let env = Environment { base: "/nowhere".into(), missing, ..Environment::default() };
    parse("gateway.yaml", text, &env).map_err(|findings| findings.to_string())
}

#[test]
fn secrets_alone_may_be_missing_for_a_plan() {
    let loaded = read(APP, Missing::Secrets).unwrap();
    let names: Vec<_> = loaded.unset.names.iter().map(String::as_str).collect();
    assert_eq!(names, ["USER_TOKEN", "file:nowhere/key"]);
    assert_eq!(loaded.unset.secrets.len(), 2);
    let said = read(&format!("workers: ${{MANY}}\n{APP}"), Missing::Secrets).unwrap_err();
    assert!(said.contains("gateway.yaml:1:10: error: the environment variable `MANY`"), "{said}");
    assert!(!said.contains("USER_TOKEN"), "{said}");
    let said = read(APP, Missing::Refused).unwrap_err();
    assert!(said.contains("`USER_TOKEN`") && said.contains("no such file"), "{said}");
}

#[test]
fn what_is_not_there_is_not_wrong_and_the_rest_is_checked() {
    for line in [
        "workers: ${X}",
        "pin_cpus: ${X}",
        "listen: \"${X}\"",
        "listen: 0.0.0.0:${X}",
        "method: ${X}",
        "timeouts: { idle: ${X} }",
        "trusted_proxies: [\"${X}\"]",
        "store: { redis: \"${X}\" }",
        "access_log: ${X}",
        "limits: ${X}",
        "keys: [{ name: \"${X}\", secret: \"${X}\", apps: [\"${X}\"], impersonate: false }]",
        "probe: { headers: { X-A: \"${X}\" }, expect: ${X} }",
        "ai: { query_input: \"${X}\" }",
    ] {
        let loaded = read(&format!("{line}\n{APP}"), Missing::Allowed);
        let loaded = loaded.unwrap_or_else(|findings| panic!("{line}: {findings}"));
        assert!(loaded.unset.names.contains("X"), "{line}");
        assert!(loaded.warnings.is_empty(), "{line}: {}", loaded.warnings);
        let said = read(&format!("{line}\nworkres: 1\n{APP}"), Missing::Allowed).unwrap_err();
        assert!(said.contains("`workres`") && said.lines().count() == 1, "{line}: {said}");
    }
    for (known, unknown) in [
        ("host: h", "host: \"${X}\""),
        ("host: h", "url: \"${X}\""),
        ("host: h", "url: \"http://${X}:5001\""),
        ("host: h", "host: h, port: ${X}"),
        ("name: a", "name: \"${X}\""),
        ("token: \"file:nowhere/key\"", "token: \"${X}\""),
    ] {
        let loaded = read(&APP.replace(known, unknown), Missing::Allowed);
        let loaded = loaded.unwrap_or_else(|findings| panic!("{unknown}: {findings}"));
        assert!(loaded.unset.names.contains("X"), "{unknown}");
    }
}
