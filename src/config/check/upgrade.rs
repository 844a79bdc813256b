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

/// DiagnosticSink what has changed since 0.1.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    keys(raw, places, sink);
    slots(raw, places, sink);
    statuses(raw, places, sink);
    former_name(raw, places, sink);
    ai(raw, places, sink);
    admin(raw, places, sink);
    let mut note = |path: &[Step<'_>], message: &str| sink.changed(places.key(path), message);
    if !raw.trusted_proxies.is_empty() {
        let message = "since 0.1 `Forwarded` from these proxies is read too";
        note(&[Step::Key("trusted_proxies")], message);
    }
    if matches!(raw.access_log, AccessLog::File { .. }) {
        let message = "since 0.1 a new access log is readable by its owner and group only (0640)";
        note(&[Step::Key("access_log")], message);
    }
    let by_user_token = raw.apps.values().any(|app| !app.user_tokens.is_empty());
    if places.has(&[Step::Key("conversations")]) && by_user_token {
        let message = "since 0.1 a user token cannot clean up conversations (403): a key of `keys` can, \
                       or the admin side";
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
        "since 0.1 a key speaks for its own users on Dify's own paths, too (`alice` is `<key>:alice`): \
         write `impersonate: true` where it is to name any user as before, else `impersonate: false`: \
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
                let message = "since 0.1 an instance has 10 connections where `max_concurrent` is not \
                               written (1000 before)";
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
        let message = "since 0.1 response statuses take an instance out for the app that got them, not \
                       for all";
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
            let message = "since 0.1 `user_jwt` holds with every key: without a valid token a request is \
                           401";
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
        let message = "since 0.1 bodies of AI clients are at most 32 MiB (`ai.max_body`)";
        sink.changed(places.key(&path), message);
    }
}

fn former_name(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let is_former = |path: &Vec<Step<'_>>| places.name(path).is_some_and(is_former);
    if let Some(path) = paths(raw).find(is_former) {
        sink.changed(places.key(&path), "since 0.1 `doors` is called `ai`, at the top and in apps");
    }
}

fn admin(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let admin = &raw.admin;
    let is_written = |key| places.has(&[Step::Key("admin"), Step::Key(key)]);
    if is_written("allow") && admin.token.is_none() {
        let message =
            "since 0.1 without a `token` connections from anywhere else are closed at once";
        sink.changed(places.key(&[Step::Key("admin"), Step::Key("allow")]), message);
    }
    if !admin.listen.ip().is_loopback() && admin.token.is_none() && admin.hosts.is_empty() {
        let message = "since 0.1 names with a dot get 421 from the admin side unless `admin.hosts` has \
                       them, or a token comes with the request";
        sink.changed(places.key(&[Step::Key("admin"), Step::Key("listen")]), message);
    }
}

#[cfg(test)]
mod tests;
