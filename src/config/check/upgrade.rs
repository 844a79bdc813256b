//! What an earlier version did otherwise with a configuration, as far as the file shows that it matters.
//!
//! These are no faults. `difygate check` tells them, and a start those that are warnings; the page
//! `docs/upgrade.md` has the whole list.

use super::ai::paths;
use crate::config::access_log::AccessLog;
use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::raw::{RawAi, RawConfig};
use crate::config::spelling::is_former;
use crate::config::yaml::{Places, Step};

/// What AI clients' bodies may be at most where nothing is written.
const CLIENT_BODY_BYTES: u64 = 32 << 20;

/// Notes what has changed after 0.1.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    keys(raw, places, sink);
    slots(raw, places, sink);
    statuses(raw, places, sink);
    former_name(raw, places, sink);
    ai(raw, places, sink);
    admin(raw, places, sink);
    let mut note = |path: &[Step<'_>], message: &str| sink.changed(places.key(path), message);
    if !raw.trusted_proxies.is_empty() {
        let message = "0.1 did not read `Forwarded` from these proxies; now it is read too";
        note(&[Step::Key("trusted_proxies")], message);
    }
    if matches!(raw.access_log, AccessLog::File { .. }) {
        let message = "0.1 made an access log that everybody could read; now a new one is for its owner and group only \
                       (0640)";
        note(&[Step::Key("access_log")], message);
    }
    let log = match &raw.access_log {
        AccessLog::File { path, .. } => Some(path),
        AccessLog::Off | AccessLog::Stdout(_) => None,
    };
    for (key, path) in [
        ("access_log", log),
        ("spool_dir", raw.spool_dir.as_ref()),
        ("store", raw.store.path.as_ref()),
    ] {
        if path.is_some_and(|path| path.is_relative()) {
            let message = "0.1 took this relative path from where it was started; now it starts at the folder of \
                           this file";
            note(&[Step::Key(key)], message);
        }
    }
    let by_user_token = raw.apps.values().any(|app| !app.user_tokens.is_empty());
    if places.has(&[Step::Key("conversations")]) && by_user_token {
        let message = "0.1 let a user token clean up conversations; now it gets 403: a key of `keys` can, or the \
                       admin side";
        note(&[Step::Key("conversations")], message);
    }
}

/// Keys that named any user on Dify's own paths. Which of them did, nobody has written down.
fn keys(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let has_secret = raw.keys.iter().enumerate().filter(|(_, key)| key.secret.is_some());
    let unsaid: Vec<_> = has_secret.filter(|(_, key)| key.impersonate.is_none()).collect();
    let Some((first, _)) = unsaid.first() else { return };
    let name = |index: usize, name: &str| {
        let path = [Step::Key("keys"), Step::Item(index), Step::Key("name")];
        match places.is_from_environment(&path) {
            true => format!("key {}", index + 1),
            false => format!("`{name}`"),
        }
    };
    let names: Vec<_> = unsaid.iter().map(|(index, key)| name(*index, &key.name)).collect();
    let message = format!(
        "0.1 let a key name any user on Dify's own paths; now it speaks for its own users there, too \
         (`alice` is `<key>:alice`): write `impersonate: true` where it is to name any user as before, else `impersonate: false`: \
         {}",
        names.join(", ")
    );
    let place = places.key(&[Step::Key("keys"), Step::Item(*first), Step::Key("name")]);
    sink.change(DiagnosticBuilder::warning(place, message));
}

fn slots(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    for (name, app) in &raw.apps {
        for index in 0..app.instances.len() {
            let path = [
                Step::Key("apps"),
                Step::Key(name),
                Step::Key("instances"),
                Step::Item(index),
                Step::Key("max_concurrent"),
            ];
            if !places.has(&path) {
                let message = "0.1 gave an instance 1000 connections where `max_concurrent` is not \
                               written; now it has 10";
                return sink.changed(places.value(&path[..4]), message);
            }
        }
    }
}

fn statuses(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let top = [Step::Key("fail_statuses")];
    let of_apps = raw
        .apps
        .keys()
        .map(|name| vec![Step::Key("apps"), Step::Key(name), Step::Key("fail_statuses")]);
    let mut paths = std::iter::once(top.to_vec()).chain(of_apps);
    if let Some(path) = paths.find(|path| places.has(path)) {
        let message = "0.1 took an instance out for all apps by response statuses; now for the app that \
                       got them";
        sink.changed(places.key(&path), message);
    }
}

fn ai(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let of_apps = raw
        .apps
        .iter()
        .map(|(name, app)| (vec![Step::Key("apps"), Step::Key(name), Step::Key("ai")], &app.ai));
    let all: Vec<(Vec<Step<'_>>, &RawAi)> =
        std::iter::once((vec![Step::Key("ai")], &raw.ai)).chain(of_apps).collect();
    for (path, ai) in &all {
        if ai.user_jwt.is_some() {
            let message = "0.1 took the body's `user` where the token of `user_jwt` was missing; now with every \
                           key a request without a valid one is 401";
            let path = [&path[..], &[Step::Key("user_jwt")]].concat();
            sink.changed(places.key(&path), message);
        }
    }
    let path = [Step::Key("limits"), Step::Key("max_body")];
    let serves_clients = !raw.keys.is_empty() || places.has(&[Step::Key("ai")]);
    let is_written =
        all.iter().any(|(path, _)| places.has(&[&path[..], &[Step::Key("max_body")]].concat()));
    if raw.limits.max_body > CLIENT_BODY_BYTES && places.has(&path) && serves_clients && !is_written
    {
        let message = "0.1 held bodies of AI clients to `limits.max_body`; now they are at most 32 MiB \
                       (`ai.max_body`)";
        sink.changed(places.key(&path), message);
    }
}

fn former_name(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let is_former = |path: &Vec<Step<'_>>| places.name(path).is_some_and(is_former);
    if let Some(path) = paths(raw).find(is_former) {
        sink.changed(
            places.key(&path),
            "0.1 called this `doors`; now it is `ai`, at the top and in apps",
        );
    }
}

fn admin(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let admin = &raw.admin;
    let is_written = |key| places.has(&[Step::Key("admin"), Step::Key(key)]);
    if is_written("allow") && admin.token.is_none() {
        let message = "0.1 answered connections from anywhere else with 403; now without a `token` they are closed \
             at once";
        sink.changed(places.key(&[Step::Key("admin"), Step::Key("allow")]), message);
    }
    if !admin.listen.ip().is_loopback() && admin.token.is_none() && admin.hosts.is_empty() {
        let message = "0.1 answered on the admin side by any name; now names with a dot get 421 unless \
                       `admin.hosts` has them, or a token comes with the request";
        sink.changed(places.key(&[Step::Key("admin"), Step::Key("listen")]), message);
    }
}

#[cfg(test)]
mod tests;
