//! Configurations of the variables of OpenDify.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{app_name, is_name};
use crate::config::{
    AccessLog, Config, Diagnostics, Environment, Loaded, LogFormat, Source, Style,
};
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
            assert!(said.contains("add one line: `VALID_API_KEYS=sk-"), "{said}");
            assert!(said.contains("`ALLOW_ANONYMOUS=true`"), "{said}");
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
        ("MODEL_CONFIG", "{\"m\"：\"app-hush\"}", "full-width `：`: write `:`"),
        ("VALID_API_KEYS", "sk-hush1，sk-hush2", "full-width `，`: write `,`"),
        ("DIFY_API_BASE", "", "`DIFY_API_BASE` is not set"),
        ("DIFY_API_BASE", "dify:5001", "`DIFY_API_BASE`: its URL has no scheme"),
        ("DIFY_API_BASE", "http://dify/a//b", "`DIFY_API_BASE`: the path in its URL cannot stand"),
        ("DIFY_API_BASE", "http://me:hush@dify/v1", "contains a user name or a password"),
        ("SERVER_HOST", "dify.example", "`SERVER_HOST` must be an IP address"),
        ("SERVER_PORT", "70000", "`SERVER_PORT` must be a number"),
        ("LOG_LEVEL", "loud", "`LOG_LEVEL` has an unknown value"),
        ("ALLOW_ANONYMOUS", "perhaps", "`ALLOW_ANONYMOUS` must be `true` or `false`"),
        ("VALID_API_KEYS", "['sk-hush", "`VALID_API_KEYS` is not a list: at character 2"),
        ("VALID_API_KEYS", "sk hush", "the secret of key `"),
        ("DIFY_API_KEYS", "['app-hush", "`DIFY_API_KEYS` is not a list: at character 2"),
        ("GUNICORN_WORKERS", "0", "`GUNICORN_WORKERS` must be a number from 1 to 1024"),
        ("DIFYGATE_WORKERS", "auto", "`DIFYGATE_WORKERS` must be a number from 1 to 1024"),
        ("HTTP_TIMEOUT", "-1", "`HTTP_TIMEOUT` must be a number of seconds up to 86400"),
        ("GUNICORN_TIMEOUT", "1e9", "`GUNICORN_TIMEOUT` must be a number of seconds"),
        ("DIFYGATE_ADMIN_LISTEN", "localhost", "`DIFYGATE_ADMIN_LISTEN` must be an IP address"),
        ("DIFYGATE_REDIS_URL", "host:hush", "`DIFYGATE_REDIS_URL` is not the URL of a Redis"),
        ("SERVER_PORT", "tcp://10.0.0.1:80", "`enableServiceLinks: false`"),
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

#[test]
fn what_is_about_the_process_is_honoured() {
    let config = good(&[]);
    assert_eq!((config.workers, config.timeouts, config.store), Default::default());
    for (names, workers) in [
        (&["GUNICORN_WORKERS"][..], 4),
        (&["WEB_CONCURRENCY"], 4),
        (&["WEB_CONCURRENCY", "GUNICORN_WORKERS", "DIFYGATE_WORKERS"], 6),
    ] {
        let numbers = ["4", "5", "6"];
        let vars: Vec<_> = names.iter().copied().zip(numbers).collect();
        assert_eq!(good(&vars).workers, Some(workers), "{names:?}");
    }
    let seconds = |text: &str| Duration::from_secs_f64(text.parse().unwrap());
    for (client, gunicorn, wait) in
        [("30.0", "", "30"), ("", "60", "60"), ("90", "60", "60"), ("0.25", "None", "0.25")]
    {
        let vars = [("HTTP_TIMEOUT", client), ("GUNICORN_TIMEOUT", gunicorn)];
        let timeouts = good(&vars).timeouts;
        assert_eq!((timeouts.first_byte, timeouts.idle), (seconds(wait), seconds(wait)));
    }
    assert_eq!(good(&[("GUNICORN_TIMEOUT", "0")]).timeouts, config.timeouts);
    assert_eq!(good(&[("HTTP_TIMEOUT", "30")]).timeouts.all_attempts, config.timeouts.all_attempts);
    assert_eq!(good(&[("HTTP_TIMEOUT", "3600")]).timeouts.all_attempts, seconds("3660"));
    assert_eq!(good(&[("GUNICORN_KEEPALIVE", "2")]).timeouts.keep_alive, seconds("2"));
    let url = "redis://:hush@host:6379/1";
    let store = good(&[("DIFYGATE_STORE", "/x"), ("DIFYGATE_REDIS_URL", url)]).store;
    assert_eq!(store.path.as_deref(), Some(Path::new("/x")));
    assert_eq!(store.redis.unwrap().expose(), url);
    for (written, log) in [
        ("off", AccessLog::Off),
        ("Combined", AccessLog::Stdout(LogFormat::Combined)),
        ("/x.log", AccessLog::File { path: "/x.log".into(), format: LogFormat::Json }),
    ] {
        assert_eq!(good(&[("DIFYGATE_ACCESS_LOG", written)]).access_log, log);
    }
}

#[test]
fn processes_on_neighbouring_ports_do_not_collide() {
    for (port, admin, folder) in [
        ("5000", 9090, None),
        ("5001", 9091, Some("difygate-data-5001")),
        ("5002", 9092, Some("difygate-data-5002")),
        ("8080", 9090, None),
        ("0", 9090, None),
    ] {
        let config = good(&[("SERVER_PORT", port)]);
        let found = (config.admin.listen.port(), config.state_name.as_deref());
        assert_eq!(found, (admin, folder), "{port}");
    }
    let config = good(&[("SERVER_PORT", "5001"), ("DIFYGATE_ADMIN_LISTEN", "127.0.0.1:1")]);
    assert_eq!(config.admin.listen.port(), 1);
}

#[test]
fn development_is_a_log_of_details_unless_a_level_is_said() {
    for (place, level, filter) in [
        ("development", "", Some("debug")),
        ("Development", "warning", Some("warn")),
        ("production", "", None),
        ("staging", "", None),
    ] {
        let vars = [("ENVIRONMENT", place), ("LOG_LEVEL", level)];
        assert_eq!(good(&vars).log_level, filter, "{place} {level}");
    }
}

#[test]
fn a_base_may_be_below_a_path() {
    for base in ["http://dify/dify/v1", "http://dify/dify/v1/", "http://dify/dify"] {
        let config = good(&[("DIFY_API_BASE", base)]);
        assert_eq!(config.apps[0].instances[0].address.to_string(), "dify:80/dify", "{base}");
    }
}

#[test]
fn keys_that_dify_names_are_apps_that_are_no_models_yet() {
    let config = good(&[("DIFY_API_KEYS", "app-hush-3,app-hush-1, app-hush-3")]);
    let [.., (name, app)] = &config.apps.iter().collect::<Vec<_>>()[..] else { panic!() };
    let named = |app: &crate::config::App| (app.named_by_dify, app.name_is_model);
    assert_eq!((config.apps.len(), named(app), app.aliases.len()), (3, (true, false), 0));
    assert_eq!(app.instances[0].token.expose(), "app-hush-3");
    let mark = app.instances[0].token.fingerprint();
    assert_eq!(name.as_str(), format!("dify-{mark}"));
    assert_eq!(named(&config.apps[0]), (false, true));
}

#[test]
fn what_nothing_reads_is_warned_of_and_what_is_not_needed_is_noted() {
    let vars = [
        ("MODEL_CONFIG", MODELS),
        ("DIFY_API_BASE", BASE),
        ("VALID_API_KEY", "sk-hush"),
        ("GUNICORN_RELOAD", "true"),
        ("GUNICORN_WORKERS", "2"),
    ];
    let loaded = load(&vars).unwrap();
    let warnings = loaded.warnings.render(Style::Plain);
    assert!(warnings.contains("`VALID_API_KEY` is set, and nothing reads it"), "{warnings}");
    assert!(warnings.contains("did you mean `VALID_API_KEYS`?"), "{warnings}");
    assert!(!warnings.contains("hush"), "{warnings}");
    let [note] = &loaded.notes[..] else { panic!("{:?}", loaded.notes) };
    assert!(note.starts_with("not needed here: `GUNICORN_RELOAD`. "), "{note}");
    assert!(load(&vars[..2]).unwrap().notes.is_empty());
    // Where the configuration is refused, too: it may be why.
    let said = refused(&[("VALID_API_KEY", "sk-hush"), ("SERVER_HOST", "0.0.0.0")]);
    assert!(said.contains("did you mean `VALID_API_KEYS`?"), "{said}");
}

proptest! {
    #[test]
    fn every_model_has_an_app_of_its_own(one in ".{1,80}", other in ".{1,80}") {
        let (first, second) = (app_name(&one), app_name(&other));
        prop_assert!(is_name(&first), "{first:?}");
        prop_assert_eq!(first == second, one == other);
    }
}

#[test]
fn what_is_wrong_with_a_secret_names_its_variable_and_no_place_that_nobody_wrote() {
    let said = refused(&[("MODEL_CONFIG", "{'a': 'hush 1'}")]);
    assert!(said.contains("error: `MODEL_CONFIG`: the token of"), "{said}");
    let said = refused(&[("VALID_API_KEYS", "sk hush")]);
    assert!(said.contains("error: `VALID_API_KEYS`: the secret of key"), "{said}");
    assert!(!said.contains(" | ") && !said.contains("hush"), "{said}");
    let vars = [
        ("MODEL_CONFIG", "{\"shop\": \"app-xxxxxxxxxxxx\"}"),
        ("DIFY_API_BASE", "http://127.0.0.1:1/v1"),
        ("VALID_API_KEYS", "sk-1"),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let env = crate::config::Environment { vars, ..Default::default() };
    let loaded = crate::config::Source::Environment { file: None }.load(&env).unwrap();
    let told: Vec<_> = loaded.changes.warnings().collect();
    let starts = |start: &str| told.iter().any(|warning| warning.starts_with(start));
    assert!(starts("`VALID_API_KEYS`: this key's secret is shorter"), "{told:?}");
    assert!(starts("`MODEL_CONFIG`: this looks like a placeholder"), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
}
