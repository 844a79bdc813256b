//! What is read again says what the whole text says.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

use super::load::{Environment, Loaded, parse, parse_again};
use super::types::Config;

fn env() -> Environment {
    let vars = [("KEY", "app-key"), ("HOST", "dify")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    Environment { vars: BTreeMap::from(vars), ..Environment::default() }
}

fn first(text: &str) -> Config {
    let loaded = parse("x", text, &env());
    let config = loaded.unwrap_or_else(|faults| panic!("{faults}\n{text}")).config;
    assert!(config.outline.is_some(), "not cut:\n{text}");
    config
}

fn next(text: &str, earlier: &Config) -> Config {
    let loaded = parse_again("x", text, &env(), Some(earlier));
    loaded.unwrap_or_else(|faults| panic!("{faults}\n{text}")).config
}

fn app(name: &str, token: &str) -> String {
    format!(
        "  {name}: # one of several\n    user_tokens: [u-{name}, \"u2-{name}\"]\n    instances:\n      \
         - name: one\n        host: ${{HOST}}\n        token: {token}\n      \
         - {{ name: two, url: 'http://dify-{name}', token: \"${{KEY}}\" }}\n"
    )
}

fn text(apps: &[String]) -> String {
    format!("listen: 127.0.0.1:1\napps: # of all\n{}timeouts: {{ idle: 5m }}\n", apps.concat())
}

/// By name, whether an app is shared.
fn shared(old: &Config, new: &Config) -> Vec<bool> {
    let is_shared = |(name, app)| old.apps.get(name).is_some_and(|old| Arc::ptr_eq(old, app));
    new.apps.iter().map(is_shared).collect()
}

#[test]
fn apps_whose_text_has_not_changed_are_taken_over() {
    let [a, b, c] = ["a", "b", "c"].map(|name| app(name, "app-1"));
    let earlier = first(&text(&[a.clone(), b.clone(), c.clone()]));
    let changed = [a.clone(), app("b", "app-2"), c.clone()];
    let config = next(&text(&changed), &earlier);
    assert_eq!(shared(&earlier, &config), [true, false, true]);
    assert_eq!(config, first(&text(&changed)));
    // Once more, from what was put together.
    let again = next(&text(&[c.clone(), app("d", "app-1"), app("b", "app-2")]), &config);
    assert_eq!(shared(&config, &again), [true, false, true]);
    let names: Vec<_> = again.apps.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["c", "d", "b"]);
    // With nothing to read, the first is.
    assert_eq!(
        shared(&earlier, &next(&text(&[a.clone(), b.clone(), c]), &earlier)),
        [false, true, true]
    );
    let top = text(&[a, b]).replace("5m", "6m");
    assert_eq!(shared(&earlier, &next(&top, &earlier)), [false, false]);
}

#[test]
fn what_lies_outside_the_text_is_looked_at_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "app-1").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let secret = app("b", &format!("file:{}", file.display()));
    let anchored = app("c", "&key app-1") + &app("d", "*key");
    let text = text(&[app("a", "app-1"), secret, anchored]);
    let earlier = first(&text);
    std::fs::write(&file, "app-2").unwrap();
    let config = next(&text, &earlier);
    assert_eq!(config.apps[1].instances[0].token.expose(), "app-2");
    assert_eq!(config.watched_files, [file]);
    assert_eq!(shared(&earlier, &config), [true, false, false, false]);
}

#[test]
fn findings_about_two_apps_are_found_though_one_has_not_changed() {
    let [a, b] = ["a", "b"].map(|name| app(name, "app-1"));
    let keys = "keys: [{ name: k, secret: s, apps: [b] }]\n";
    let earlier = first(&(text(&[a.clone(), b.clone()]) + keys));
    let read = |apps: [String; 2]| {
        let text = text(&apps) + keys;
        let whole = parse("x", &text, &env());
        let again = parse_again("x", &text, &env(), Some(&earlier));
        let said = |loaded: Result<Loaded, super::diagnostic::Diagnostics>| match loaded {
            Ok(loaded) => loaded.warnings.to_string(),
            Err(findings) => findings.to_string(),
        };
        let (whole, again) = (said(whole), said(again));
        assert_eq!(whole, again);
        whole
    };
    assert_eq!(read([app("a", "app-2"), b.clone()]), "");
    let at_address = "app-2\n        max_fails: 1";
    for (changed, finding) in [
        (app("a", "u-b"), "bypass"),
        (a.replace("u-a", "app-1"), "bypass"),
        (app("a", at_address), "another `max_fails`"),
        (a.replace("user_tokens", "aliases: [b]\n    user_tokens"), "model id is taken"),
        (b.clone(), "written twice"),
        (a.replace("instances", "instnaces"), "unknown key `instnaces`"),
    ] {
        let said = read([changed, b.clone()]);
        assert!(said.contains(finding), "{finding}: {said}");
    }
    assert!(read([a.clone(), app("c", "app-1")]).contains("names an app that there is not"));
}

/// A line of a text, and what becomes of it.
fn edits() -> impl Strategy<Value = Vec<(usize, u8, usize)>> {
    prop::collection::vec((any::<usize>(), 0_u8..12, any::<usize>()), 1..4)
}

fn edited(text: &str, edits: &[(usize, u8, usize)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (at, what, other) in edits {
        let (at, other) = (at % lines.len().max(1), other % lines.len().max(1));
        let Some(line) = lines.get(at).cloned() else { break };
        match what {
            0 => drop(lines.remove(at)),
            1 => lines.insert(other, line),
            2 => lines.swap(at, other),
            3 => lines[at] = format!("  {line}"),
            4 => lines[at] = line.trim_start_matches("  ").to_owned(),
            5 => lines[at].push_str(" \""),
            6 => lines[at].push_str(" ["),
            7 => lines[at].push_str(" |"),
            8 => lines.insert(at, "  # [ {".to_owned()),
            9 => lines.insert(at, "...".to_owned()),
            10 => lines.insert(at, String::new()),
            _ => lines[at] = line.replace("app-1", "app-2"),
        }
    }
    lines.join("\n") + "\n"
}

proptest! {
    #[test]
    fn reading_again_says_what_reading_says(edits in edits()) {
        let apps = ["a", "b", "c", "d"].map(|name| app(name, "app-1"));
        let before = text(&apps);
        let earlier = first(&before);
        let after = edited(&before, &edits);
        let whole = parse("x", &after, &env());
        let again = parse_again("x", &after, &env(), Some(&earlier));
        match (whole, again) {
            (Ok(whole), Ok(again)) => {
                prop_assert_eq!(whole.config, again.config);
                prop_assert_eq!(whole.warnings, again.warnings);
            }
            (Err(whole), Err(again)) => prop_assert_eq!(whole, again),
            (whole, again) => panic!("{whole:?}\n{again:?}\n{after}"),
        }
    }
}
