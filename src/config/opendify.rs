//! The configuration that the variables of OpenDify stand for.
//!
//! They become the text of a configuration, which takes the way of any other, so that nothing is
//! checked twice or not at all. Findings name the variable and the model, never a key.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::address;
use super::diagnostic::{DiagnosticBuilder, DiagnosticSink, Diagnostics};
use super::key_table::is_name;
use super::literal;
use super::load::{Environment, Loaded, parse};
use crate::model::Token;

/// The variables that it takes at least.
pub(super) const NEEDED: [&str; 2] = ["MODEL_CONFIG", "DIFY_API_BASE"];

/// Where OpenDify listens unless told otherwise.
const PORT: u16 = 5000;

/// The configuration, or all that is wrong with the variables, what `sink` has already included.
pub(super) fn load(
    name: &str,
    vars: BTreeMap<String, String>,
    mut sink: DiagnosticSink,
) -> Result<Loaded, Diagnostics> {
    let mut reader = Reader { vars: &vars, sink: &mut sink };
    let models = reader.models();
    let text = reader.text(&models);
    let log_level = reader.log_level();
    if sink.has_errors() {
        return Err(Diagnostics::new(name, "", sink));
    }
    let environment = Environment { vars, ..Environment::default() };
    let mut loaded = parse(name, &text, &environment)?;
    // The text is ours.
    loaded.changes = Diagnostics::new(name, "", DiagnosticSink::default());
    loaded.config.log_level = log_level;
    for (name, app) in &mut loaded.config.apps {
        Arc::make_mut(app).name_is_model = models.iter().any(|(model, _)| model == name.as_str());
    }
    Ok(loaded)
}

struct Reader<'a> {
    vars: &'a BTreeMap<String, String>,
    sink: &'a mut DiagnosticSink,
}

impl Reader<'_> {
    /// A variable that is set and not empty. Docker's own env files keep the quotes that others take
    /// away.
    fn var(&self, name: &str) -> Option<&str> {
        let value = self.vars.get(name)?.trim();
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote))
        });
        Some(quoted.unwrap_or(value).trim()).filter(|value| !value.is_empty())
    }

    fn error(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.sink.add(DiagnosticBuilder::placeless(message).hint(hint));
    }

    fn needed(&mut self, name: &str, hint: &str) -> Option<String> {
        let value = self.var(name).map(str::to_owned);
        if value.is_none() {
            self.error(format!("`{name}` is not set, and there is no `difygate.yaml`"), hint);
        }
        value
    }

    /// Models and the keys of their apps, in their order.
    fn models(&mut self) -> Vec<(String, String)> {
        const HINT: &str = "write `{\"model name\": \"app-…\"}`: the key of an app in Dify for each \
                            model";
        let Some(written) = self.needed("MODEL_CONFIG", HINT) else { return Vec::new() };
        let entries = match literal::dictionary(&written) {
            Ok(entries) => entries,
            Err(fault) => {
                let (column, expected) = (fault.column, fault.expected);
                let message = format!(
                    "`MODEL_CONFIG` is neither JSON nor a Python dictionary: at character {column}, \
                     {expected} was expected"
                );
                self.error(message, HINT);
                return Vec::new();
            }
        };
        if entries.is_empty() {
            self.error("`MODEL_CONFIG` has no model", HINT);
        }
        // As a name a key would stand in every log.
        let is_key = |text: &str| text.trim().starts_with("app-");
        let swapped = |(model, key): &(String, Option<String>)| {
            is_key(model) && !key.as_deref().is_some_and(is_key)
        };
        if entries.iter().any(swapped) {
            self.error("`MODEL_CONFIG` has a key where a model is expected", HINT);
            return Vec::new();
        }
        let mut models: Vec<(String, String)> = Vec::new();
        for (model, key) in entries {
            let model = model.trim().to_owned();
            let key = key.filter(|key| !key.trim().is_empty());
            if model.is_empty() {
                self.error("`MODEL_CONFIG` has a model without a name", HINT);
            } else if models.iter().any(|(other, _)| *other == model) {
                let message = format!("`MODEL_CONFIG` has the model `{}` twice", shown(&model));
                self.error(message, "remove one of them");
            } else {
                if key.is_none() {
                    let message =
                        format!("the model `{}` in `MODEL_CONFIG` has no key", shown(&model));
                    self.error(message, HINT);
                }
                models.push((model, key.unwrap_or_default()));
            }
        }
        models
    }

    /// The text of the configuration.
    fn text(&mut self, models: &[(String, String)]) -> String {
        let addresses = self.addresses();
        let keys = self.keys();
        let listen = self.listen(&keys);
        let app = |(model, key): &(String, String)| {
            let instances = (1..).zip(&addresses).map(|(number, url)| {
                json!({ "name": format!("dify{number}"), "url": url, "token": key })
            });
            let name = app_name(model);
            let mut app = Map::new();
            if name != *model {
                app.insert("aliases".into(), json!([model]));
            }
            // With one key for all of them they have one database.
            app.insert(
                "storage".into(),
                json!(if addresses.len() > 1 { "shared" } else { "independent" }),
            );
            app.insert("instances".into(), instances.collect());
            (name, Value::from(app))
        };
        let mut config = json!({
            "listen": listen.to_string(),
            "ai": { "users": "open_webui" },
            "keys": keys,
            "apps": models.iter().map(app).collect::<Map<_, _>>(),
        });
        if let Some(listen) = self.var("DIFYGATE_ADMIN_LISTEN") {
            config["admin"] = json!({ "listen": listen });
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
        let written = self.var("VALID_API_KEYS").unwrap_or_default().to_owned();
        let mut secrets: Vec<String> = Vec::new();
        if written.starts_with('[') {
            match literal::list(&written) {
                Ok(items) => secrets.extend(items.into_iter().flatten()),
                Err(fault) => {
                    let (column, expected) = (fault.column, fault.expected);
                    let message = format!(
                        "`VALID_API_KEYS` is not a list: at character {column}, {expected} was expected"
                    );
                    self.error(
                        message,
                        "separate the keys by commas, or write `[\"sk-…\", \"sk-…\"]`",
                    );
                }
            }
        } else {
            secrets.extend(written.split(',').map(str::to_owned));
        }
        let mut keys: BTreeMap<String, Value> = BTreeMap::new();
        for secret in secrets.iter().map(|secret| secret.trim()).filter(|secret| !secret.is_empty())
        {
            let name = Token::new(secret).fingerprint();
            let key = json!({ "name": name, "secret": secret, "trusted_proxy": true });
            keys.insert(name, key);
        }
        let mut keys: Vec<_> = keys.into_values().collect();
        if self.allows_anonymous() || keys.is_empty() {
            keys.push(json!({ "name": "anonymous", "anonymous": true, "trusted_proxy": true }));
        }
        keys
    }

    fn allows_anonymous(&mut self) -> bool {
        let said = self.var("ALLOW_ANONYMOUS").unwrap_or("false").to_ascii_lowercase();
        let is_true = matches!(&*said, "true" | "1" | "yes" | "on");
        if !is_true && !matches!(&*said, "false" | "0" | "no" | "off") {
            self.error("`ALLOW_ANONYMOUS` must be `true` or `false`", "leave it out for `false`");
        }
        is_true
    }

    /// Where it listens: on this machine alone, unless it is said who may come in.
    fn listen(&mut self, keys: &[Value]) -> SocketAddr {
        let host = self.var("SERVER_HOST").unwrap_or("127.0.0.1");
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
        let host = host.parse::<IpAddr>().ok();
        let port = self.var("SERVER_PORT").map_or(Some(PORT), |port| port.parse().ok());
        if host.is_none() {
            let hint = "write `127.0.0.1` for this machine alone, `0.0.0.0` for all";
            self.error("`SERVER_HOST` must be an IP address", hint);
        }
        if port.is_none() {
            self.error("`SERVER_PORT` must be a number from 0 to 65535", "OpenDify's is `5000`");
        }
        let said = self.var("ALLOW_ANONYMOUS").is_some() && self.allows_anonymous();
        let anybody = !said && keys.iter().all(|key| key.get("secret").is_none());
        if anybody && host.is_some_and(|host| !host.is_loopback()) {
            let message = "`SERVER_HOST` lets other machines in without any key";
            let hint = "set `VALID_API_KEYS` to the keys of clients, or `ALLOW_ANONYMOUS=true` to \
                        let anybody in";
            self.error(message, hint);
        }
        SocketAddr::new(host.unwrap_or(Ipv4Addr::LOCALHOST.into()), port.unwrap_or(PORT))
    }

    /// `LOG_LEVEL` in the names of Python, as the filter of the error log.
    fn log_level(&mut self) -> Option<&'static str> {
        let level = self.var("LOG_LEVEL")?.to_ascii_uppercase();
        let filter = match &*level {
            "DEBUG" => "debug",
            "INFO" => "info",
            "WARNING" | "WARN" => "warn",
            "ERROR" | "CRITICAL" | "FATAL" => "error",
            _ => {
                let hint = "write `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`";
                self.error("`LOG_LEVEL` has an unknown value", hint);
                return None;
            }
        };
        Some(filter)
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

/// A model's name for a message, in one line.
fn shown(model: &str) -> String {
    model.chars().take(64).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
