//! Probes and the rest of health: what is inherited, and what is refused.

use std::time::Duration;

use super::findings::{instance, lines, shown, with};
use crate::config::{Config, Environment, Probe, ProbeMethod, parse};
use crate::model::{AppName, ProbeExpect};

fn good(text: &str) -> Config {
    let loaded = parse("gateway.yaml", text, &Environment::default()).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

#[test]
fn nothing_written_is_the_default() {
    let config = good(&with(""));
    let app = &config.apps[&AppName::from("a")];
    assert_eq!(*app.instances[0].probe, Probe::default());
    assert_eq!(app.fail_statuses, [500, 502, 503, 504]);
    assert_eq!(app.max_ejected_percent, 100);
    assert_eq!(app.instances[0].slow_start, Duration::ZERO);
    assert!(!app.instances[0].drain);
}

#[test]
fn an_instance_takes_from_its_app_and_the_app_from_the_top() {
    let config = good(
        "
probe: { path: /health, interval: 5s, rise: 3, expect: 200, headers: { X-Top: top } }
fail_statuses: 503
max_ejected_share: 50%
slow_start: 1m
apps:
  a:
    user_tokens: [u]
    probe: { interval: 2s, expect: [200, 301-302], headers: { x-app: app, Authorization: Bearer q } }
    fail_statuses: []
    instances:
      - { name: one, host: h, token: k, drain: true, slow_start: 0s,
          probe: { method: HEAD, with_key: true, fast_interval: 1s, timeout: 3s, fall: 7 } }
      - { name: two, host: i, token: k, probe: { enabled: false, expect_body: Dify } }
  b: { user_tokens: [v], max_ejected_share: 100%, instances: [{ name: one, host: h, token: k }] }
",
    );
    let (a, b) = (&config.apps[&AppName::from("a")], &config.apps[&AppName::from("b")]);
    assert!(a.fail_statuses.is_empty());
    assert_eq!((&b.fail_statuses[..], a.max_ejected_percent), (&[503][..], 50));
    assert_eq!(b.max_ejected_percent, 100);
    let [one, two] = &a.instances[..] else { panic!("two instances") };
    assert!(one.drain && !two.drain);
    assert_eq!((one.slow_start, two.slow_start), (Duration::ZERO, Duration::from_secs(60)));
    let probe = &one.probe;
    assert_eq!((probe.path.as_str(), probe.method), ("/health", ProbeMethod::Head));
    assert_eq!(probe.headers.keys().collect::<Vec<_>>(), ["x-app", "Authorization"]);
    assert_eq!(probe.headers["Authorization"].expose(), "Bearer q");
    assert!(probe.with_key && probe.enabled);
    assert_eq!(probe.expect, ProbeExpect::Statuses(vec![200..=200, 301..=302]));
    assert_eq!((probe.rise, probe.fall), (3, 7));
    assert_eq!(probe.interval, Duration::from_secs(2));
    assert_eq!(probe.fast_interval, Duration::from_secs(1));
    assert_eq!(probe.timeout, Duration::from_secs(3));
    assert!(!two.probe.enabled);
    assert_eq!(two.probe.expect_body.as_deref(), Some("Dify"));
    assert_eq!(b.instances[0].probe.expect, ProbeExpect::Statuses(vec![200..=200]));
    assert_eq!(b.instances[0].probe.headers.keys().collect::<Vec<_>>(), ["X-Top"]);
}

#[test]
fn what_is_expected_follows_from_the_path_unless_it_is_written() {
    let default = || ProbeExpect::Statuses(vec![200..=399]);
    let written = || ProbeExpect::Statuses(vec![200..=404]);
    for (top, own, expected) in [
        ("", "", ProbeExpect::Dify),
        ("", "path: /v1/info", default()),
        ("path: /health", "", default()),
        ("path: /health", "path: /v1/", ProbeExpect::Dify),
        ("path: /health, expect: dify", "", ProbeExpect::Dify),
        ("expect: 200-404", "", written()),
        ("expect: 200-404", "path: /v1/info", written()),
        ("path: /health, expect: 200-404", "expect: dify", ProbeExpect::Dify),
    ] {
        let config = good(&format!(
            "probe: {{ {top} }}\napps: {{ a: {{ user_tokens: [u], instances: [{{ name: one, host: h, \
             token: k, probe: {{ {own} }} }}] }} }}"
        ));
        let probe = &config.apps[&AppName::from("a")].instances[0].probe;
        assert_eq!(probe.expect, expected, "{top} / {own}");
    }
}

#[test]
fn statuses_that_newer_versions_do_not_answer_are_warned_of() {
    let text = "probe: { expect: 200 }\napps: { a: { user_tokens: [u], instances: [{ name: one, \
                host: h, token: k }] } }";
    let loaded = parse("gateway.yaml", text, &Environment::default()).unwrap();
    let warnings = loaded.warnings.to_string();
    assert!(warnings.contains("Dify 1.8 and later returns 404 at `/v1/`"), "{warnings}");
}

#[test]
fn a_4xx_cannot_count_against_an_instance() {
    insta::assert_snapshot!(shown(&with("fail_statuses: [500, 429]")), @"
    error: each item of `fail_statuses` must be a status from 500 to 599
     --> gateway.yaml:1:22
      |
    1 | fail_statuses: [500, 429]
      |                      ^^^
      |
      = hint: others are the client's or a model provider's doing, and say nothing about the instance
    ");
}

#[test]
fn what_cannot_be_read_is_said() {
    for (written, message) in [
        ("max_ejected_share: 50", "must be a share from `1%` to `100%`"),
        ("max_ejected_share: 0%", "must be a share from `1%` to `100%`"),
        ("slow_start: 25h", "at most `24h`"),
        ("probe: { path: v1 }", "must be a path such as `/v1/`"),
        ("probe: { path: '/a b' }", "must be a path such as `/v1/`"),
        ("probe: { method: POST }", "`GET` or `HEAD` or `OPTIONS`"),
        ("probe: { expect: 399-200 }", "must be `dify`, a status such as `200` or a range"),
        ("probe: { expect: [20] }", "must be `dify`, a status such as `200` or a range"),
        ("probe: { expect: [dify, 200] }", "must be `dify` alone, or statuses"),
        ("probe: { rise: 0 }", "must be a whole number from 1 to 100"),
        ("probe: { headers: { 'a b': c } }", "this is not the name of a header"),
        ("probe: { headers: { Connection: close } }", "it belongs to the connection"),
        ("probe: { method: HEAD, expect_body: x }", "whose response has no body for `expect_body`"),
        ("health_check: { path: /v1/ }", "unknown key `health_check`"),
    ] {
        let lines = lines(&with(written));
        assert!(lines.contains(message), "{written}: {lines}");
    }
}

#[test]
fn no_header_of_a_probe_is_shown() {
    for headers in [
        "{ X-Api-Key: hush, host: hush, path: hush, x-lower: hush }",
        "{ name: hush, Connection: hush }",
    ] {
        let text = instance(&format!(
            "{{ name: d, host: h, token: k, probe: {{ rise: 0, headers: {headers} }} }}"
        ));
        let shown = shown(&text);
        assert!(shown.contains("rise: 0") && !shown.contains("hush"), "{shown}");
    }
    for headers in ["hush", "X-Key=hush", "'X-Key: hush'"] {
        let text = with(&format!("probe: {{ rise: 0, headers: {headers} }}"));
        let shown = shown(&text);
        assert!(shown.contains("rise: 0") && !shown.contains("hush"), "{shown}");
    }
    let block = "probe:\n  headers:\n    X-Api-Key: hush\n    host: hush\n    colour\n";
    assert!(!shown(&with(block)).contains("hush"), "{}", shown(&with(block)));
    let text = with("probe: { headers: { X-Api-Key: hush } }");
    let config = good(&text);
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn slow_start_needs_a_method_that_hashes() {
    let lines = lines(&with("slow_start: 10s\nmethod: least_connections"));
    assert!(lines.contains("no app's `method` uses `slow_start`"), "{lines}");
}
