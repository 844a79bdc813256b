//! What is understood, and what is refused where.

use super::import;

fn yaml(text: &str) -> String {
    let whole = import("config.lua", text).unwrap().yaml;
    let (_, body) = whole.split_once("# error_log").unwrap();
    body.lines().skip(1).map(|line| format!("{line}\n")).collect()
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
        { name = 'd', host = 'h', token = secrets.key, weight = 1 + x, port = f() } } } } }";
    let expected = [
        "3:35 the value of `token` cannot be used: it is a variable of another file",
        "3:57 the value of `weight` cannot be used: it is arithmetic",
        "3:71 the value of `port` cannot be used: it is a function call",
    ];
    assert_eq!(faults(text), expected);

    let text = "local _M = { apps = { a = { user_tokens = { 't' }, instances = {} } } }\n\
        if x then _M.apps = nil end\nngx.ctx.y = 1\n_M.log_level = 'info'\nreturn _M";
    let ignored: Vec<_> = import("c", text).unwrap().ignored;
    let ignored: Vec<_> = ignored.iter().map(|r| (r.line, r.message.as_str())).collect();
    assert_eq!(
        ignored,
        [
            (4, "`log_level` has no counterpart and was left out"),
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

#[test]
fn a_file_as_a_document_prints_it_is_read() {
    let app = r#"{ user_tokens = { "t-1" }, instances = { { name = "dify1", host = "10.0.0.1", port = 5001, token = "app-1" } } }"#;
    for text in [
        format!("config.applications = {{ shop = {app} }}"),
        format!(
            "config = config or {{}}\nconfig.applications = config.applications or {{}}\nconfig.applications['shop'] = {app}"
        ),
        format!(
            "local config = require('base')\nconfig.applications = {{ shop = {app} }}\nreturn config"
        ),
        format!(
            "\u{feff}local config = {{}}\nconfig.applications = {{ shop = {app} }}\nreturn config"
        ),
        format!("```lua\nconfig.applications = {{\n  -- `shop`\n  shop = {app}\n}}\n```\n"),
        format!(
            "local M = {{ _VERSION = '1' }}\nM.applications = {{}}\nM.applications.shop = {app}\nlocal list = {{}}\ntable.insert(list, M.applications.shop.instances[1])\nM.applications.shop.instances = list\nreturn M"
        ),
    ] {
        assert_eq!(yaml(&text), EXPECTED, "{text}");
    }
    let faults = faults("config.applications = {\n  shop = `x` }");
    assert_eq!(faults, ["2:10 a backtick (`) stands outside a text"]);
}

#[test]
fn arithmetic_and_what_makes_texts_are_worked_out() {
    let text = r#"
        local base, ip = 5000, "10.0.0.%d"
        local list = {}
        list[#list + 1] = { name = ("DIFY" .. 1):lower(), host = string.format(ip, 1), port = base + 2 / 2,
            token = string.rep("app-", 1) .. (true and "1" or "2") }
        local tokens = { table.concat({ "t", 1 }, "-") }
        return { apps = { [string.sub("a-shop", 3)] = { user_tokens = tokens, instances = list } } }"#;
    assert_eq!(yaml(text), EXPECTED);
    for (expression, expected) in [
        ("2 ^ 3 % 5 * 4 - 1", "11"),
        ("-3 % 5", "2"),
        ("#'abc' + 1", "4"),
        ("math.floor(7 / 2)", "3"),
        ("tonumber('7')", "\"7\""),
        ("nil or 5", "5"),
        ("not nil and 6", "6"),
    ] {
        let text = format!(
            "return {{ apps = {{ a = {{ user_tokens = 't', instances = {{ {{ weight = {expression} }} }} }} }} }}"
        );
        let expected = format!("{{ weight: {expected} }}");
        assert!(yaml(&text).contains(&expected), "{expression}: {}", yaml(&text));
    }
    for (expression, expected) in [
        ("('a.b'):gsub('b', 'c')", "a.c"),
        ("string.upper('x') .. ('y'):rep(2)", "Xyy"),
        ("string.format('%s-%03d%%', 'n', 7)", "n-007%"),
        ("('dify.internal'):sub(-8)", "internal"),
        ("string.format('http://%s', os.getenv('HOST'))", "http://${HOST}"),
    ] {
        let text = format!(
            "return {{ apps = {{ a = {{ user_tokens = 't', instances = {{ {{ url = {expression} }} }} }} }} }}"
        );
        let expected = format!("{{ url: \"{expected}\" }}");
        assert!(yaml(&text).contains(&expected), "{expression}: {}", yaml(&text));
    }
    // What doubles itself is not followed to the end of the memory.
    let doubled = format!(
        "x = 'ab'\n{}return {{ apps = {{ a = {{ user_tokens = x }} }} }}",
        "x = x .. x\n".repeat(60)
    );
    assert!(faults(&doubled)[0].contains("a text that is put together"), "{:?}", faults(&doubled));
}

#[test]
fn a_method_and_a_health_check_have_their_counterparts() {
    let text = "config.method = 'least_conn'\n\
        config.health_check = { enabled = true, interval = 10, timeout = 1500, path = '/v1/info', fails = 3, passes = 2, type = 'http' }\n\
        config.applications = { a = { algorithm = 'Round-Robin', health_check = { interval = 0.5 }, user_tokens = { 't' },\n\
        instances = { { name = 'd', host = 'h', token = 'k', health_check = { path = '/health' } } } } }";
    let expected = "method: least_connections\n\
        probe: { enabled: true, interval: 10s, timeout: 1500ms, path: \"/v1/info\", fall: 3, rise: 2 }\n\
        apps:\n  a:\n    method: weighted_round_robin\n    probe: { interval: 500ms }\n    user_tokens: [\"t\"]\n    instances:\n      \
        - { name: d, host: \"h\", token: \"k\", probe: { path: \"/health\" } }\n";
    assert_eq!(yaml(text), expected);
    let said: Vec<_> = import("c", text).unwrap().ignored;
    let said: Vec<_> = said.iter().map(|r| (r.line, r.message.as_str())).collect();
    let expected = [
        (2, "`timeout` was taken for milliseconds"),
        (2, "`type` has no counterpart and was left out"),
        (4, "behind Dify's own nginx `/health` says nothing of the API"),
    ];
    assert_eq!(said, expected);
    let unknown = faults("return { method = 'dice', apps = { a = {} } }");
    assert_eq!(unknown, ["1:19 this balancing method is not known"]);
}

#[test]
fn names_that_cannot_stay_are_replaced_and_kept_as_comments() {
    let text = "return { apps = { ['智能客服'] = { user_tokens = { 't' }, instances = {\n\
        { name = '一号 dify', host = 'h', token = 'k' }, { name = 'dify2', host = 'i', token = 'k' } } },\n\
        ['my shop'] = { user_tokens = { 's' }, instances = { ['主'] = { host = 'h', token = 'k' } } } } }";
    let expected = "apps:\n  app-1:    # 智能客服\n    user_tokens: [\"t\"]\n    instances:\n      \
        - { name: dify, host: \"h\", token: \"k\" }    # 一号 dify\n      \
        - { name: dify2, host: \"i\", token: \"k\" }\n  \
        my_shop:    # my shop\n    user_tokens: [\"s\"]\n    instances:\n      \
        - { name: dify-1, host: \"h\", token: \"k\" }    # 主\n";
    assert_eq!(yaml(text), expected);
    // The same in the encoding that editors of Windows save Chinese in.
    let (gbk, ..) = encoding_rs::GBK.encode(text);
    let imported = import("config.lua", &gbk).unwrap();
    assert!(imported.yaml.ends_with(expected), "{}", imported.yaml);
    assert!(imported.ignored[0].message.contains("GBK"));
    assert!(
        imported.ignored.iter().any(|r| r.message == "this name became `app-1`" && r.line == 1)
    );
}

#[test]
fn a_short_file_that_says_much_is_refused_where_it_does() {
    let many = "a={a}\n".repeat(160_000);
    assert!(faults(&many)[0].ends_with("this file says too much to be imported at once"));
    let app =
        |tokens: &str| format!("return {{ apps = {{ a = {{ user_tokens = {{ {tokens} }} }} }} }}");
    let gsub = app("('a'):rep(4096):gsub('a', ('b'):rep(4096))");
    assert!(faults(&gsub)[0].contains("it is a function call"), "{:?}", faults(&gsub));
    let text = format!("x = '{}'\n{}", "a".repeat(500_000), app(&"x, ".repeat(5_000)));
    assert!(faults(&text)[0].contains("it is used too often"), "{:?}", faults(&text)[0]);
    let instances = "{ host = 'h', token = 't' },".repeat(2_000);
    let apps: String = (0..5_000).map(|app| format!("a{app} = {{ instances = i }},")).collect();
    let shared = format!("local i = {{ {instances} }}\nreturn {{ apps = {{ {apps} }} }}");
    assert!(faults(&shared)[0].ends_with("the result gets too long here"));
}

#[test]
fn a_key_that_is_taken_out_leaves_the_others_in_their_places() {
    let text = "t = { a = 1, host = 'h', b = 2, name = 'n' }\nt.a = nil\nt.b = nil\nt.name = 'm'\nt.port = 1\n\
        return { apps = { x = { user_tokens = 't', instances = { t } } } }";
    assert!(yaml(text).contains("{ name: m, host: \"h\", port: 1 }"), "{}", yaml(text));
}
