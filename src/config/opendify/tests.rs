//! Configurations of the variables of OpenDify.

use std::fs;

use super::{app_name, is_name};
use crate::config::{Config, Diagnostics, Environment, Loaded, Source, Style};
use crate::model::Storage;
use crate::model::ai::UserForm;
use proptest::prelude::*;

const MODELS: &str = r#"{"gpt-4o": "app-hush-1", 'claude 3.5': 'app-hush-2',}  # two"#;
const BASE: &str = "http://dify.example:8080/v1";

fn load(vars: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Source::Environment { file: None }.load(&Environment { vars, ..Environment::default() })
}

fn good(more: &[(&str, &str)]) -> Config {
    let needed = [("MODEL_CONFIG", MODELS), ("DIFY_API_BASE", BASE)];
    // Of two with one name the later counts.
    let loaded = load(&[&needed, more].concat());
    let loaded = loaded.unwrap_or_else(|faults| panic!("{}", faults.render(Style::Plain)));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

/// What is said of variables that will not do, in the long form and the short one.
fn refused(more: &[(&str, &str)]) -> String {
    let needed = [("MODEL_CONFIG", MODELS), ("DIFY_API_BASE", BASE)];
    let faults = load(&[&needed, more].concat()).unwrap_err();
    let said = format!("{}\n{faults}", faults.render(Style::Plain));
    assert!(!said.contains("hush"), "{said}");
    said
}

#[test]
fn two_variables_are_enough() {
    let config = good(&[]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!((config.log_level, config.apps.len()), (None, 2));
    let (name, app) = config.apps.first().unwrap();
    assert_eq!((name.as_str(), app.name_is_model, app.aliases.len()), ("gpt-4o", true, 0));
    assert_eq!((app.ai.users, app.storage), (UserForm::OpenWebUi, Storage::Independent));
    assert_eq!(app.instances[0].address.to_string(), "dify.example:8080");
    assert_eq!(app.instances[0].token.expose(), "app-hush-1");
    let (name, app) = config.apps.last().unwrap();
    assert_eq!((name.as_str(), app.name_is_model), ("claude-3.5-ec810403", false));
    assert_eq!(app.aliases, ["claude 3.5"]);
    let [key] = &config.keys[..] else { panic!("{:?}", config.keys) };
    assert_eq!((&key.secret, &key.apps, key.trusted_proxy, key.admin), (&None, &None, true, false));
}

#[test]
fn any_model_becomes_an_app_of_its_own() {
    let models =
        r#"{"客服": "a", "客户": "b", "qwen/qwen2:7b": "c", "qwen qwen2:7b": "d", " x": "e"}"#;
    let config = good(&[("MODEL_CONFIG", models)]);
    let names: Vec<_> = config.apps.keys().map(|name| name.as_str()).collect();
    assert_eq!((names.len(), names[4]), (5, "x"));
    assert!(names[2].starts_with("qwen-qwen2-7b-") && names[3].starts_with("qwen-qwen2-7b-"));
    let models: Vec<_> = config.apps.values().flat_map(|app| &app.aliases).collect();
    assert_eq!(models, ["客服", "客户", "qwen/qwen2:7b", "qwen qwen2:7b"]);
    let long = format!("{{'{}': 'x'}}", "长".repeat(100));
    assert_eq!(good(&[("MODEL_CONFIG", &long)]).apps[0].aliases[0].chars().count(), 100);
}

#[test]
fn several_bases_are_instances_of_one_dify() {
    for bases in
        ["http://one:1/v1, http://two:2/v1/ ,http://one:1", "\"http://one:1,http://two:2/\""]
    {
        let config = good(&[("DIFY_API_BASE", bases)]);
        let app = &config.apps[1];
        let shown =
            |instance: &crate::config::Instance| format!("{} {}", instance.name, instance.address);
        let instances: Vec<_> = app.instances.iter().map(shown).collect();
        assert_eq!(instances, ["dify1 one:1", "dify2 two:2"], "{bases}");
        assert_eq!(app.storage, Storage::Shared);
    }
}

#[test]
fn keys_say_who_may_come_in() {
    for keys in ["sk-hush-1,sk-hush-2", " sk-hush-1 , sk-hush-2,", "['sk-hush-1', \"sk-hush-2\"]"] {
        let config = good(&[("VALID_API_KEYS", keys), ("SERVER_HOST", "0.0.0.0")]);
        assert_eq!(config.keys.len(), 2, "{keys}");
        for key in &config.keys {
            let secret = key.secret.as_ref().unwrap();
            assert!(secret.expose().starts_with("sk-hush-"));
            assert_eq!((key.name.clone(), key.trusted_proxy), (secret.fingerprint(), true));
        }
    }
    let both = [("VALID_API_KEYS", "sk-hush"), ("ALLOW_ANONYMOUS", "True")];
    let keys = good(&both).keys;
    assert_eq!(keys.iter().filter(|key| key.secret.is_none()).count(), 1);
    assert_eq!(keys.len(), 2);
    let open = good(&[("SERVER_HOST", "::"), ("ALLOW_ANONYMOUS", "1"), ("SERVER_PORT", "80")]);
    assert_eq!(open.listen.to_string(), "[::]:80");
}

#[test]
fn without_keys_it_listens_on_loopback_alone() {
    for host in ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9", ""] {
        assert!(good(&[("SERVER_HOST", host)]).listen.first().ip().is_loopback(), "{host}");
    }
    for host in ["0.0.0.0", "::", "10.0.0.1"] {
        for anonymous in ["", "false", "0"] {
            let said = refused(&[("SERVER_HOST", host), ("ALLOW_ANONYMOUS", anonymous)]);
            assert!(said.contains("`SERVER_HOST` lets other machines in"), "{said}");
            assert!(said.contains("VALID_API_KEYS") && said.contains("ALLOW_ANONYMOUS=true"));
        }
    }
}

#[test]
fn what_is_wrong_names_the_variable_and_the_model_and_never_a_key() {
    for (name, value, said) in [
        ("MODEL_CONFIG", "", "`MODEL_CONFIG` is not set, and there is no `difygate.yaml`"),
        ("MODEL_CONFIG", "{}", "`MODEL_CONFIG` has no model"),
        ("MODEL_CONFIG", "{'a': 'app-hush'", "at character 17, `,` or `}` was expected"),
        ("MODEL_CONFIG", "app-hush", "at character 1, a `{` was expected"),
        ("MODEL_CONFIG", "{'a': 'hush-1', 'a': 'hush-2'}", "has the model `a` twice"),
        ("MODEL_CONFIG", "{'a': ''}", "the model `a` in `MODEL_CONFIG` has no key"),
        ("MODEL_CONFIG", "{'a b': None}", "the model `a b` in `MODEL_CONFIG` has no key"),
        ("MODEL_CONFIG", "{'': 'hush'}", "a model without a name"),
        (
            "MODEL_CONFIG",
            "{'a': 'hush 1'}",
            "the token of instance `dify1` of app `a` contains a space or a line break",
        ),
        ("MODEL_CONFIG", "{'app-hush': 'a'}", "has a key where a model is expected"),
        ("MODEL_CONFIG", "{'app-hush': None}", "has a key where a model is expected"),
        ("DIFY_API_BASE", "", "`DIFY_API_BASE` is not set"),
        ("DIFY_API_BASE", "dify:5001", "`DIFY_API_BASE`: its URL has no scheme"),
        ("DIFY_API_BASE", "http://dify/api", "`DIFY_API_BASE`: its URL contains a path"),
        ("DIFY_API_BASE", "http://me:hush@dify/v1", "contains a user name or a password"),
        ("SERVER_HOST", "dify.example", "`SERVER_HOST` must be an IP address"),
        ("SERVER_PORT", "70000", "`SERVER_PORT` must be a number"),
        ("LOG_LEVEL", "loud", "`LOG_LEVEL` has an unknown value"),
        ("ALLOW_ANONYMOUS", "perhaps", "`ALLOW_ANONYMOUS` must be `true` or `false`"),
        ("VALID_API_KEYS", "['sk-hush", "`VALID_API_KEYS` is not a list: at character 2"),
        ("VALID_API_KEYS", "sk hush", "the secret of key `"),
    ] {
        let shown = refused(&[(name, value)]);
        assert!(shown.contains(said), "{name}={value}: {shown}");
        assert_eq!(shown.matches("error:").count(), 2, "{shown}");
    }
    let both = refused(&[("MODEL_CONFIG", "{}"), ("DIFY_API_BASE", "ftp://x"), ("LOG_LEVEL", "x")]);
    assert_eq!(both.lines().filter(|line| line.starts_with("error:")).count(), 3, "{both}");
}

#[test]
fn dify_may_be_behind_tls() {
    let config = good(&[("DIFY_API_BASE", "https://dify.example.org/v1")]);
    let address = &config.apps[0].instances[0].address;
    assert_eq!(address.to_string(), "https://dify.example.org:443");
}

#[test]
fn log_levels_are_those_of_python() {
    for (level, filter) in
        [("DEBUG", "debug"), ("warning", "warn"), ("\"INFO\"", "info"), ("CRITICAL", "error")]
    {
        assert_eq!(good(&[("LOG_LEVEL", level)]).log_level, Some(filter));
    }
}

#[test]
fn a_file_of_variables_gives_what_the_process_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.env");
    let text = format!("export MODEL_CONFIG={MODELS}\nDIFY_API_BASE=\"{BASE}\"\nSERVER_PORT=1\n");
    fs::write(&path, &text).unwrap();
    let source = Source::Environment { file: Some(path.clone()) };
    let vars = [("SERVER_PORT".to_owned(), "2".to_owned())].into();
    let environment = Environment { vars, ..Environment::default() };
    let config = source.load(&environment).unwrap().config;
    assert_eq!((config.listen.first().port(), config.apps.len()), (2, 2));
    fs::write(&path, format!("{text}no variable\n")).unwrap();
    let faults = source.load(&environment).unwrap_err().to_string();
    assert!(faults.contains("line 4 of the env file is not valid"), "{faults}");
    fs::remove_file(&path).unwrap();
    let faults = source.load(&environment).unwrap_err().to_string();
    assert!(faults.contains("the env file cannot be read: no such file"), "{faults}");
}

proptest! {
    #[test]
    fn every_model_has_an_app_of_its_own(one in ".{1,80}", other in ".{1,80}") {
        let (first, second) = (app_name(&one), app_name(&other));
        prop_assert!(is_name(&first), "{first:?}");
        prop_assert_eq!(first == second, one == other);
    }
}
