//! What works and lets in more than was meant: warnings.
//!
//! Those about secrets are told by `difygate check` and at a start, and not once more at each reload.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::raw::{RawApp, RawConfig};
use crate::config::yaml::{Places, Step};
use crate::model::{Address, Token};

const PLACEHOLDER: &str = "looks like a placeholder";

/// A shorter secret is soon found by trying.
const SHORTEST: usize = 8;

/// Checks who is let in, and by what.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    everybody(raw, places, sink);
    shared_tokens(raw, places, sink);
    for (name, app) in &raw.apps {
        twice(name, app, places, sink);
    }
    secrets(raw, places, sink);
    app_keys(raw, places, sink);
}

/// Networks that are the whole world.
fn everybody(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let mut find = |nets: &[IpNet], path: &[Step<'_>], message: &str, hint: &str| {
        let Some(index) = nets.iter().position(|net| net.prefix_len() == 0) else { return };
        let span = places.value(&[path, &[Step::Item(index)]].concat());
        sink.add(DiagnosticBuilder::warning(span, message).hint(hint));
    };
    find(
        &raw.admin.allow,
        &[Step::Key("admin"), Step::Key("allow")],
        "this makes everybody an operator who reaches the admin side",
        "name the networks of operators, such as `10.0.0.0/8`, or use a `token`",
    );
    find(
        &raw.trusted_proxies,
        &[Step::Key("trusted_proxies")],
        "this lets every client say which address it has",
        "name the addresses of your proxies",
    );
}

/// What is wrong with a secret that opens something, as a predicate.
fn weakness(secret: &str) -> Option<&'static str> {
    const PLACEHOLDERS: [&str; 9] = [
        "changeme",
        "change-me",
        "change_me",
        "placeholder",
        "your-",
        "your_",
        "xxxx",
        "<",
        "replace",
    ];
    const WORDS: [&str; 8] =
        ["secret", "password", "token", "admin", "difygate", "12345678", "123456789", "1234567890"];
    let lower = secret.to_ascii_lowercase();
    if PLACEHOLDERS.iter().any(|part| lower.contains(part)) || WORDS.contains(&&*lower) {
        Some(PLACEHOLDER)
    } else if secret.len() < SHORTEST {
        Some("is shorter than 8 characters")
    } else {
        None
    }
}

fn secrets(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let mut look = |what: &str, secret: &Token, path: &[Step<'_>]| {
        // What is empty is an error already.
        let Some(fault) = weakness(secret.expose()).filter(|_| !secret.expose().is_empty()) else {
            return;
        };
        let message =
            format!("{what} {fault}: `openssl rand -hex 16` prints one that nobody guesses");
        sink.change(DiagnosticBuilder::warning(places.value(path), message));
    };
    if let Some(token) = &raw.admin.token {
        look("the admin token", token, &[Step::Key("admin"), Step::Key("token")]);
    }
    for (index, key) in raw.keys.iter().enumerate() {
        if let Some(secret) = &key.secret {
            look("this key's secret", secret, &super::keys::part(index, "secret"));
        }
    }
    let jwt = [Step::Key("ai"), Step::Key("user_jwt"), Step::Key("secret")];
    if let Some(signed) = &raw.ai.user_jwt {
        look("the secret of `user_jwt`", &signed.secret, &jwt);
    }
    for (name, app) in &raw.apps {
        let at = [Step::Key("apps"), Step::Key(name)];
        if let Some(signed) = &app.ai.user_jwt {
            look("the secret of `user_jwt`", &signed.secret, &[&at[..], &jwt].concat());
        }
        for (index, token) in app.user_tokens.iter().enumerate() {
            let path = [at[0], at[1], Step::Key("user_tokens"), Step::Item(index)];
            look("this user token", token, &path);
        }
    }
}

/// Dify makes its own keys: only what nobody has put in yet is worth a word.
fn app_keys(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    for (name, app) in &raw.apps {
        for (index, instance) in app.instances.iter().enumerate() {
            let weakness = instance.token.as_ref().and_then(|token| weakness(token.expose()));
            if weakness == Some(PLACEHOLDER) {
                let [apps, item] = [Step::Key("apps"), Step::Item(index)];
                let path =
                    [apps, Step::Key(name), Step::Key("instances"), item, Step::Key("token")];
                let message = "this looks like a placeholder for the app's key in Dify: copy the key from the \
                               app's page there (API Access, API Key)";
                sink.change(DiagnosticBuilder::warning(places.value(&path), message));
            }
        }
    }
}

/// Two instances of one app that are one Dify.
fn twice(name: &str, app: &RawApp, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let path = |index| {
        let list = Step::Key("instances");
        [Step::Key("apps"), Step::Key(name), list, Step::Item(index), Step::Key("name")]
    };
    let mut first: HashMap<&Address, usize> = HashMap::new();
    for (index, instance) in app.instances.iter().enumerate() {
        let Some(address) = instance.address() else { continue };
        let other = *first.entry(address).or_insert(index);
        if other != index {
            let message = "this instance has the address of another one of the same app";
            sink.add(
                DiagnosticBuilder::warning(places.value(&path(index)), message)
                    .hint("they are one Dify: correct the address, or remove one; `weight` gives an instance more users")
                    .related(places.value(&path(other)), "the other one"),
            );
        }
    }
}

/// Apps whose clients have one token: they must say which app they mean.
fn shared_tokens(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let mut first: HashMap<&Token, &str> = HashMap::new();
    for (name, app) in &raw.apps {
        let shared = app.user_tokens.iter().enumerate().find_map(|(index, token)| {
            let other = *first.entry(token).or_insert(name);
            (other != name).then_some((index, other))
        });
        let Some((index, other)) = shared else { continue };
        let path =
            [Step::Key("apps"), Step::Key(name), Step::Key("user_tokens"), Step::Item(index)];
        let is_shown = |name: &str| crate::config::key_table::is_name(name);
        if is_shown(name) && is_shown(other) {
            let message = format!(
                "this token is one of app `{other}`, too: with it a request on Dify's own paths names its app, \
                 `X-Difygate-App: {name}`, or gets 400; for OpenAI and Anthropic clients `model` names it"
            );
            sink.changed(places.value(&path), &message);
        }
    }
}
