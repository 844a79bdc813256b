//! What no single key can tell: whether the parts of a configuration fit together.
//!
//! Every check notes what it finds and goes on, so that an operator sees all of it at once. What
//! belongs to one app stands in `app`.

mod ai;
mod app;
mod durations;
mod exposure;
mod keys;
mod listeners;
mod probes;
mod services;
mod store;
mod timeouts;
mod tls;
mod upgrade;

use std::collections::HashMap;

use crate::background;
use crate::config::balancing::Method;
use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::raw::{RawApp, RawConfig, RawInstance};
use crate::config::spelling::is_former;
use crate::config::yaml::{Places, Step};
use crate::model::Address;
use crate::model::units::format_size;

/// Checks everything.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    listeners::check(raw, places, sink);
    admin(raw, places, sink);
    if let Some(token) = &raw.admin.token
        && let Some(fault) = app::token_fault(token)
    {
        let span = places.value(&[Step::Key("admin"), Step::Key("token")]);
        sink.add(DiagnosticBuilder::error(span, format!("`token` {fault}")).hint(app::TOKEN_HINT));
    }
    let limits = &raw.limits;
    if limits.memory_body > limits.max_body {
        let key = if places.has(&[Step::Key("limits"), Step::Key("memory_body")]) {
            "memory_body"
        } else {
            "max_body"
        };
        let memory_body = format_size(limits.memory_body);
        let draft = DiagnosticBuilder::error(
            places.value(&[Step::Key("limits"), Step::Key(key)]),
            "`memory_body` is larger than `max_body`",
        );
        let from_environment = places.is_from_environment(&[Step::Key("limits"), Step::Key(key)]);
        sink.add(if key == "max_body" && !from_environment {
            draft.hint(format!("write a `memory_body` too; without one it is {memory_body}"))
        } else {
            draft.hint("`memory_body` is the part of a body that is kept in memory")
        });
    }
    if !places.has(&[Step::Key("apps")]) && !places.has(&[Step::Key("services")]) {
        sink.add(
            DiagnosticBuilder::error(places.key(&[Step::Key("apps")]), "there are no `apps`")
                .hint("write at least one app with `user_tokens` and `instances`"),
        );
    }
    for (name, app) in &raw.apps {
        background::give_way();
        app::check(name, app, &raw.keys, places, sink);
    }
    keys::check(raw, places, sink);
    ai::check(raw, places, sink);
    probes::check(raw, places, sink);
    services::check(raw, places, sink);
    store::check(raw, places, sink);
    timeouts::check(raw, places, sink);
    tls::check(raw, places, sink);
    engine(raw, places, sink);
    former_names(raw, places, sink);
    upgrade::check(raw, places, sink);
    unread(raw, places, sink);
    bypasses(raw, places, sink);
    exposure::check(raw, places, sink);
    durations::check(places, sink);
    shared_addresses(raw, places, sink);
}

/// A choice that is no longer there.
fn engine(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    if raw.engine.is_some() {
        let message = "`engine` has no effect: there is one engine for HTTP/1.1, the gateway's own";
        let hint = "remove it; the next release refuses it";
        sink.add(
            DiagnosticBuilder::warning(places.key(&[Step::Key("engine")]), message).hint(hint),
        );
    }
}

/// `ai` under its name of before.
fn former_names(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    for path in ai::paths(raw) {
        if places.name(&path).is_some_and(is_former) {
            let draft = DiagnosticBuilder::warning(places.key(&path), "`doors` is now called `ai`");
            sink.add(draft.hint("rename it; the next release refuses `doors`"));
        }
    }
}

/// A key, its path below the top or an app, and the methods that read it.
type MethodSetting<'a> = (&'a str, &'a [Step<'a>], fn(Method) -> bool);

/// Settings that the chosen method does not read.
fn unread(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let ring = Step::Key("consistent_hash");
    let settings: [MethodSetting<'_>; 4] = [
        ("virtual_nodes", &[ring, Step::Key("virtual_nodes")], Method::has_ring),
        ("hash_algorithm", &[ring, Step::Key("hash_algorithm")], Method::hashes),
        ("max_load", &[Step::Key("max_load")], Method::hashes),
        ("slow_start", &[Step::Key("slow_start")], Method::hashes),
    ];
    let method = |app: &RawApp| app.method.unwrap_or(raw.method);
    for (key, path, reads) in settings {
        let mut unread = |path: &[Step<'_>], message: String| {
            if places.has(path) {
                sink.add(
                    DiagnosticBuilder::warning(places.value(path), message)
                        .hint("remove it, or choose a `method` that uses it"),
                );
            }
        };
        if !raw.apps.is_empty() && !raw.apps.values().any(|app| reads(method(app))) {
            unread(path, format!("no app's `method` uses `{key}`"));
        }
        for (name, app) in raw.apps.iter().filter(|(_, app)| !reads(method(app))) {
            let path = [&[Step::Key("apps"), Step::Key(name)], path].concat();
            unread(&path, format!("`{key}` is not used by `method: {}`", method(app).label()));
        }
    }
}

/// Whoever has an app's key of Dify and reaches the instance needs no gateway.
fn bypasses(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let mut users: HashMap<_, Vec<_>> =
        keys::user_tokens(raw).into_iter().map(|(token, path)| (token, path.to_vec())).collect();
    for (index, key) in raw.keys.iter().enumerate() {
        let Some(secret) = &key.secret else { continue };
        users.entry(secret).or_insert(keys::part(index, "secret").to_vec());
    }
    for (name, app) in &raw.apps {
        for (index, instance) in app.instances.iter().enumerate() {
            for (key, token) in
                [("token", &instance.token), ("dataset_token", &instance.dataset_token)]
            {
                let user = token.as_ref().and_then(|token| users.get(token));
                let Some(user) = user else { continue };
                let (apps, item) = (Step::Key("apps"), Step::Item(index));
                let at = [apps, Step::Key(name), Step::Key("instances"), item, Step::Key(key)];
                let message = "this is also a user token: its clients can bypass the gateway";
                sink.add(
                    DiagnosticBuilder::warning(places.value(&at), message)
                        .hint(
                            "choose another user token; the app's key in Dify is for the gateway only",
                        )
                        .related(places.value(user), "the same token"),
                );
            }
        }
    }
}

fn admin(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let admin = &raw.admin;
    let admin_listen = [Step::Key("admin"), Step::Key("listen")];
    if !admin.listen.ip().is_loopback() && admin.token.is_none() && admin.allow.is_empty() {
        let message = "`admin` listens beyond this machine, but with neither `token` nor `allow` it \
                       answers only loopback clients";
        sink.add(
            DiagnosticBuilder::warning(places.value(&admin_listen), message)
                .hint("add `allow: [10.0.0.0/8]` or a `token`, or listen on `127.0.0.1`"),
        );
    }
    for (index, host) in admin.hosts.iter().enumerate() {
        if !tls::is_host(host.strip_prefix("*.").unwrap_or(host)) {
            let at = [Step::Key("admin"), Step::Key("hosts"), Step::Item(index)];
            let hint = "write `gateway.example.com`, or `*.example.com` for every name below it, without \
                        scheme and port; addresses need no line";
            let message = "this is not a valid host name";
            sink.add(DiagnosticBuilder::error(places.value(&at), message).hint(hint));
        }
    }
}

/// Connections and failures are counted per address, whichever app uses it.
fn shared_addresses(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let mut first: HashMap<&Address, (&RawInstance, [Step<'_>; 4])> = HashMap::new();
    for (name, app) in &raw.apps {
        for (index, instance) in app.instances.iter().enumerate() {
            let Some(address) = instance.address() else { continue };
            let path =
                [Step::Key("apps"), Step::Key(name), Step::Key("instances"), Step::Item(index)];
            let Some((other, other_path)) = first.get(address) else {
                first.insert(address, (instance, path));
                continue;
            };
            let Some(key) = difference(instance, other) else { continue };
            let [a, b, c, d] = path;
            let message = format!("another instance with this address has another `{key}`");
            let span = places.value(&[a, b, c, d, Step::Key(key)]);
            let draft = match key {
                // None of two is the safer one.
                "tls" => DiagnosticBuilder::error(span, message).hint("write the same for both"),
                _ => DiagnosticBuilder::warning(span, message)
                    .hint("these settings are per address; the smallest value is used"),
            };
            sink.add(draft.related(places.value(other_path), "the other instance"));
        }
    }
}

/// The first setting of an address in which two instances differ.
fn difference(one: &RawInstance, other: &RawInstance) -> Option<&'static str> {
    [
        ("tls", one.tls == other.tls),
        ("max_concurrent", one.max_concurrent == other.max_concurrent),
        ("max_runs", one.max_runs == other.max_runs),
        ("queue", one.queue == other.queue),
        ("max_fails", one.max_fails == other.max_fails),
        ("fail_timeout", one.fail_timeout == other.fail_timeout),
    ]
    .into_iter()
    .find_map(|(key, same)| (!same).then_some(key))
}
