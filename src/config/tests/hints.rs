//! What is said beyond what is wrong: what was meant, and what is let in.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::config::{Environment, Loaded, Style, load, parse};

const APP: &str = "apps:\n  shop:\n    user_tokens: [usertoken-of-shop]\n    instances:\n      \
    - { name: a, host: h, token: app-key-of-a, max_concurrent: 10 }\n";

fn read(text: &str) -> Result<Loaded, String> {
    let parsed = parse("gateway.yaml", text, &Environment::default());
    parsed.map_err(|findings| findings.render(Style::Plain))
}

#[test]
fn an_error_says_what_was_meant() {
    for (line, hint) in [
        ("method: round_robin", "did you mean `weighted_round_robin`?"),
        ("method: least_conn", "did you mean `least_connections`?"),
        ("storage: shraed", "did you mean `shared`?"),
        ("timeouts: { idle: 30 s }", "write `30s`"),
        ("timeouts: { idle: 5min }", "write `5m`"),
        ("timeouts: { idle: 1.5s }", "write `1s500ms`"),
        ("timeouts: { connect: 5000000 }", "write `5000000ms` for milliseconds"),
        ("conversations: { max_age: 2 weeks }", ""),
        ("conversations: { max_age: 30 days }", "write `30d`"),
        ("slow_start: 30 seconds", "write `30s`"),
    ] {
        let said = read(&format!("{line}\n{APP}")).unwrap_err();
        assert!(said.contains(hint), "{line}: {said}");
        assert_eq!(hint.is_empty(), !said.contains("hint"), "{line}: {said}");
    }
    let said = read(&APP.replace("host: h", "host: h, weight: 0")).unwrap_err();
    assert!(said.contains("from 1 to 10000") && said.contains("`drain: true`"), "{said}");
    let said = read(&APP.replace("host: h", "host: h, weight: 0.5")).unwrap_err();
    assert!(!said.contains("drain"), "{said}");
}

#[test]
fn what_lets_in_more_than_was_meant_is_warned_of() {
    for (from, to, warning) in [
        ("apps:", "admin: { allow: [0.0.0.0/0] }\napps:", "everybody an operator"),
        ("apps:", "admin: { allow: [10.0.0.0/8, \"::/0\"] }\napps:", "everybody an operator"),
        ("apps:", "trusted_proxies: [0.0.0.0/0]\napps:", "which address it has"),
        (
            "      - { name: a",
            "      - { name: b, host: h, token: app-other-key, max_concurrent: 10 }\n      - { name: a",
            "the address of another one",
        ),
        (
            "apps:",
            "timeouts: { first_byte: 3000 }\napps:",
            "`first_byte` has no unit: it is taken for 3000 seconds",
        ),
    ] {
        let loaded = read(&APP.replace(from, to)).unwrap_or_else(|said| panic!("{to}: {said}"));
        let said = loaded.warnings.render(Style::Plain);
        assert_eq!(loaded.warnings.findings().len(), 1, "{to}: {said}");
        assert!(said.contains(warning) && said.contains("hint"), "{to}: {said}");
    }
    for fine in [
        "admin: { allow: [10.0.0.0/8], token: 0123456789abcdef }\n",
        "timeouts: { first_byte: 1200s, connect: 10 }\n",
        "keys: [{ name: k, secret: sk-of-a-client, impersonate: false }]\n",
    ] {
        let loaded = read(&format!("{fine}{APP}")).unwrap();
        assert!(loaded.warnings.is_empty(), "{fine}: {}", loaded.warnings);
        assert_eq!(loaded.changes.warnings().count(), 0, "{fine}: {}", loaded.changes);
    }
}

#[test]
fn a_secret_that_is_soon_found_is_told_and_not_shown() {
    for (from, to, warning) in [
        ("apps:", "admin: { token: abc }\napps:", "the admin token is shorter than 8 characters"),
        (
            "apps:",
            "admin: { token: change-me-please }\napps:",
            "the admin token looks like a placeholder",
        ),
        ("usertoken-of-shop", "short", "this user token is shorter"),
        ("usertoken-of-shop", "your-token-here", "this user token looks like a placeholder"),
        ("app-key-of-a", "app-xxxxxxxxxxxx", "placeholder for the app's key"),
    ] {
        let loaded = read(&APP.replace(from, to)).unwrap_or_else(|said| panic!("{to}: {said}"));
        let said: Vec<_> = loaded.changes.warnings().collect();
        assert!(said.len() == 1 && said[0].contains(warning), "{to}: {said:?}");
        assert!(!said[0].contains("your-token") && !said[0].contains("change-me"), "{said:?}");
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }
}

#[test]
fn a_token_of_two_apps_says_what_its_clients_must_send() {
    let other = APP.replace("apps:\n", "").replace("  shop:", "  flow:");
    let loaded = read(&format!("{APP}{other}")).unwrap();
    let said = loaded.changes.to_string();
    assert!(
        said.starts_with("gateway.yaml:7:") && said.contains("one of app `shop`, too"),
        "{said}"
    );
    assert!(said.contains("`X-Difygate-App: flow`") && !said.contains("usertoken"), "{said}");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn a_file_with_secrets_is_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("gateway.yaml");
    let vars = [("TOKEN", "usertoken-of-shop"), ("KEY", "app-key-of-a")];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let env = Environment { vars, ..Environment::default() };
    let elsewhere =
        APP.replace("usertoken-of-shop", "\"${TOKEN}\"").replace("app-key-of-a", "\"${KEY}\"");
    for (text, mode, is_open) in
        [(APP, 0o644, true), (APP, 0o640, false), (APP, 0o600, false), (&elsewhere, 0o644, false)]
    {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = load(&path, &env).unwrap().changes.to_string();
        assert_eq!(said.contains("everybody can read it"), is_open, "{mode:o}: {said}");
    }
}

#[test]
fn a_file_of_lua_is_told_what_makes_a_configuration_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("config.lua", "apps = {}"),
        ("gateway.yaml", "-- apps\n\nlocal _M = {}\nreturn _M\n"),
        ("gateway.conf", "return { apps = {} }"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let said = load(&path, &Environment::default()).unwrap_err().render(Style::Plain);
        assert!(said.contains("error: this is Lua") && said.contains("`difygate import"), "{said}");
    }
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.yaml");
    let text = format!(
        "access_log: {{ path: logs/access.log }}\nspool_dir: spool\nstore: {{ path: store }}\n{APP}"
    );
    fs::write(&path, &text).unwrap();
    let loaded = load(&path, &Environment::default()).unwrap();
    let config = loaded.config;
    let base = folder.path();
    let log = crate::config::AccessLog::File {
        path: base.join("logs/access.log"),
        format: Default::default(),
    };
    assert_eq!(config.access_log, log);
    assert_eq!(config.spool_dir, Some(base.join("spool")));
    assert_eq!(config.store.path, Some(base.join("store")));
    // Whoever has such a file from before is told.
    let told = loaded.changes.to_string();
    assert_eq!(told.matches("0.1 took this relative path").count(), 3, "{told}");
    let absolute = text
        .replace("logs/", "/logs/")
        .replace(": spool", ": /spool")
        .replace(": store ", ": /store ");
    assert!(!read(&absolute).unwrap().changes.to_string().contains("relative"));
}
