//! Whether keys and model ids are whole: each has its own name and secret, and what it names exists.

use std::collections::HashMap;

use super::app::{TOKEN_HINT, token_fault};
use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::key_table::is_name;
use crate::config::raw::{RawConfig, RawKey};
use crate::config::spelling::intended;
use crate::config::yaml::{Places, Step};
use crate::model::Token;

/// The longest end user: with the key's name it must fit into the 255 characters that Dify takes.
const LONGEST_USER: usize = 128;

/// The longest alias.
const LONGEST_ALIAS: usize = 128;

/// Checks `keys` and the `aliases` of all apps.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let secrets = user_tokens(raw);
    for (index, key) in raw.keys.iter().enumerate() {
        let checker = KeyCheck { index, key, raw, places };
        checker.name(sink);
        checker.secret(&secrets, sink);
        checker.apps(sink);
        checker.user(sink);
    }
    aliases(raw, places, sink);
}

/// Where each user token stands first.
pub(super) fn user_tokens(raw: &RawConfig) -> HashMap<&Token, [Step<'_>; 4]> {
    let mut tokens = HashMap::new();
    for (name, app) in &raw.apps {
        for (index, token) in app.user_tokens.iter().enumerate() {
            let list = [Step::Key("apps"), Step::Key(name), Step::Key("user_tokens")];
            let [apps, app, list] = list;
            tokens.entry(token).or_insert([apps, app, list, Step::Item(index)]);
        }
    }
    tokens
}

/// Where a part of a key stands.
pub(super) fn part(index: usize, part: &str) -> [Step<'_>; 3] {
    [Step::Key("keys"), Step::Item(index), Step::Key(part)]
}

struct KeyCheck<'a> {
    index: usize,
    key: &'a RawKey,
    raw: &'a RawConfig,
    places: &'a Places<'a>,
}

impl KeyCheck<'_> {
    fn at(&self, key: &str) -> std::ops::Range<usize> {
        self.places.value(&part(self.index, key))
    }

    fn has(&self, key: &str) -> bool {
        self.places.has(&part(self.index, key))
    }

    /// The key by its name, or by its number if the name must not be shown.
    fn label(&self) -> String {
        let hidden = self.places.is_from_environment(&part(self.index, "name"));
        if is_name(&self.key.name) && !hidden {
            format!("key `{}`", self.key.name)
        } else {
            format!("key {}", self.index + 1)
        }
    }

    /// The first of the keys before this one for which `same` holds.
    fn before(&self, same: impl Fn(&RawKey) -> bool) -> Option<usize> {
        self.raw.keys[..self.index].iter().position(same)
    }

    fn name(&self, sink: &mut DiagnosticSink) {
        let name = &self.key.name;
        if !self.has("name") {
            let message = format!("{} has no `name`", self.label());
            let hint = "give it a name, such as `name: open-webui`: the users that Dify sees begin \
                        with it";
            sink.add(DiagnosticBuilder::error(self.at("name"), message).hint(hint));
        } else if !name.is_empty() && !is_name(name) {
            let hint = "a name has 1 to 64 of the characters `A-Z a-z 0-9 . _ -`";
            sink.add(
                DiagnosticBuilder::error(self.at("name"), "this is not a name for a key")
                    .hint(hint),
            );
        }
        if let Some(first) = self.before(|other| is_name(name) && other.name == *name) {
            sink.add(
                DiagnosticBuilder::error(self.at("name"), "two keys have this name")
                    .hint("it identifies users: give each key its own")
                    .related(self.places.value(&part(first, "name")), "the first of them"),
            );
        }
    }

    fn secret(&self, user_tokens: &HashMap<&Token, [Step<'_>; 4]>, sink: &mut DiagnosticSink) {
        let Some(secret) = &self.key.secret else { return self.no_secret(sink) };
        let at = self.at("secret");
        if self.key.anonymous {
            let message = format!("{} has both `secret` and `anonymous`", self.label());
            let hint = "keep one of them: an anonymous key is for requests without a key";
            sink.add(DiagnosticBuilder::error(self.at("anonymous"), message).hint(hint));
        }
        if let Some(fault) = token_fault(secret) {
            let message = format!("the secret of {} {fault}", self.label());
            sink.add(DiagnosticBuilder::error(at, message).hint(TOKEN_HINT));
        } else if let Some(first) = self.before(|other| other.secret.as_ref() == Some(secret)) {
            sink.add(
                DiagnosticBuilder::error(at, "two keys have this secret")
                    .hint("choose another: a secret must belong to one key")
                    .related(self.places.value(&part(first, "secret")), "the same secret"),
            );
        } else if let Some(token) = user_tokens.get(secret) {
            sink.add(
                DiagnosticBuilder::error(at, "this secret is also a user token")
                    .hint("remove the user token: the key opens its `apps` as well")
                    .related(self.places.value(token), "the same secret"),
            );
        }
    }

    fn no_secret(&self, sink: &mut DiagnosticSink) {
        if !self.key.anonymous {
            if !self.has("secret") {
                let message = format!("{} has no `secret`", self.label());
                let hint = "write `secret: \"${NAME}\"` or `secret: file:/run/secrets/…`";
                sink.add(DiagnosticBuilder::error(self.at("secret"), message).hint(hint));
            }
            return;
        }
        if let Some(first) = self.before(|other| other.anonymous) {
            sink.add(
                DiagnosticBuilder::error(self.at("anonymous"), "two keys are `anonymous`")
                    .hint("requests without a key can use only one of them")
                    .related(self.places.value(&part(first, "anonymous")), "the first of them"),
            );
        }
        if self.key.admin {
            let message = "anybody would be `admin` with this key";
            let hint = "give `admin` to a key with a `secret`";
            sink.add(DiagnosticBuilder::error(self.at("admin"), message).hint(hint));
        }
    }

    fn apps(&self, sink: &mut DiagnosticSink) {
        let Some(apps) = &self.key.apps else { return };
        if apps.is_empty() && !self.key.admin {
            let message = format!("{} opens no app", self.label());
            let hint = "name apps, or leave `apps` out to open all";
            sink.add(DiagnosticBuilder::error(self.at("apps"), message).hint(hint));
        }
        let known = self.raw.apps.keys();
        let known: Vec<_> = known.map(String::as_str).collect();
        for (number, app) in apps.iter().enumerate().filter(|(_, app)| !known.contains(&&***app)) {
            let [keys, item, list] = part(self.index, "apps");
            let path = [keys, item, list, Step::Item(number)];
            let meant = intended(app, &known).filter(|_| !self.places.is_from_environment(&path));
            let hint = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "name one of the keys under `apps`".to_owned(),
            };
            let message = format!("{} names an unknown app", self.label());
            sink.add(DiagnosticBuilder::error(self.places.value(&path), message).hint(hint));
        }
    }

    fn user(&self, sink: &mut DiagnosticSink) {
        let fits = |user: &String| is_line(user, LONGEST_USER);
        if self.key.user.as_ref().is_some_and(|user| !fits(user)) {
            let message = format!("Dify does not accept the `user` of {}", self.label());
            let hint = format!("1 to {LONGEST_USER} characters in one line, no blank at an end");
            sink.add(DiagnosticBuilder::error(self.at("user"), message).hint(hint));
        }
    }
}

/// Whether a text is one line of up to `longest` characters without blanks at its ends.
fn is_line(text: &str, longest: usize) -> bool {
    let count = text.chars().count();
    (1..=longest).contains(&count) && text.trim() == text && !text.chars().any(char::is_control)
}

/// Model ids must differ: names of apps and aliases.
fn aliases<'a>(raw: &'a RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let mut first: HashMap<&str, Vec<Step<'a>>> = HashMap::new();
    for name in raw.apps.keys() {
        first.insert(name, vec![Step::Key("apps"), Step::Key(name)]);
    }
    for (name, app) in &raw.apps {
        for (index, alias) in app.aliases.iter().enumerate() {
            let [apps, app] = [Step::Key("apps"), Step::Key(name)];
            let path = vec![apps, app, Step::Key("aliases"), Step::Item(index)];
            let at = places.value(&path);
            if !is_line(alias, LONGEST_ALIAS) {
                let hint =
                    format!("1 to {LONGEST_ALIAS} characters in one line, no blank at an end");
                sink.add(DiagnosticBuilder::error(at, "this is not a name for a model").hint(hint));
                continue;
            }
            let Some(other) = first.get(&**alias) else {
                first.insert(alias, path);
                continue;
            };
            let other = if other.len() == 2 { places.key(other) } else { places.value(other) };
            sink.add(
                DiagnosticBuilder::error(at, "this model id is taken")
                    .hint("each name of an app and each alias names one app")
                    .related(other, "already used here"),
            );
        }
    }
}
