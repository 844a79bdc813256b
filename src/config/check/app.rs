//! Whether one app is whole: its name, its tokens, its instances.

use std::collections::HashMap;

use crate::config::address::{self, Unusable};
use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::key_table::is_name;
use crate::config::raw::{RawApp, RawKey};
use crate::config::yaml::{Places, Step};
use crate::model::Token;

/// For a token that cannot be sent.
pub(super) const TOKEN_HINT: &str =
    "a token is sent in a header: printable ASCII without blanks, at most 1024 characters";

const NAME_HINT: &str = "a name has 1 to 64 of the characters `A-Z a-z 0-9 . _ -`";

/// Checks one app.
pub(super) fn check(
    name: &str,
    app: &RawApp,
    keys: &[RawKey],
    places: &Places<'_>,
    sink: &mut DiagnosticSink,
) {
    let checker = AppCheck { name, app, places };
    let key = places.key(&checker.path());
    if !is_name(name) {
        let message = "this is not a name for an app";
        sink.add(DiagnosticBuilder::error(key.clone(), message).hint(NAME_HINT));
    }
    let is_opened = keys.iter().any(|key| key.opens(name));
    for (part, hint) in [
        (
            "user_tokens",
            "write `user_tokens: [usertoken-…]`: clients that send one of them may use the app",
        ),
        ("instances", "write `instances:` and below it `- { name: dify1, host: …, token: app-… }`"),
    ] {
        if part == "user_tokens" && is_opened {
            continue;
        }
        if !places.has(&[Step::Key("apps"), Step::Key(name), Step::Key(part)]) {
            let message = format!("{} has no `{part}`", checker.label());
            sink.add(DiagnosticBuilder::error(key.clone(), message).hint(hint));
        }
    }
    checker.tokens(sink);
    checker.dataset_tokens(sink);
    let mut names = HashMap::with_capacity(app.instances.len());
    for (index, instance) in app.instances.iter().enumerate() {
        let first = *names.entry(instance.name.as_str()).or_insert(index);
        checker.instance(index, first, sink);
    }
}

/// What is wrong with a token, as a predicate.
pub(super) fn token_fault(token: &Token) -> Option<&'static str> {
    let text = token.expose();
    if text.is_empty() {
        Some("is empty")
    } else if text.chars().any(char::is_whitespace) {
        Some("contains a space or a line break")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("contains a control or non-ASCII character")
    } else if text.len() > 1024 {
        Some("is longer than 1024 characters")
    } else {
        None
    }
}

struct AppCheck<'a> {
    name: &'a str,
    app: &'a RawApp,
    places: &'a Places<'a>,
}

impl<'a> AppCheck<'a> {
    fn path(&self) -> [Step<'a>; 2] {
        [Step::Key("apps"), Step::Key(self.name)]
    }

    fn token_path(&self, index: usize) -> [Step<'a>; 4] {
        let [apps, app] = self.path();
        [apps, app, Step::Key("user_tokens"), Step::Item(index)]
    }

    fn path_in(&self, index: usize, key: &'a str) -> [Step<'a>; 5] {
        let [apps, app] = self.path();
        [apps, app, Step::Key("instances"), Step::Item(index), Step::Key(key)]
    }

    fn label(&self) -> String {
        if is_name(self.name) { format!("app `{}`", self.name) } else { "this app".to_owned() }
    }

    /// An instance by its name, or by its number if the name must not be shown.
    fn instance_label(&self, index: usize) -> String {
        let name = &self.app.instances[index].name;
        let hidden = self.places.is_from_environment(&self.path_in(index, "name"));
        if is_name(name) && !hidden {
            format!("instance `{name}` of {}", self.label())
        } else {
            format!("instance {} of {}", index + 1, self.label())
        }
    }

    fn tokens(&self, sink: &mut DiagnosticSink) {
        let tokens = &self.app.user_tokens;
        let at = |index| self.places.value(&self.token_path(index));
        let mut seen = HashMap::with_capacity(tokens.len());
        for (index, token) in tokens.iter().enumerate() {
            let first = *seen.entry(token).or_insert(index);
            if let Some(fault) = token_fault(token) {
                let message = format!("a user token of {} {fault}", self.label());
                sink.add(DiagnosticBuilder::error(at(index), message).hint(TOKEN_HINT));
            } else if first != index {
                let message = format!("{} has this user token twice", self.label());
                sink.add(
                    DiagnosticBuilder::error(at(index), message)
                        .hint("remove one of them")
                        .related(at(first), "the same token"),
                );
            }
        }
    }

    /// A dataset may be on any of the instances, so none of them can be left out.
    fn dataset_tokens(&self, sink: &mut DiagnosticSink) {
        let instances = &self.app.instances;
        let with = instances.iter().position(|instance| instance.dataset_token.is_some());
        let without = instances.iter().position(|instance| instance.dataset_token.is_none());
        let (Some(with), Some(without)) = (with, without) else { return };
        let item = self.path_in(without, "name");
        let message = format!("{} has no `dataset_token`", self.instance_label(without));
        sink.add(
            DiagnosticBuilder::error(self.places.value(&item), message)
                .hint("write one for each instance of the app, or for none")
                .related(self.places.value(&self.path_in(with, "dataset_token")), "this one has"),
        );
    }

    /// `first` is the place of the first instance with the same name.
    fn instance(&self, index: usize, first: usize, sink: &mut DiagnosticSink) {
        let instance = &self.app.instances[index];
        let at = |key| self.places.value(&self.path_in(index, key));
        let has = |key| self.places.has(&self.path_in(index, key));
        let name_hint = "give it a name that stays when the address changes, such as `name: dify1`";
        let token_hint = "write the app's key in this Dify: `app-…`, or `file:/run/secrets/…`";
        for (key, is_read, hint) in [
            ("name", !instance.name.is_empty(), name_hint),
            ("token", instance.token.is_some(), token_hint),
        ] {
            if !is_read && !has(key) {
                let message = format!("{} has no `{key}`", self.instance_label(index));
                sink.add(DiagnosticBuilder::error(at(key), message).hint(hint));
            }
        }
        if !instance.name.is_empty() && !is_name(&instance.name) {
            let message = "this is not a name for an instance";
            sink.add(DiagnosticBuilder::error(at("name"), message).hint(NAME_HINT));
        }
        if first != index && is_name(&instance.name) {
            let message = format!("{} has two instances with this name", self.label());
            sink.add(
                DiagnosticBuilder::error(at("name"), message)
                    .hint("the hash ring uses the name: give each instance its own")
                    .related(self.places.value(&self.path_in(first, "name")), "the first of them"),
            );
        }
        for (key, token) in [("token", &instance.token), ("dataset_token", &instance.dataset_token)]
        {
            let Some(fault) = token.as_ref().and_then(token_fault) else { continue };
            let what = key.replace('_', " ");
            let message = format!("the {what} of {} {fault}", self.instance_label(index));
            sink.add(DiagnosticBuilder::error(at(key), message).hint(TOKEN_HINT));
        }
        self.address(index, sink);
    }

    fn address(&self, index: usize, sink: &mut DiagnosticSink) {
        let instance = &self.app.instances[index];
        let has = |key| self.places.has(&self.path_in(index, key));
        let at = |key| self.places.value(&self.path_in(index, key));
        let mut note = |key, fault: Unusable| {
            sink.add(DiagnosticBuilder::error(at(key), fault.message).hint(fault.hint));
        };
        if instance.address().is_some() {
            return;
        }
        match (&instance.host, &instance.url) {
            (Some(_), Some(_)) => {
                let message = format!("{} has both `host` and `url`", self.instance_label(index));
                sink.add(DiagnosticBuilder::error(at("url"), message).hint("keep one of them"));
            }
            (Some(host), None) => {
                if let Err(fault) = address::from_host(host, instance.port) {
                    note("host", fault);
                }
            }
            (None, Some(url)) => {
                if let Err(fault) = address::from_url(url) {
                    note("url", fault);
                }
                if instance.port.is_some() {
                    let message = "`port` cannot be used with `url`, which has a port of its own";
                    let hint = "write the port into `url`: `http://10.0.0.2:5001`";
                    note("port", Unusable { message, hint });
                }
            }
            (None, None) => {
                if !has("host") && !has("url") {
                    let message = format!("{} needs `host` or `url`", self.instance_label(index));
                    let hint = "write `host: 10.0.0.2` with `port: 5001`, or \
                                `url: http://10.0.0.2:5001`";
                    let [apps, app] = self.path();
                    let path = [apps, app, Step::Key("instances"), Step::Item(index)];
                    sink.add(
                        DiagnosticBuilder::error(self.places.value(&path), message).hint(hint),
                    );
                }
            }
        }
    }
}
