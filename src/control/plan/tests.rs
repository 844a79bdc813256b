//! What a plan finds.

use std::fmt::Write;

use serde_json::json;

use super::{Changes, Fate, Moves, changes, plan};
use crate::config::{Environment, FlatConfig, Setting, flatten, mark, parse};

const SAMPLE: u32 = 5_000;

/// An app `shop` over instances, each a name, a place and more settings.
fn of(top: &str, app: &str, instances: &[(&str, &str)]) -> FlatConfig {
    let mut text =
        format!("{top}\napps:\n  shop:\n    user_tokens: [usertoken]\n{app}    instances:\n");
    for (name, more) in instances {
        writeln!(text, "      - {{ name: {name}, token: key-{name}, {more} }}").unwrap();
    }
    shape_of(&text)
}

fn shape_of(text: &str) -> FlatConfig {
    let config = parse("gateway.yaml", text, &Environment::default()).unwrap().config;
    flatten(&config, &|secret| Some(mark("salt", secret)))
}

const THREE: [(&str, &str); 3] = [("a", "host: h1"), ("b", "host: h2"), ("c", "host: h3")];

fn planned(old: &FlatConfig, new: &FlatConfig) -> Changes {
    plan(old, new, None, SAMPLE).unwrap()
}

fn counted(changes: &Changes) -> (u32, Vec<(String, String)>) {
    let [app] = &changes.apps[..] else { panic!("{changes:?}") };
    let Some(Moves::Counted { sample, moved, between }) = &app.moves else { panic!("{app:?}") };
    assert_eq!(*sample, SAMPLE);
    assert_eq!(between.iter().map(|way| way.users).sum::<u32>(), *moved);
    let ways = between.iter().map(|way| (way.from.to_string(), way.to.to_string())).collect();
    (*moved, ways)
}

#[test]
fn the_same_configuration_changes_nothing() {
    let shape = of("", "", &THREE);
    assert_eq!(planned(&shape, &shape), Changes::default());
}

#[test]
fn a_removed_instance_moves_its_own_users_and_no_others() {
    let (old, new) = (of("", "", &THREE), of("", "", &THREE[..2]));
    let (moved, ways) = counted(&planned(&old, &new));
    assert!((SAMPLE / 4..SAMPLE / 2).contains(&moved), "{moved}");
    assert!(ways.iter().all(|(from, _)| from == "c") && ways.len() == 2, "{ways:?}");
    // And back again: those who come are those who went.
    let (back, ways) = counted(&planned(&new, &old));
    assert_eq!(back, moved);
    assert!(ways.iter().all(|(_, to)| to == "c"), "{ways:?}");
}

#[test]
fn a_changed_address_or_token_moves_nobody() {
    let new = [("a", "host: h9"), ("b", "host: h2"), ("c", "host: h3, max_concurrent: 7")];
    let (mut old, new) = (of("", "", &THREE), of("", "", &new));
    // A token that the running gateway has and we have not.
    old.apps[0].instances[1]["token"] = Setting::Secret(None);
    let in_flight = [("shop", [("a", 3), ("b", 4), ("c", 5)])];
    let in_flight = in_flight
        .map(|(app, instances)| (app.into(), instances.map(|(name, n)| (name.into(), n)).into()));
    let changes = plan(&old, &new, Some(&in_flight.into()), SAMPLE).unwrap();
    assert_eq!(counted(&changes), (0, vec![]));
    let shown = serde_json::to_value(&changes.apps[0].instances).unwrap();
    let expected = json!([
        { "instance": "a", "fate": "changed", "address": "h9:5001", "draining": 3,
          "settings": [{ "key": "url", "from": "h1:5001", "to": "h9:5001" }] },
        { "instance": "b", "fate": "changed", "address": "h2:5001", "draining": null,
          "settings": [{ "key": "token", "from": "***", "to": "***" }] },
        { "instance": "c", "fate": "changed", "address": "h3:5001", "draining": null,
          "settings": [{ "key": "max_concurrent", "from": 10, "to": 7 }] },
    ]);
    assert_eq!(shown, expected);
}

#[test]
fn weights_nodes_and_hashes_move_users() {
    let old = of("", "", &THREE);
    let heavier = [("a", "host: h1, weight: 2"), THREE[1], THREE[2]];
    let (moved, ways) = counted(&planned(&old, &of("", "", &heavier)));
    assert!(moved > 0 && ways.iter().all(|(_, to)| to == "a"), "{moved} {ways:?}");
    for app in [
        "consistent_hash: { virtual_nodes: 10 }",
        "consistent_hash: { hash_algorithm: xxh3 }",
        "method: rendezvous",
    ] {
        let (moved, _) = counted(&planned(&old, &of("", &format!("    {app}\n"), &THREE)));
        assert!(moved > SAMPLE / 4, "{app}: {moved}");
    }
}

#[test]
fn an_instance_that_drains_moves_its_new_users_as_if_it_were_gone() {
    let (old, gone) = (of("", "", &THREE), of("", "", &THREE[..2]));
    let drains = of("", "", &[THREE[0], THREE[1], ("c", "host: h3, drain: true")]);
    assert_eq!(counted(&planned(&old, &drains)), counted(&planned(&old, &gone)));
    let none = THREE.map(|(name, _)| (name, "host: h, drain: true"));
    assert_eq!(counted(&planned(&old, &of("", "", &none))).0, 0, "where all drain, none does");
}

#[test]
fn without_an_instance_of_their_own_nobody_moves_and_who_loses_it_does() {
    let app = |method: &str| of("", &format!("    method: {method}\n"), &THREE);
    let moves = |from: &str, to: &str| planned(&app(from), &app(to)).apps[0].moves.clone().unwrap();
    assert_eq!(moves("weighted_round_robin", "least_connections"), Moves::NoHomes);
    assert_eq!(moves("least_connections", "rendezvous"), Moves::HomesGained);
    let lost = moves("consistent_hash", "least_connections");
    assert_eq!((&lost, lost.share()), (&Moves::HomesLost, 1.0));
    // From users to addresses all are dealt anew: two of three come elsewhere.
    let share = moves("consistent_hash", "ip_hash").share();
    assert!((0.5..0.8).contains(&share), "{share}");
}

#[test]
fn apps_come_and_go_and_with_one_go_all_its_users() {
    let text = |apps: &[&str]| {
        apps.iter().fold("apps:\n".to_owned(), |text, app| {
            text + &format!("  {app}: {{ user_tokens: [{app}], instances: [{{ name: a, host: h, token: k }}] }}\n")
        })
    };
    let changes = planned(&shape_of(&text(&["one", "two"])), &shape_of(&text(&["two", "three"])));
    let fates: Vec<_> = changes
        .apps
        .iter()
        .map(|app| (app.app.as_str(), app.fate, app.moved_share(), app.instances.len()))
        .collect();
    assert_eq!(fates, [("three", Fate::Added, 0.0, 1), ("one", Fate::Removed, 1.0, 1)]);
}

#[test]
fn what_needs_a_restart_is_said() {
    let top = "listen: 127.0.0.1:1\nadmin: { listen: 127.0.0.1:2, token: t }\nworkers: 3\n\
        limits: { max_body: 1MiB }\naccess_log: { path: /x }\nerror_log: { path: /y }";
    let changes = changes(&of("", "", &THREE), &of(top, "", &THREE));
    let restart = ["listen", "admin.listen", "workers", "access_log", "error_log"];
    assert_eq!(changes.needs_restart, restart);
    let keys: Vec<_> = changes.settings.iter().map(|change| change.key.as_str()).collect();
    assert!(keys.contains(&"limits.max_body") && keys.contains(&"admin.token"), "{keys:?}");
}

#[test]
fn a_log_line_names_what_changed_and_is_bounded() {
    let line = |old: &FlatConfig, new: &FlatConfig| changes(old, new).to_string();
    let three = of("", "", &THREE);
    assert_eq!(line(&three, &three), "nothing changed");
    let new = of("workers: 2", "    max_load: 2\n", &[("a", "host: h1, weight: 2"), THREE[1]]);
    assert_eq!(line(&three, &new), "shop.max_load, ~shop/a, -shop/c, workers");
    let many: Vec<_> = (0..20).map(|number| (format!("i{number}"), "host: h")).collect();
    let many: Vec<_> = many.iter().map(|(name, more)| (name.as_str(), *more)).collect();
    let line = line(&three, &of("", "", &many));
    assert!(line.starts_with("+shop/i0, ") && line.ends_with(" and 11 more"), "{line}");
}
