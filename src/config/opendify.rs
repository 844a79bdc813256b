//! The configuration that the variables of OpenDify stand for.
//!
//! They become the text of a configuration, which takes the way of any other, so that nothing is
//! checked twice or not at all. Findings name the variable and the model, never a key. Here are the models and
//! who may ask for them; `listen` says where it listens, `settings` what is about the process, and `variables`
//! which names there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::address;
use super::diagnostic::{DiagnosticSink, Diagnostics};
use super::full_width;
use super::key_table::is_name;
use super::literal;
use super::load::{Environment, Loaded, parse};
use crate::model::Token;

pub(super) mod listen;
mod reader;
mod settings;
pub(super) mod variables;

use reader::Reader;

/// The configuration, or all that is wrong with the variables, what `sink` has already included. `file` is
/// where some of them stand.
pub(super) fn load(
    name: &str,
    file: Option<&Path>,
    vars: BTreeMap<String, String>,
    mut sink: DiagnosticSink,
) -> Result<Loaded, Diagnostics> {
    let mut reader = Reader { vars: &vars, file, sink: &mut sink };
    reader.ask_about_others();
    let models = reader.models();
    let app_keys = reader.app_keys(&models);
    if models.is_empty() && app_keys.is_empty() && !reader.sink.has_errors() {
        reader.error("`MODEL_CONFIG` and `DIFY_API_KEYS` name no app", MODELS);
    }
    let text = reader.text(&models, &app_keys);
    let log_level = reader.log_level();
    let (notes, state_name) = (reader.notes(), reader.state_name());
    let before = |sink| Diagnostics::new(name, "", sink);
    if sink.has_errors() {
        return Err(before(sink));
    }
    let environment = Environment { vars, ..Environment::default() };
    let parsed = parse(name, &text, &environment);
    // The text is ours: whoever reads of it knows the variables.
    let keys = match (models.is_empty(), app_keys.is_empty()) {
        (true, _) => "`DIFY_API_KEYS`",
        (_, true) => "`MODEL_CONFIG`",
        _ => "`MODEL_CONFIG` or `DIFY_API_KEYS`",
    };
    let origin = |line: usize| variables::of_line(text.lines().nth(line - 1)?, keys);
    let mut loaded = match parsed {
        Ok(loaded) => loaded,
        Err(findings) => return Err(findings.told_by(origin).and(before(sink))),
    };
    loaded.warnings = loaded.warnings.told_by(origin).and(before(sink));
    // 0.1 did not read the variables.
    let is_told = |message: &str| !message.starts_with("0.1 ");
    loaded.changes = loaded.changes.only_warnings(is_told).told_by(origin);
    loaded.notes = notes;
    loaded.config.log_level = log_level;
    loaded.config.state_name = state_name;
    for (name, app) in &mut loaded.config.apps {
        let app = Arc::make_mut(app);
        app.name_is_model = models.iter().any(|(model, _)| model == name.as_str());
        app.named_by_dify = app_keys.iter().any(|key| unnamed(key) == name.as_str());
    }
    Ok(loaded)
}

const MODELS: &str =
    "write `{\"model name\": \"app-…\"}`: the key of an app in Dify for each model";

impl Reader<'_> {
    /// Models and the keys of their apps, in their order.
    fn models(&mut self) -> Vec<(String, String)> {
        if self.var("MODEL_CONFIG").is_none() && self.var("DIFY_API_KEYS").is_some() {
            return Vec::new();
        }
        let Some(written) = self.needed("MODEL_CONFIG", MODELS) else { return Vec::new() };
        let entries = match literal::dictionary(&written) {
            Ok(entries) => entries,
            Err(fault) => {
                let (column, expected) = (fault.column, fault.expected);
                let message = format!(
                    "`MODEL_CONFIG` is neither JSON nor a Python dictionary: at character {column}, \
                     {expected} was expected"
                );
                let wide =
                    written.chars().nth(column.saturating_sub(1)).and_then(full_width::advice);
                self.error(message, wide.unwrap_or_else(|| MODELS.to_owned()));
                return Vec::new();
            }
        };
        if entries.is_empty() && self.var("DIFY_API_KEYS").is_none() {
            self.error("`MODEL_CONFIG` has no model", MODELS);
        }
        // As a name a key would stand in every log.
        let is_key = |text: &str| text.trim().starts_with("app-");
        let swapped = |(model, key): &(String, Option<String>)| {
            is_key(model) && !key.as_deref().is_some_and(is_key)
        };
        if entries.iter().any(swapped) {
            self.error("`MODEL_CONFIG` has a key where a model is expected", MODELS);
            return Vec::new();
        }
        let mut models: Vec<(String, String)> = Vec::new();
        for (model, key) in entries {
            let model = model.trim().to_owned();
            let key = key.filter(|key| !key.trim().is_empty());
            if model.is_empty() {
                self.error("`MODEL_CONFIG` has a model without a name", MODELS);
            } else if models.iter().any(|(other, _)| *other == model) {
                let message = format!("`MODEL_CONFIG` has the model `{}` twice", shown(&model));
                self.error(message, "remove one of them");
            } else {
                if key.is_none() {
                    let message =
                        format!("the model `{}` in `MODEL_CONFIG` has no key", shown(&model));
                    self.error(message, MODELS);
                }
                models.push((model, key.unwrap_or_default()));
            }
        }
        models
    }

    /// The keys of apps that Dify names. One that has a model already is not another.
    fn app_keys(&mut self, models: &[(String, String)]) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for key in self.list("DIFY_API_KEYS", "app-…") {
            if !keys.contains(&key) && models.iter().all(|(_, other)| *other != key) {
                keys.push(key);
            }
        }
        keys
    }

    /// The text of the configuration.
    fn text(&mut self, models: &[(String, String)], app_keys: &[String]) -> String {
        let addresses = self.addresses();
        let keys = self.keys();
        let listen = self.listen(&keys);
        let app = |key: &str, aliases: &[&str]| {
            let instances = (1..).zip(&addresses).map(|(number, url)| {
                json!({ "name": format!("dify{number}"), "url": url, "token": key })
            });
            let mut app = Map::new();
            if !aliases.is_empty() {
                app.insert("aliases".into(), json!(aliases));
            }
            // With one key for all of them they have one database.
            app.insert(
                "storage".into(),
                json!(if addresses.len() > 1 { "shared" } else { "independent" }),
            );
            app.insert("instances".into(), instances.collect());
            Value::from(app)
        };
        let of_model = |(model, key): &(String, String)| {
            let name = app_name(model);
            let aliases: &[&str] = if name == *model { &[] } else { &[model] };
            let app = app(key, aliases);
            (name, app)
        };
        let of_key = |key: &String| (unnamed(key), app(key, &[]));
        let apps = models.iter().map(of_model).chain(app_keys.iter().map(of_key));
        let mut config = json!({
            "listen": listen.to_string(),
            "ai": { "users": "open_webui" },
            "keys": keys,
            "admin": { "listen": self.admin_listen(listen.port()) },
            "apps": apps.collect::<Map<_, _>>(),
        });
        if let Some(config) = config.as_object_mut() {
            config.extend(self.settings());
        }
        format!("{config:#}\n")
    }

    /// `DIFY_API_BASE` without the path that OpenDify wants at its end.
    fn addresses(&mut self) -> Vec<String> {
        const HINT: &str =
            "write where Dify's API is: `http://10.0.0.1/v1`; several separated by commas";
        let Some(written) = self.needed("DIFY_API_BASE", HINT) else { return Vec::new() };
        let mut addresses = Vec::new();
        for base in written.split(',').map(str::trim).filter(|base| !base.is_empty()) {
            let url = base.trim_end_matches('/');
            let url = url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/');
            match address::from_url(url) {
                Ok(_) if addresses.iter().any(|other| other == url) => {}
                Ok(_) => addresses.push(url.to_owned()),
                Err(fault) => {
                    let what = fault.message.replace("`url`", "its URL");
                    self.error(format!("`DIFY_API_BASE`: {what}"), fault.hint);
                }
            }
        }
        addresses
    }

    /// The keys of clients. OpenDify believes whoever says which user it is.
    fn keys(&mut self) -> Vec<Value> {
        let secrets = self.list("VALID_API_KEYS", "sk-…");
        let mut keys: BTreeMap<String, Value> = BTreeMap::new();
        for secret in secrets {
            let name = Token::new(&*secret).fingerprint();
            let key = json!({ "name": name, "secret": secret, "trusted_proxy": true });
            keys.insert(name, key);
        }
        let mut keys: Vec<_> = keys.into_values().collect();
        if self.allows_anonymous() || keys.is_empty() {
            keys.push(json!({ "name": "anonymous", "anonymous": true, "trusted_proxy": true }));
        }
        keys
    }
}

/// The name of a model's app: the model's own, if an app can have it, else one made of it that no
/// other model has.
fn app_name(model: &str) -> String {
    if is_name(model) {
        return model.to_owned();
    }
    let fits = |c: char| if is_name(c.encode_utf8(&mut [0; 4])) { c } else { '-' };
    let similar: String = model.chars().take(48).map(fits).collect();
    let digest = Sha256::digest(model.as_bytes());
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{digest}", similar.trim_matches('-')).trim_start_matches('-').to_owned()
}

/// The name of an app that Dify names: it stays the same whatever the app is called there.
fn unnamed(key: &str) -> String {
    format!("dify-{}", Token::new(key).fingerprint())
}

/// A model's name for a message, in one line.
fn shown(model: &str) -> String {
    model.chars().take(64).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
