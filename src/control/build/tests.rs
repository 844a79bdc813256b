//! What of a configuration stands in the snapshot, and where.

use std::sync::Arc;

use super::{Before, snapshot};
use crate::balance::Method;
use crate::config::{Config, Environment, parse};
use crate::gateway::Key;
use crate::gateway::state::ai_settings::{History, UserForm};
use crate::gateway::state::policy::Storage;
use crate::gateway::state::snapshot::Snapshot;
use crate::model::Token;

fn of(top: &str) -> Snapshot {
    let app = |name: &str, tokens: &str, aliases: &str| {
        format!(
            "  {name}: {{ user_tokens: [{tokens}], aliases: [{aliases}], instances: [{{ name: i, host: h, token: k }}] }}\n"
        )
    };
    let apps = [app("a", "both, only-a", "gpt-4"), app("b", "both", ""), app("c", "c", "x, y")];
    let text = format!("{top}\napps:\n{}", apps.concat());
    let loaded = parse("gateway.yaml", &text, &Environment::default());
    snapshot(&loaded.unwrap_or_else(|faults| panic!("{faults}")).config, None).unwrap()
}

#[test]
fn everyone_is_each_address_once_and_no_two_have_one_name() {
    let text = "apps:\n  a: { user_tokens: [u], instances: [\
        { name: one, host: x, token: k, dataset_token: d, fail_timeout: 1s }, { name: two, host: y, token: k, dataset_token: d }] }\n  \
        b: { user_tokens: [v], instances: [\
        { name: one, host: z, token: l }, { name: other, host: y, token: l }] }\n";
    let with = |top: &str| {
        let loaded = parse("gateway.yaml", &format!("{top}\n{text}"), &Environment::default());
        let config = loaded.unwrap_or_else(|faults| panic!("{faults}")).config;
        snapshot(&config, None).unwrap()
    };
    let everyone = with("").everyone;
    let members = &everyone.pool.members;
    let names: Vec<_> = members.iter().map(|member| member.name().as_str()).collect();
    // The digests are those of the reference code.
    assert_eq!(names, ["one@9f5afb1c1179c53c", "two", "one@f75fdf207362e86b"]);
    for member in members {
        assert!(member.authorization.is_none() && member.datasets.is_none());
        assert!((500..600).all(|status| !member.fail_statuses.contains(status)));
    }
    assert_eq!(everyone.policy.storage, Storage::Independent);
    assert_eq!(with("storage: shared").everyone.policy.storage, Storage::Shared);
}

#[test]
fn everyone_is_a_service_with_the_api_too_and_no_other() {
    let services = |host: &str| {
        of(&format!(
            "storage: shared\nservices: {{ dify: compose, api: {{ instances: [{{ host: {host}, port: 5001 }}] }} }}"
        ))
    };
    let everyone = services("whole").everyone;
    let addresses = everyone.pool.members.iter();
    let addresses: Vec<_> = addresses.map(|member| member.instance.address().to_string()).collect();
    assert_eq!(addresses, ["h:5001", "whole:5001"]);
    assert_eq!(everyone.policy.storage, Storage::Independent, "it may be another Dify");
    let everyone = services("h").everyone;
    assert_eq!((everyone.pool.members.len(), everyone.policy.storage), (1, Storage::Shared));
}

#[test]
fn a_user_token_is_a_key_by_its_fingerprint() {
    let snapshot = of("");
    let key = |apps: &[usize], name: &str| Key {
        name: Token::new(name).fingerprint().into(),
        apps: apps.into(),
        is_user_token: true,
        is_admin: false,
        impersonates: false,
        trusted_proxy: false,
        user: None,
    };
    assert_eq!(**snapshot.tokens.key(b"both").unwrap(), key(&[0, 1], "both"));
    assert_eq!(**snapshot.tokens.key(b"only-a").unwrap(), key(&[0], "only-a"));
    assert_eq!(snapshot.tokens.key(b"k"), None);
    assert!(snapshot.anonymous.is_none());
}

#[test]
fn a_key_opens_its_apps_in_the_order_of_the_configuration() {
    let snapshot = of(
        "keys:\n  - { name: all, secret: sk-all, admin: true }\n  - { name: two, secret: sk-two, \
         apps: [c, a, c], trusted_proxy: true, user: team }\n  - { name: nobody, anonymous: true, apps: [b] }",
    );
    let all = snapshot.tokens.key(b"sk-all").unwrap();
    assert_eq!((&*all.name, &all.apps[..], all.is_admin), ("all", &[0, 1, 2][..], true));
    assert_eq!((all.trusted_proxy, all.user.as_deref()), (false, None));
    let two = snapshot.tokens.key(b"sk-two").unwrap();
    assert_eq!((&*two.name, &two.apps[..], two.is_admin), ("two", &[0, 2][..], false));
    assert_eq!((two.trusted_proxy, two.user.as_deref()), (true, Some("team")));
    assert_eq!(snapshot.tokens.apps(b"sk-two"), Some(&[0, 2][..]));
    let nobody = snapshot.anonymous.as_ref().unwrap();
    assert_eq!((&*nobody.name, &nobody.apps[..]), ("nobody", &[1][..]));
}

#[test]
fn names_and_aliases_are_models() {
    let models = of("").models;
    let listed: Vec<_> = models.iter().map(|(id, app)| (&**id, app)).collect();
    assert_eq!(listed, [("a", 0), ("gpt-4", 0), ("b", 1), ("c", 2), ("x", 2), ("y", 2)]);
    for (id, app) in [("a", Some(0)), ("gpt-4", Some(0)), ("y", Some(2)), ("A", None), ("", None)] {
        assert_eq!(models.app(id), app, "{id}");
    }
}

#[test]
fn each_app_has_its_ai_settings() {
    let snapshot = of("ai: { users: open_webui, history: stateless, user_headers: [X-User], \
                       user_jwt: { secret: hush } }");
    let ai = &snapshot.apps[2].ai;
    assert_eq!((ai.users, ai.history), (UserForm::OpenWebUi, History::Stateless));
    assert_eq!(ai.user_headers, ["x-user"]);
    assert_eq!(ai.chat_id_headers, ["x-openwebui-chat-id"]);
    let jwt = ai.user_jwt.as_ref().unwrap();
    assert_eq!((jwt.header.as_str(), jwt.secret.expose()), ("x-openwebui-user-jwt", "hush"));
}

fn parsed(text: &str) -> Config {
    let loaded = parse("gateway.yaml", text, &Environment::default());
    loaded.unwrap_or_else(|faults| panic!("{faults}")).config
}

fn three_apps(settings_of_b: &str, token_of_b: &str) -> String {
    let app = |name: &str, settings: &str, token: &str| {
        format!(
            "  {name}: {{ {settings} user_tokens: [{name}], instances: [{{ name: i, host: h, \
             token: {token} }}, {{ name: j, host: k, token: t }}] }}\n"
        )
    };
    ["apps:\n", &app("a", "", "k"), &app("b", settings_of_b, token_of_b), &app("c", "", "k")]
        .concat()
}

#[test]
fn what_has_not_changed_is_shared_with_the_snapshot_before() {
    let config = parsed(&three_apps("", "k"));
    let first = snapshot(&config, None).unwrap();
    let shared = |old: &Snapshot, new: &Snapshot| -> Vec<bool> {
        old.apps.iter().zip(&new.apps).map(|(old, new)| Arc::ptr_eq(old, new)).collect()
    };
    let next = |text: &str| {
        let before = Before { config: &config, snapshot: &first };
        snapshot(&parsed(text), Some(before)).unwrap()
    };
    assert_eq!(shared(&first, &next(&three_apps("", "k"))), [true, true, true]);
    let changed = next(&three_apps("", "other"));
    assert_eq!(shared(&first, &changed), [true, false, true]);
    assert_eq!(changed.probed.len(), first.probed.len());
    for (old, new) in first.apps[1].pool.members.iter().zip(&changed.apps[1].pool.members) {
        assert!(Arc::ptr_eq(&old.stats, &new.stats) && Arc::ptr_eq(&old.instance, &new.instance));
        let probes = [old, new].map(|member| member.probed.as_ref().map(Arc::as_ptr));
        assert_eq!(probes[0], probes[1]);
    }
    assert!(changed.removed.is_empty());
    // What comes from the top is in every app.
    let top = format!("instance_header: false\n{}", three_apps("", "k"));
    assert_eq!(shared(&first, &next(&top)), [false, false, false]);
    let top = format!("storage: shared\n{}", three_apps("", "k"));
    assert_eq!(shared(&first, &next(&top)), [false, false, false]);
}

#[test]
fn what_is_kept_by_address_changes_apps_that_are_written_as_before() {
    let config = parsed(&three_apps("", "k"));
    let first = snapshot(&config, None).unwrap();
    let text = three_apps("", "k, max_fails: 1");
    let before = Before { config: &config, snapshot: &first };
    let next = snapshot(&parsed(&text), Some(before)).unwrap();
    for app in &next.apps {
        assert_eq!(app.pool.members[0].thresholds.max_fails, 1, "{}", app.name);
        assert_eq!(app.pool.members[1].thresholds.max_fails, 3, "{}", app.name);
    }
}

#[test]
fn one_ring_serves_all_apps_whose_instances_have_the_same_names() {
    let snapshot = snapshot(&parsed(&three_apps("method: rendezvous,", "k")), None).unwrap();
    let ring = |place: usize| match &snapshot.apps[place].pool.method {
        Method::ConsistentHash(ring) => Some(Arc::as_ptr(ring)),
        _ => None,
    };
    assert!(ring(0).is_some() && ring(1).is_none());
    assert_eq!(ring(0), ring(2));
}
