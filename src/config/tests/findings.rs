//! Every kind of finding, as an operator sees it.

use crate::config::{Environment, Severity, Style, parse};

/// The rendered findings of a text, errors or warnings.
pub(super) fn shown(text: &str) -> String {
    let env = Environment {
        vars: [("SET".into(), "hidden".into())].into(),
        base: "/nowhere".into(),
        ..Environment::default()
    };
    match parse("gateway.yaml", text, &env) {
        Ok(loaded) => loaded.warnings.render(Style::Plain),
        Err(faults) => faults.render(Style::Plain),
    }
}

/// The findings in one line each.
pub(super) fn lines(text: &str) -> String {
    match parse("gateway.yaml", text, &Environment::default()) {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(faults) => faults.to_string(),
    }
}

/// A good configuration with `extra` at the top.
pub(super) fn with(extra: &str) -> String {
    format!(
        "{extra}\napps:\n  a:\n    user_tokens: [user-1]\n    instances: [{{ name: one, host: h, token: key-1 }}]\n"
    )
}

/// A good configuration but for one instance.
pub(super) fn instance(written: &str) -> String {
    format!("apps:\n  a:\n    user_tokens: [user-1]\n    instances:\n      - {written}\n")
}

#[test]
fn a_key_of_another_gateway() {
    let text = instance("{ name: d, host: h, token: k-1, max_conns: 3 }");
    insta::assert_snapshot!(shown(&text), @"
    error: unknown key `max_conns`
     --> gateway.yaml:5:41
      |
    5 |       - { name: d, host: h, token: ***, max_conns: *** }
      |                                         ^^^^^^^^^
      |
      = hint: did you mean `max_concurrent`?
    ");
    for (written, meant) in
        [("backend", "instances"), ("servers", "instances"), ("upstream", "instances")]
    {
        let text = text.replace("instances", written).replace("max_conns: 3", "");
        let shown = shown(&text);
        assert!(shown.contains(&format!("did you mean `{meant}`?")), "{shown}");
        assert_eq!(shown.matches("error:").count(), 1, "{shown}");
    }
    for written in ["tokens", "user_token"] {
        let shown = shown(&with("").replace("user_tokens", written));
        assert!(shown.contains("did you mean `user_tokens`?"), "{shown}");
        assert_eq!(shown.matches("error:").count(), 1, "{shown}");
    }
}

#[test]
fn a_misspelt_key() {
    insta::assert_snapshot!(shown(&with("lisen: 127.0.0.1:1")), @"
    error: unknown key `lisen`
     --> gateway.yaml:1:1
      |
    1 | lisen: ***
      | ^^^^^
      |
      = hint: did you mean `listen`?
    ");
}

#[test]
fn a_key_nobody_knows() {
    insta::assert_snapshot!(shown(&with("colour: red")), @"
    error: unknown key `colour`
     --> gateway.yaml:1:1
      |
    1 | colour: ***
      | ^^^^^^
      |
      = hint: the keys here are `listen`, `tls`, `client_certificates`, `admin`, `workers`, `pin_cpus`, `engine`, `access_log`, `error_log`, `trusted_proxies`, `last_resort`, `instance_header`, `spool_dir`, `method`, `max_load`, `consistent_hash`, `probe`, `fail_statuses`, `max_ejected_share`, `slow_start`, `retry`, `on_disconnect`, `on_owner_down`, `storage`, `one_turn_at_a_time`, `ai`, `timeouts`, `limits`, `owners`, `store`, `keys`, `conversations`, `services`, `ingress`, `applications`, `apps`; what begins with `x-` is ignored
    ");
}

#[test]
fn a_misspelt_key_within_a_map() {
    insta::assert_snapshot!(shown(&with("access_log: { path: /x, fromat: json }")), @"
    error: unknown key `fromat`
     --> gateway.yaml:1:25
      |
    1 | access_log: { path: /x, fromat: *** }
      |                         ^^^^^^
      |
      = hint: did you mean `format`?
    ");
}

#[test]
fn a_key_that_is_missing() {
    insta::assert_snapshot!(shown(&with("access_log: { format: json }")), @"
    error: `path` is missing
     --> gateway.yaml:1:13
      |
    1 | access_log: { format: json }
      |             ^^^^^^^^^^^^^^^^
    ");
}

#[test]
fn a_port_alone_is_no_listener() {
    insta::assert_snapshot!(shown(&with("listen: :8080")), @"
    error: `listen` must be an IP address with a port, such as `127.0.0.1:8080`
     --> gateway.yaml:1:9
      |
    1 | listen: :8080
      |         ^^^^^
      |
      = hint: write `127.0.0.1:8080` for this machine alone, `0.0.0.0:8080` for all
    ");
}

#[test]
fn numbers_out_of_range() {
    let text = "workers: 0\nworkers: 1\nretry: { attempts: 11 }\nlimits: { headers: many, \
                header_bytes: 4KiB, uri_bytes: 64KiB, max_connections: 0 }\nconsistent_hash: { \
                virtual_nodes: 10001 }";
    let one = "{ name: d, host: h, token: k-1, weight: 0, port: 65536, max_fails: 0, \
               fail_timeout: 0, max_concurrent: 0, queue: { size: -1, timeout: 0s, run_timeout: 0s }, max_runs: 0, web_url: \"https://h/?x\", files_url: nope }";
    let text = format!("{text}\n{}", instance(one));
    insta::assert_snapshot!(lines(&text), @"
    gateway.yaml:1:10: error: `workers` must be a whole number from 1 to 1024
    gateway.yaml:2:1: error: `workers` is written twice
    gateway.yaml:3:20: error: `attempts` must be a whole number from 0 to 10
    gateway.yaml:4:20: error: `headers` must be a whole number from 16 to 4096
    gateway.yaml:4:40: error: `header_bytes` must be a size from 8KiB to 1MiB
    gateway.yaml:4:57: error: `uri_bytes` must be a size from 256 to 65534
    gateway.yaml:4:81: error: `max_connections` must be a whole number from 1 to 10000000
    gateway.yaml:5:35: error: `virtual_nodes` must be a whole number from 1 to 10000
    gateway.yaml:10:49: error: `weight` must be a whole number from 1 to 10000
    gateway.yaml:10:58: error: `port` must be a whole number from 1 to 65535
    gateway.yaml:10:76: error: `max_fails` must be a whole number from 1 to 10000
    gateway.yaml:10:93: error: `fail_timeout` must be a duration from `1ms` to `168h`
    gateway.yaml:10:112: error: `max_concurrent` must be a whole number from 1 to 1000000
    gateway.yaml:10:130: error: `size` must be a whole number from 0 to 1000000
    gateway.yaml:10:143: error: `timeout` must be a duration from `1ms` to `168h`
    gateway.yaml:10:160: error: `run_timeout` must be a duration from `1ms` to `168h`
    gateway.yaml:10:176: error: `max_runs` must be a whole number from 1 to 1000000
    gateway.yaml:10:188: error: `web_url` must be an `http` or `https` URL without a query
    gateway.yaml:10:215: error: `files_url` must be an `http` or `https` URL without a query
    ");
}

#[test]
fn idle_connections_that_dify_closes_first() {
    insta::assert_snapshot!(shown(&with("timeouts: { upstream_idle: 2s }")), @"
    warning: Dify closes idle connections after 2 s, so some requests will be sent on a connection that is being closed
     --> gateway.yaml:1:28
      |
    1 | timeouts: { upstream_idle: 2s }
      |                            ^^
      |
      = hint: keep `upstream_idle` below `2s`, or raise `keepalive` of Dify's gunicorn above it
    ");
    assert_eq!(lines(&with("timeouts: { upstream_idle: 1999ms }")), "");
}

#[test]
fn values_of_a_wrong_kind() {
    let text = "pin_cpus: maybe\nlast_resort: [try]\naccess_log: xml\nadmin: yes\n\
                trusted_proxies: 10.0.0.0/8\nspool_dir: { a: b }\n\
                consistent_hash: { hash_algorithm: md4 }\ntimeouts: { connect: fast }\n\
                limits: { max_body: 15 MiBi }\n\
                apps:\n  a: [x]\n  b:\n    user_tokens: user-1\n    instances: { name: x }\n";
    insta::assert_snapshot!(lines(text), @"
    gateway.yaml:1:11: error: `pin_cpus` must be `true` or `false`
    gateway.yaml:2:14: error: `last_resort` must be `try` or `refuse`
    gateway.yaml:3:13: error: `access_log` must be `json`, `combined`, `off` or a map of `path` and `format`
    gateway.yaml:4:8: error: `admin` must be a map of keys
    gateway.yaml:5:18: error: `trusted_proxies` must be a list
    gateway.yaml:6:12: error: `spool_dir` must be a single value
    gateway.yaml:7:36: error: `hash_algorithm` must be `sha256` or `xxh3` or `sha1` or `md5` or `crc32`
    gateway.yaml:8:22: error: `connect` must be a duration such as `30s`, `500ms`, `2m`, `1h` or `1m30s`
    gateway.yaml:9:21: error: `max_body` must be a size such as `256KiB`, `15MiB`, `10MB` or a number of bytes
    gateway.yaml:11:6: error: `a` must be a map of keys
    gateway.yaml:13:18: error: `user_tokens` must be a list
    gateway.yaml:14:16: error: `instances` must be a list
    ");
}

#[test]
fn a_list_that_is_none_gets_a_hint() {
    insta::assert_snapshot!(shown(&with("trusted_proxies: 10.0.0.0/8")), @"
    error: `trusted_proxies` must be a list
     --> gateway.yaml:1:18
      |
    1 | trusted_proxies: 10.0.0.0/8
      |                  ^^^^^^^^^^
      |
      = hint: write `- ` in front of each item, or `[…]` around them
    ");
}

#[test]
fn no_apps() {
    insta::assert_snapshot!(shown("listen: 127.0.0.1:8080\n"), @"
    error: there are no `apps`
     --> gateway.yaml:1:1
      |
    1 | listen: 127.0.0.1:8080
      | ^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: write at least one app with `user_tokens` and `instances`
    ");
    assert_eq!(lines(""), "gateway.yaml:1:1: error: there are no `apps`");
    assert_eq!(lines("apps: {}"), "gateway.yaml:1:1: error: there are no `apps`");
}

#[test]
fn a_memory_body_beyond_the_largest_body() {
    insta::assert_snapshot!(shown(&with("limits: { memory_body: 101MiB }")), @"
    error: `memory_body` is larger than `max_body`
     --> gateway.yaml:1:24
      |
    1 | limits: { memory_body: 101MiB }
      |                        ^^^^^^
      |
      = hint: `memory_body` is the part of a body that is kept in memory
    ");
    insta::assert_snapshot!(shown(&with("limits: { max_body: 1KiB }")), @"
    error: `memory_body` is larger than `max_body`
     --> gateway.yaml:1:21
      |
    1 | limits: { max_body: 1KiB }
      |                     ^^^^
      |
      = hint: write a `memory_body` too; without one it is 256KiB
    ");
}

#[test]
fn listeners_on_one_port() {
    insta::assert_snapshot!(
        shown(&with("listen: 0.0.0.0:8080\nadmin: { listen: 127.0.0.1:8080 }")), @"
    error: `listen` and `admin.listen` use the same port
     --> gateway.yaml:2:18
      |
    2 | admin: { listen: 127.0.0.1:8080 }
      |                  ^^^^^^^^^^^^^^
      |
     ::: gateway.yaml:1:9
      |
    1 | listen: 0.0.0.0:8080
      |         ------------ taken here
      |
      = hint: give one of them another port
    ");
    insta::assert_snapshot!(shown(&with("listen: 127.0.0.1:9090")), @"
    error: `listen` and `admin.listen` use the same port
     --> gateway.yaml:1:9
      |
    1 | listen: 127.0.0.1:9090
      |         ^^^^^^^^^^^^^^
      |
      = hint: give one of them another port
    ");
}

#[test]
fn an_admin_that_nobody_can_reach() {
    insta::assert_snapshot!(shown(&with("admin: { listen: 0.0.0.0:9090 }")), @"
    warning: `admin` listens beyond this machine, but with neither `token` nor `allow` it answers only loopback clients
     --> gateway.yaml:1:18
      |
    1 | admin: { listen: 0.0.0.0:9090 }
      |                  ^^^^^^^^^^^^
      |
      = hint: add `allow: [10.0.0.0/8]` or a `token`, or listen on `127.0.0.1`
    ");
    assert_eq!(lines(&with("admin: { listen: 0.0.0.0:9090, token: abc }")), "");
    assert_eq!(lines(&with("admin: { listen: 0.0.0.0:9090, allow: [10.0.0.0/8] }")), "");
}

#[test]
fn all_findings_come_at_once_and_in_order() {
    let text = "\
listen: localhost:80
workers: ${NONE}
colour: red
timeouts: { connect: soon, idle: never }
apps:
  a:
    user_tokens: [user-1, user-1]
    instances:
      - { name: one, token: k-1 }
      - { name: one, host: h, token: k-2, wieght: 2, port: x }
  b: {}
";
    insta::assert_snapshot!(lines(text), @"
    gateway.yaml:1:9: error: `listen` must be an IP address with a port, such as `127.0.0.1:8080`
    gateway.yaml:2:10: error: the environment variable `NONE` is not set
    gateway.yaml:3:1: error: unknown key `colour`
    gateway.yaml:4:22: error: `connect` must be a duration such as `30s`, `500ms`, `2m`, `1h` or `1m30s`
    gateway.yaml:4:34: error: `idle` must be a duration such as `30s`, `500ms`, `2m`, `1h` or `1m30s`
    gateway.yaml:7:27: error: app `a` has this user token twice
    gateway.yaml:9:9: error: instance `one` of app `a` needs `host` or `url`
    gateway.yaml:10:17: error: app `a` has two instances with this name
    gateway.yaml:10:43: error: unknown key `wieght`
    gateway.yaml:10:60: error: `port` must be a whole number from 1 to 65535
    gateway.yaml:11:3: error: app `b` has no `user_tokens`
    gateway.yaml:11:3: error: app `b` has no `instances`
    ");
}

#[test]
fn findings_are_readable_by_programs() {
    let faults = parse("gateway.yaml", "workers: 0\nworkers: 1", &Environment::default());
    let faults = faults.unwrap_err();
    assert_eq!(faults.findings().len(), 3);
    assert_eq!(faults.findings()[0].severity, Severity::Error);
    assert_eq!(faults.first_place().as_deref(), Some("gateway.yaml:1:1"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&faults.to_json()).unwrap(), @r#"
    [
      {
        "file": "gateway.yaml",
        "line": 1,
        "column": 1,
        "severity": "error",
        "message": "there are no `apps`",
        "hint": "write at least one app with `user_tokens` and `instances`"
      },
      {
        "file": "gateway.yaml",
        "line": 1,
        "column": 10,
        "severity": "error",
        "message": "`workers` must be a whole number from 1 to 1024",
        "hint": null
      },
      {
        "file": "gateway.yaml",
        "line": 2,
        "column": 1,
        "severity": "error",
        "message": "`workers` is written twice",
        "hint": "remove one of them",
        "related": {
          "line": 1,
          "column": 1,
          "label": "first written here"
        }
      }
    ]
    "#);
}

#[test]
fn colour_adds_escapes_and_changes_nothing_else() {
    let faults = parse("gateway.yaml", "lisen: 1", &Environment::default()).unwrap_err();
    let colour = faults.render(Style::Colour);
    assert!(colour.contains('\u{1b}'));
    let plain = anstream::adapter::strip_str(&colour).to_string();
    assert_eq!(plain, faults.render(Style::Plain));
}

#[test]
fn columns_count_characters_of_the_file_and_not_of_what_is_shown() {
    let text = instance("{ token: key-ääää-very-long-1, name: d, host: h, weight: 0 }");
    let column = text.lines().last().unwrap().chars().take_while(|c| *c != '0').count() + 1;
    let shown = shown(&text);
    let line = text.lines().count();
    assert!(shown.contains(&format!("gateway.yaml:{line}:{column}\n")), "{column} {shown}");
}

#[test]
fn shares_and_policies_of_a_wrong_kind() {
    let text = "retry: { budget: 20, statuses: [404], non_idempotent: sometimes, resume: 30s }\n\
                on_owner_down: wait\non_disconnect: abort\nstorage: separate\n";
    insta::assert_snapshot!(lines(&with(text)), @"
    gateway.yaml:1:18: error: `budget` must be a share from `0%` to `100%`, with at most one decimal
    gateway.yaml:1:33: error: each item of `statuses` must be a status from 500 to 599
    gateway.yaml:1:55: error: `non_idempotent` must be `true` or `false`
    gateway.yaml:1:74: error: `resume` must be `true` or `false`
    gateway.yaml:2:16: error: `on_owner_down` must be `fail` or `queue` or `restart`
    gateway.yaml:3:16: error: `on_disconnect` must be `stop` or `drain` or `close`
    gateway.yaml:4:10: error: `storage` must be `independent` or `shared`
    ");
}

#[test]
fn an_engine_that_is_no_longer_chosen() {
    insta::assert_snapshot!(shown(&with("engine: hyper")), @"
    warning: `engine` has no effect: there is one engine for HTTP/1.1, the gateway's own
     --> gateway.yaml:1:1
      |
    1 | engine: hyper
      | ^^^^^^
      |
      = hint: remove it; the next release refuses it
    ");
    assert!(lines(&with("engine: own")).contains("`engine` has no effect"));
    assert_eq!(lines(&with("workers: 1")), "");
}
