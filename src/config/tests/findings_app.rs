//! Findings about apps and instances, as an operator sees them.

use super::findings::{instance, lines, shown, with};

#[test]
fn an_instance_without_an_address() {
    insta::assert_snapshot!(shown(&instance("{ name: dify2, token: app-2 }")), @"
    error: instance `dify2` of app `a` needs `host` or `url`
     --> gateway.yaml:5:9
      |
    5 |       - { name: dify2, token: *** }
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: write `host: 10.0.0.2` with `port: 5001`, or `url: http://10.0.0.2:5001`
    ");
}

#[test]
fn an_instance_with_two_addresses() {
    insta::assert_snapshot!(
        shown(&instance("{ name: d, token: k-1, host: h, url: http://h }")), @"
    error: instance `d` of app `a` has both `host` and `url`
     --> gateway.yaml:5:46
      |
    5 |       - { name: d, token: ***, host: h, url: http://h }
      |                                              ^^^^^^^^
      |
      = hint: keep one of them
    ");
}

#[test]
fn an_instance_with_a_port_beside_its_url() {
    insta::assert_snapshot!(
        shown(&instance("{ name: d, token: k-1, port: 1, url: http://h }")), @"
    error: `port` cannot be used with `url`, which has a port of its own
     --> gateway.yaml:5:38
      |
    5 |       - { name: d, token: ***, port: 1, url: http://h }
      |                                      ^
      |
      = hint: write the port into `url`: `http://10.0.0.2:5001`
    ");
}

#[test]
fn an_address_in_the_clear_with_tls() {
    insta::assert_snapshot!(
        shown(&instance("{ token: k-1, host: dify, name: d, tls: { ca: /ca.pem } }")), @"
    error: `tls` has no effect: this instance is reached without TLS
     --> gateway.yaml:5:49
      |
    5 |       - { token: ***, host: dify, name: d, tls: { ca: /ca.pem } }
      |                                                 ^^^^^^^^^^^^^^^
      |
      = hint: write its address as `url: https://…`, or take `tls` out
    ");
}

#[test]
fn an_address_with_a_password() {
    insta::assert_snapshot!(
        shown(&instance("{ name: d, token: k-1, url: http://me:pass-1@dify }")), @"
    error: `url` contains a user name or a password
     --> gateway.yaml:5:37
      |
    5 |       - { name: d, token: ***, url: *** }
      |                                     ^^^
      |
      = hint: remove them: the gateway authenticates to Dify with `token`
    ");
}

#[test]
fn an_instance_with_neither_name_nor_token() {
    insta::assert_snapshot!(shown(&instance("{ host: dify }")), @"
    error: instance 1 of app `a` has no `name`
     --> gateway.yaml:5:9
      |
    5 |       - { host: dify }
      |         ^^^^^^^^^^^^^^
      |
      = hint: give it a name that stays when the address changes, such as `name: dify1`

    error: instance 1 of app `a` has no `token`
     --> gateway.yaml:5:9
      |
    5 |       - { host: dify }
      |         ^^^^^^^^^^^^^^
      |
      = hint: write the app's key in this Dify: `app-…`, or `file:/run/secrets/…`
    ");
}

#[test]
fn names_that_are_none() {
    let text = instance("{ name: a b, host: h, token: k-1 }").replace("  a:", "  \"a/b\":");
    insta::assert_snapshot!(shown(&text), @"
    error: this is not a name for an app
     --> gateway.yaml:2:3
      |
    2 |   ***:
      |   ^^^
      |
      = hint: a name has 1 to 64 of the characters `A-Z a-z 0-9 . _ -`

    error: this is not a name for an instance
     --> gateway.yaml:5:17
      |
    5 |       - { name: a ***, host: h, token: *** }
      |                 ^^^^^
      |
      = hint: a name has 1 to 64 of the characters `A-Z a-z 0-9 . _ -`
    ");
}

#[test]
fn a_name_from_the_environment_is_not_shown() {
    insta::assert_snapshot!(shown(&instance("{ name: \"${SET}\", token: k-1 }")), @r#"
    error: instance 1 of app `a` needs `host` or `url`
     --> gateway.yaml:5:9
      |
    5 |       - { name: "${SET}", token: *** }
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: write `host: 10.0.0.2` with `port: 5001`, or `url: http://10.0.0.2:5001`
    "#);
}

#[test]
fn an_app_without_tokens_and_instances() {
    insta::assert_snapshot!(shown("apps:\n  a:\n"), @"
    error: app `a` has no `user_tokens`
     --> gateway.yaml:2:3
      |
    2 |   a:
      |   ^
      |
      = hint: write `user_tokens: [usertoken-…]`: clients that send one of them may use the app

    error: app `a` has no `instances`
     --> gateway.yaml:2:3
      |
    2 |   a:
      |   ^
      |
      = hint: write `instances:` and below it `- { name: dify1, host: …, token: app-… }`
    ");
}

#[test]
fn a_user_token_twice() {
    let text = with("").replace("[user-1]", "\n      - user-1\n      - user-2\n      - user-1");
    insta::assert_snapshot!(shown(&text), @"
    error: app `a` has this user token twice
     --> gateway.yaml:7:9
      |
    7 |       - ***
      |         ^^^
      |
     ::: gateway.yaml:5:9
      |
    5 |       - ***
      |         --- the same token
      |
      = hint: remove one of them
    ");
}

#[test]
fn a_name_twice() {
    let text = instance("{ name: one, host: a, token: k-1 }")
        + "      - { name: one, host: b, token: k-2 }\n";
    insta::assert_snapshot!(shown(&text), @"
    error: app `a` has two instances with this name
     --> gateway.yaml:6:17
      |
    6 |       - { name: one, host: b, token: *** }
      |                 ^^^
      |
     ::: gateway.yaml:5:17
      |
    5 |       - { name: one, host: a, token: *** }
      |                 --- the first of them
      |
      = hint: the hash ring uses the name: give each instance its own
    ");
}

#[test]
fn tokens_that_cannot_be_sent() {
    let text = with("admin: { token: \"\" }")
        .replace("[user-1]", "[\"\", \"a b\", \"a\\tb\", \"a\\u0001b\", \"ä\"]")
        .replace("key-1", "' '");
    insta::assert_snapshot!(lines(&text), @"
    gateway.yaml:1:17: error: `token` is empty
    gateway.yaml:4:19: error: a user token of app `a` is empty
    gateway.yaml:4:23: error: a user token of app `a` contains a space or a line break
    gateway.yaml:4:30: error: a user token of app `a` contains a space or a line break
    gateway.yaml:4:38: error: a user token of app `a` contains a control or non-ASCII character
    gateway.yaml:4:50: error: a user token of app `a` contains a control or non-ASCII character
    gateway.yaml:5:46: error: the token of instance `one` of app `a` contains a space or a line break
    ");
}

#[test]
fn a_user_token_that_is_the_key_of_an_instance() {
    insta::assert_snapshot!(shown(&with("").replace("key-1", "user-1")), @"
    warning: this is also a user token: its clients can bypass the gateway
     --> gateway.yaml:5:46
      |
    5 |     instances: [{ name: one, host: h, token: *** }]
      |                                              ^^^
      |
     ::: gateway.yaml:4:19
      |
    4 |     user_tokens: [***]
      |                   --- the same token
      |
      = hint: choose another user token; the app's key in Dify is for the gateway only
    ");
}

#[test]
fn keys_of_the_knowledge_api_that_do_not_fit() {
    let text = instance("{ name: one, host: h, token: k-1 }")
        + "      - { name: two, host: g, token: k-2, dataset_token: dataset-2 }\n";
    insta::assert_snapshot!(shown(&text), @"
    error: instance `one` of app `a` has no `dataset_token`
     --> gateway.yaml:5:17
      |
    5 |       - { name: one, host: h, token: *** }
      |                 ^^^
      |
     ::: gateway.yaml:6:58
      |
    6 |       - { name: two, host: g, token: ***, dataset_token: *** }
      |                                                          --- this one has
      |
      = hint: write one for each instance of the app, or for none
    ");
    let text = instance("{ name: one, host: h, token: k-1, dataset_token: 'a b' }")
        + "      - { name: two, host: g, token: k-2, dataset_token: user-1 }\n";
    insta::assert_snapshot!(lines(&text), @"
    gateway.yaml:5:58: error: the dataset token of instance `one` of app `a` contains a space or a line break
    gateway.yaml:6:58: warning: this is also a user token: its clients can bypass the gateway
    ");
}

#[test]
fn one_address_with_two_limits() {
    let text = instance("{ name: one, host: h, token: k-1 }")
        + "      - { name: two, url: http://H:5001, token: k-2, max_concurrent: 20 }\n";
    insta::assert_snapshot!(shown(&text), @"
    warning: this instance has the address of another one of the same app
     --> gateway.yaml:6:17
      |
    6 |       - { name: two, url: http://H:5001, token: ***, max_concurrent: 20 }
      |                 ^^^
      |
     ::: gateway.yaml:5:17
      |
    5 |       - { name: one, host: h, token: *** }
      |                 --- the other one
      |
      = hint: they are one Dify: correct the address, or remove one; `weight` gives an instance more users

    warning: another instance with this address has another `max_concurrent`
     --> gateway.yaml:6:70
      |
    6 |       - { name: two, url: http://H:5001, token: ***, max_concurrent: 20 }
      |                                                                      ^^
      |
     ::: gateway.yaml:5:9
      |
    5 |       - { name: one, host: h, token: *** }
      |         ---------------------------------- the other instance
      |
      = hint: these settings are per address; the smallest value is used
    ");
}

#[test]
fn a_max_load_that_is_none() {
    for wrong in ["0.99", "100.001", "1.2345", "1,25", "-2", ".5", "1.", "125%", "on"] {
        let lines = lines(&with(&format!("max_load: {wrong}")));
        let expected =
            "`max_load` must be a number from 1 to 100 with up to three decimals, or `off`";
        assert_eq!(lines, format!("gateway.yaml:1:11: error: {expected}"), "{wrong}");
    }
    for good in ["1", "1.25", "\"1.5\"", "100.000", "off"] {
        assert_eq!(lines(&with(&format!("max_load: {good}"))), "", "{good}");
    }
}

#[test]
fn a_setting_that_the_method_does_not_read() {
    let top = "method: rendezvous\nconsistent_hash: { virtual_nodes: 40, hash_algorithm: md5 }";
    insta::assert_snapshot!(shown(&with(top)), @"
    warning: no app's `method` uses `virtual_nodes`
     --> gateway.yaml:2:35
      |
    2 | consistent_hash: { virtual_nodes: 40, hash_algorithm: md5 }
      |                                   ^^
      |
      = hint: remove it, or choose a `method` that uses it
    ");
    let app = "    method: least_connections\n    max_load: 2\n    consistent_hash: { hash_algorithm: md5 }\n    instances";
    insta::assert_snapshot!(lines(&with("").replace("    instances", app)), @"
    gateway.yaml:6:15: warning: `max_load` is not used by `method: least_connections`
    gateway.yaml:7:40: warning: `hash_algorithm` is not used by `method: least_connections`
    ");
    // One app that reads it is enough for the top.
    let text = with("method: weighted_round_robin\nmax_load: 2");
    insta::assert_snapshot!(
        lines(&text),
        @"gateway.yaml:2:11: warning: no app's `method` uses `max_load`"
    );
    let other =
        "  b: { method: ip_hash, user_tokens: [u], instances: [{ name: d, host: i, token: k }] }\n";
    assert_eq!(lines(&(text + other)), "");
}
