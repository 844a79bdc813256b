//! What is understood, and what is refused where.

use super::import;

fn yaml(text: &str) -> String {
    let body = import("config.lua", text).unwrap().yaml;
    body.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn faults(text: &str) -> Vec<String> {
    let remarks = import("config.lua", text).unwrap_err();
    remarks.iter().map(|r| format!("{}:{} {}", r.line, r.column, r.message)).collect()
}

const EXPECTED: &str = "apps:
  shop:
    user_tokens: [\"t-1\"]
    instances:
      - { name: dify1, host: \"10.0.0.1\", port: 5001, token: \"app-1\" }
";

#[test]
fn every_way_to_write_the_same_module_gives_the_same() {
    let app = r#"{ user_tokens = { "t-1" }, instances = { { name = "dify1", host = "10.0.0.1", port = 5001, token = "app-1" } } }"#;
    for text in [
        format!("local _M = {{}}\n_M.applications = {{ shop = {app} }}\nreturn _M"),
        format!("return {{ applications = {{ [\"shop\"] = {app} }} }}"),
        format!("local config = {{ applications = {{ ['shop'] = {app} }} }}; return config"),
        format!("return {{ config = {{ apps = {{ shop = {app}, }} }} }}"),
        format!("apps = {{}}\napps.shop = {app}"),
        format!("local a = {{}}\nlocal M = {{ applications = a }}\na['sh' .. 'op'] = {app}\nreturn M"),
        format!("local function f() return {{}} end\nlocal M = {{}}\nfunction M.x() end\nM.applications = {{}}\nM.applications.shop = ({app})\nreturn M"),
        "local h, p = '10.0.0.' .. 1, 0x1389\nlocal t = [[app-1]]\nlocal one = { name = 'dify' .. 1, host = h, port = p, token = t }\n\
         local M = { apps = { shop = { user_tokens = 't-1', instances = { [1] = one } } } }\nreturn M".to_owned(),
        "return { apps = { shop = { user_tokens = { 't\\0451' }, instances = { dify1 = { host = \"10.0.0.1\", port = 5001, token = 'app\\x2d1' } } } } }".to_owned(),
    ] {
        assert_eq!(yaml(&text), EXPECTED, "{text}");
    }
}

#[test]
fn the_environment_is_referred_to_and_a_literal_reference_is_not_one() {
    let text = r#"return { apps = { a = { user_tokens = { os.getenv("USER_TOKEN") },
        instances = { { name = "d", host = os.getenv"HOST" or "dify", port = tonumber(os.getenv("PORT")),
        token = "app-" .. os.getenv("KEY") .. "${NOT}" } } } } }"#;
    let imported = import("c", text).unwrap();
    assert!(imported.yaml.contains("[\"${USER_TOKEN}\"]"), "{}", imported.yaml);
    let line = r#"{ name: d, host: "${HOST:-dify}", port: "${PORT}", token: "app-${KEY}$${NOT}" }"#;
    assert!(imported.yaml.contains(line), "{}", imported.yaml);
    assert_eq!(imported.variables, ["KEY", "PORT", "USER_TOKEN"].map(Into::into).into());
}

#[test]
fn what_would_have_to_be_run_is_refused_where_it_is_needed_and_named_elsewhere() {
    let text = "local secrets = require('secrets')\nreturn { apps = { a = { user_tokens = { 't' }, instances = {\n\
        { name = 'd', host = 'h', token = secrets.key, weight = 1 + 1, port = f() } } } } }";
    let expected = [
        "3:35 the value of `token` cannot be used: it is a variable of another file",
        "3:57 the value of `weight` cannot be used: it is arithmetic",
        "3:71 the value of `port` cannot be used: it is a function call",
    ];
    assert_eq!(faults(text), expected);

    let text = "local _M = { apps = { a = { user_tokens = { 't' }, instances = {} } } }\n\
        if x then _M.apps = nil end\nngx.ctx.y = 1\n_M.health_check = { interval = 10 }\nreturn _M";
    let ignored: Vec<_> = import("c", text).unwrap().ignored;
    let ignored: Vec<_> = ignored.iter().map(|r| (r.line, r.message.as_str())).collect();
    assert_eq!(
        ignored,
        [
            (4, "`health_check` has no counterpart and was left out"),
            (2, "this statement was passed over: nothing is run"),
            (3, "this assignment was passed over: it is not to a table of this file"),
        ]
    );
}

#[test]
fn what_is_no_configuration_is_refused_without_a_word_of_it() {
    for text in ["", "return 1", "local x = 'app-secret", "apps = app-secret secret(", "a b c"] {
        let faults = faults(text);
        assert!(!faults.is_empty() && !faults.concat().contains("secret"), "{text}: {faults:?}");
    }
}

#[test]
fn deep_nesting_is_refused_and_the_deepest_that_is_not_is_read() {
    let nested = |open: &str, close: &str, times| {
        format!("return {}1{}", open.repeat(times), close.repeat(times))
    };
    for (open, close) in
        [("{", "}"), ("(", ")"), ("- ", ""), ("not ", ""), ("1 .. ", ""), ("1+", "")]
    {
        assert!(faults(&nested(open, close, 100_000))[0].contains("nested too deeply"), "{open}");
        assert!(faults(&nested(open, close, 49))[0].contains("no applications"), "{open}");
    }
    let blocks = format!("{}{}", "if x then ".repeat(60), "end ".repeat(60));
    assert!(faults(&blocks)[0].contains("nested too deeply"));
    // All of it at once: brackets with as many operators between each two.
    let both = nested(&format!("{}{{ 1, ", "- ".repeat(40)), "}", 49);
    assert!(!faults(&both).is_empty());
    // A table within itself is looked at no deeper than a configuration goes.
    assert!(yaml("local M = {}\nM.apps = M\nM.x = M\nreturn M").len() < 100);
}

#[test]
fn a_hash_is_taken_by_its_name() {
    let text = "return { consistent_hash = { virtual_nodes = 100, hash_algorithm = 'CRC32' },\n\
        apps = { a = { user_tokens = { 't' }, instances = {} } } }";
    assert!(yaml(text).contains("consistent_hash: { virtual_nodes: 100, hash_algorithm: crc32 }"));
}
