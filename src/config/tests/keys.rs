//! Keys and model ids: what is read, and what is wrong with them.

use super::findings::{lines, shown, with};
use crate::config::{Config, Environment, Setting, flatten, mark, parse};

fn good(text: &str) -> Config {
    let loaded = parse("gateway.yaml", text, &Environment::default());
    let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

#[test]
fn every_part_of_a_key_is_read() {
    let config = good(&with(
        "keys:\n  - { name: all, secret: sk-1 }\n  - { name: one, secret: 0815, apps: [a], admin: true, \
         trusted_proxy: true, user: Team A }\n  - { name: nobody, anonymous: true, apps: [a] }",
    ));
    let [all, one, nobody] = &config.keys[..] else { panic!("{:?}", config.keys) };
    assert_eq!((all.name.as_str(), all.secret.as_ref().unwrap().expose()), ("all", "sk-1"));
    assert_eq!((&all.apps, all.admin, all.trusted_proxy, &all.user), (&None, false, false, &None));
    assert_eq!(one.secret.as_ref().unwrap().expose(), "0815");
    assert_eq!(one.apps.as_ref().unwrap()[0].as_str(), "a");
    assert_eq!((one.admin, one.trusted_proxy, one.user.as_deref()), (true, true, Some("Team A")));
    assert_eq!(nobody.secret, None);
}

#[test]
fn an_app_needs_a_user_token_or_a_key() {
    let app = "apps: { a: { instances: [{ name: one, host: h, token: key-1 }] } }";
    assert!(lines(app).contains("app `a` has no `user_tokens`"));
    for opens in ["secret: s", "secret: s, apps: [a]", "anonymous: true"] {
        let config = good(&format!("keys: [{{ name: k, {opens} }}]\n{app}"));
        assert!(config.apps[0].user_tokens.is_empty());
    }
    let other = "keys: [{ name: k, secret: s, admin: true, apps: [] }]";
    assert!(lines(&format!("{other}\n{app}")).contains("app `a` has no `user_tokens`"));
}

#[test]
fn what_is_wrong_with_a_key_is_said_once_and_without_its_secret() {
    for (keys, findings) in [
        ("[{ secret: hush-1 }]", &["1:8: error: key 1 has no `name`"][..]),
        ("[{ name: a b, secret: hush-1 }]", &["1:16: error: this is not a name for a key"]),
        ("[{ name: k }]", &["1:8: error: key `k` has no `secret`"]),
        ("[{ name: k, anonymous: false }]", &["key `k` has no `secret`"]),
        (
            "[{ name: k, secret: \"hush 1\" }]",
            &["the secret of key `k` contains a space or a line break"],
        ),
        ("[{ name: k, secret: user-1 }]", &["1:27: error: this secret is also a user token"]),
        (
            "[{ name: k, secret: hush-1 }, { name: l, secret: hush-1 }]",
            &["1:56: error: two keys have this secret"],
        ),
        (
            "[{ name: k, secret: hush-1 }, { name: k, secret: hush-2 }]",
            &["1:45: error: two keys have this name"],
        ),
        (
            "[{ name: k, secret: hush-1, anonymous: true }]",
            &["1:46: error: key `k` has both `secret` and `anonymous`"],
        ),
        (
            "[{ name: k, anonymous: true }, { name: l, anonymous: true }]",
            &["two keys are `anonymous`"],
        ),
        ("[{ name: k, anonymous: true, admin: true }]", &["anybody would be `admin`"]),
        (
            "[{ name: k, secret: hush-1, apps: [a, b] }]",
            &["1:45: error: key `k` names an unknown app"],
        ),
        ("[{ name: k, secret: hush-1, apps: [] }]", &["key `k` opens no app"]),
        (
            "[{ name: k, secret: hush-1, user: \"\" }]",
            &["Dify does not accept the `user` of key `k`"],
        ),
        (
            "[{ name: k, secret: hush-1, user: \"a \" }]",
            &["Dify does not accept the `user` of key `k`"],
        ),
        ("[{ name: k, token: hush-1 }]", &["did you mean `secret`?"]),
    ] {
        let text = with(&format!("keys: {keys}"));
        let shown = shown(&text);
        let both = format!("{}\n{shown}", lines(&text));
        for finding in findings {
            assert!(both.contains(finding), "{keys}: {both}");
        }
        assert_eq!(shown.matches("error:").count(), 1, "{shown}");
        assert!(!both.contains("hush"), "{both}");
    }
    let near = shown(&with("keys: [{ name: k, secret: s, apps: [shpo] }]").replace("a:", "shop:"));
    assert!(near.contains("did you mean `shop`?"), "{near}");
}

#[test]
fn a_key_that_is_an_instances_own_is_a_way_around_the_gateway() {
    let text = with("keys: [{ name: k, secret: key-1 }]");
    assert!(lines(&text).contains("clients can bypass the gateway"), "{}", lines(&text));
}

#[test]
fn model_ids_name_one_app_each() {
    let two = |a: &str, b: &str| {
        let app = |name: &str, aliases: &str| {
            format!(
                "  {name}: {{ aliases: {aliases}, user_tokens: [u], instances: [{{ name: i, host: h, token: k }}] }}\n"
            )
        };
        format!("apps:\n{}{}", app("a", a), app("b", b))
    };
    let config = good(&two("[gpt-4o mini, qwen/qwen2:7b, 4]", "[客服]"));
    assert_eq!(config.apps[0].aliases, ["gpt-4o mini", "qwen/qwen2:7b", "4"]);
    assert_eq!(config.apps[1].aliases, ["客服"]);
    for (a, b) in [("[x]", "[x]"), ("[x, x]", "[]"), ("[b]", "[]"), ("[]", "[b]")] {
        let lines = lines(&two(a, b));
        assert!(lines.contains("this model id is taken"), "{a} {b}: {lines}");
    }
    for bad in ["\"\"", "\" x\"", "\"x\\ty\""] {
        let lines = lines(&two(&format!("[{bad}]"), "[]"));
        assert!(lines.contains("this is not a name for a model"), "{bad}: {lines}");
    }
}

#[test]
fn a_plan_sees_what_a_key_may_and_not_its_secret() {
    let config = good(&with("keys: [{ name: k, secret: hush, apps: [a], trusted_proxy: true }]"));
    let shape = flatten(&config, &|secret| Some(mark("salt", secret)));
    let open = |value: serde_json::Value| Some(Setting::Open(value));
    assert_eq!(shape.settings.get("keys.k.apps").cloned(), open(["a"][..].into()));
    assert_eq!(shape.settings.get("keys.k.admin").cloned(), open(false.into()));
    assert_eq!(shape.settings.get("keys.k.trusted_proxy").cloned(), open(true.into()));
    assert!(matches!(shape.settings["keys.k.secret"], Setting::Secret(Some(_))));
    assert!(!serde_json::to_string(&shape).unwrap().contains("hush"));
}
