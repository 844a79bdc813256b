//! A configuration as a plain list of keys and values, to be compared and shown. No secret is in it.
//!
//! What is not known to be open (`key_table`) is taken for a secret: it stands here as a mark that says
//! whether two are the same, made with a salt, or not at all.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::key_table::{Kind, kind};
use super::types::{App, Config, Instance};
use crate::model::{AppName, InstanceName};

/// A configuration, its defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlatConfig {
    /// What stands at the top.
    pub settings: Settings,
    /// The apps in their order.
    pub apps: IndexMap<AppName, FlatApp>,
}

/// An app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlatApp {
    /// All but the instances.
    pub settings: Settings,
    /// The instances in their order; `url` is the address.
    pub instances: IndexMap<InstanceName, Settings>,
}

/// Values by their keys, as in `timeouts.idle`. What is not set is absent.
pub type Settings = IndexMap<String, Setting>;

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// As it is.
    Open(Value),
    /// A mark in place of a secret; none says that it is none of those that were asked about.
    Secret(Option<String>),
}

impl FlatConfig {
    /// Takes each secret that is not known here to be the one of `other`.
    pub fn take_unknown_from(&mut self, other: &Self) {
        take_unknown(&mut self.settings, Some(&other.settings));
        for (name, app) in &mut self.apps {
            let theirs = other.apps.get(name);
            take_unknown(&mut app.settings, theirs.map(|app| &app.settings));
            for (name, instance) in &mut app.instances {
                take_unknown(instance, theirs.and_then(|app| app.instances.get(name)));
            }
        }
    }

    /// The marks of all its secrets.
    pub fn marks(&self) -> impl Iterator<Item = &str> {
        let apps = self.apps.values();
        let settings = apps.flat_map(|app| app.instances.values().chain([&app.settings]));
        settings.chain([&self.settings]).flat_map(IndexMap::values).filter_map(|setting| {
            match setting {
                Setting::Secret(mark) => mark.as_deref(),
                Setting::Open(_) => None,
            }
        })
    }
}

fn take_unknown(settings: &mut Settings, theirs: Option<&Settings>) {
    for (key, setting) in settings {
        let other = theirs.and_then(|theirs| theirs.get(key));
        if let (Setting::Secret(None), Some(other)) = (&*setting, other) {
            *setting = other.clone();
        }
    }
}

/// The mark of a secret: equal only for equal secrets, and without the secret of no use.
pub fn mark(salt: &str, secret: &str) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update([0]).chain_update(secret).finalize();
    let digits = digest.iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// A configuration as a flat list. `mark` makes marks of secrets.
pub fn flatten(config: &Config, mark: &dyn Fn(&str) -> Option<String>) -> FlatConfig {
    let apps = config.apps.iter();
    let apps = apps.map(|(name, app)| (name.clone(), flat_app(app, mark, |_| true)));
    FlatConfig { settings: top(config, mark), apps: apps.collect() }
}

/// What stands at the top of a configuration.
pub fn top(config: &Config, mark: &dyn Fn(&str) -> Option<String>) -> Settings {
    let mut settings = flat(values(config), mark);
    for key in &config.keys {
        let flat = nameless(values(key), mark).into_iter();
        settings.extend(flat.map(|(path, setting)| (format!("keys.{}.{path}", key.name), setting)));
    }
    for (name, service) in &config.services {
        let at = format!("services.{name}");
        put(&mut settings, at.clone(), "services", Value::Object(values(&**service)), mark);
        for instance in &service.instances {
            let at = format!("{at}.instances.{}", instance.name);
            for (key, setting) in nameless(values(instance), mark) {
                settings.insert(format!("{at}.{key}"), setting);
            }
        }
    }
    settings
}

/// Two configurations as far as they differ.
pub struct Difference {
    /// The old one.
    pub old: FlatConfig,
    /// The new one.
    pub new: FlatConfig,
    /// Apps that differ beyond those that are shown.
    pub more_apps: usize,
}

/// What differs between two configurations, with the first `most` apps that do. What is the same in
/// both is not in it, and not worked out.
pub fn difference(
    old: &Config,
    new: &Config,
    mark: &dyn Fn(&str) -> Option<String>,
    most: usize,
) -> Difference {
    let gone = old.apps.keys().filter(|name| !new.apps.contains_key(*name));
    let differs = |name: &&AppName| old.apps.get(*name) != new.apps.get(*name);
    let mut names = new.apps.keys().filter(differs).chain(gone);
    let shown: Vec<_> = names.by_ref().take(most).collect();
    let flat = |config: &Config, other: &Config| {
        let app = |name: &&AppName| {
            let other = other.apps.get(*name).map_or(&[][..], |app| &app.instances);
            let other: HashMap<_, _> = other.iter().map(|one| (&one.name, one)).collect();
            let differs = |one: &Instance| other.get(&one.name) != Some(&one);
            Some(((*name).clone(), flat_app(config.apps.get(*name)?, mark, differs)))
        };
        FlatConfig { settings: top(config, mark), apps: shown.iter().filter_map(app).collect() }
    };
    Difference { old: flat(old, new), new: flat(new, old), more_apps: names.count() }
}

fn flat_app(
    app: &App,
    mark: &dyn Fn(&str) -> Option<String>,
    is_wanted: impl Fn(&Instance) -> bool,
) -> FlatApp {
    let wanted = app.instances.iter().filter(|instance| is_wanted(instance));
    let instance = |one: &Instance| (one.name.clone(), nameless(values(one), mark));
    let mut own = values(app);
    if app.named_by_dify {
        // Nobody wrote them, and a configuration that is only read does not have them yet.
        own.shift_remove("aliases");
    }
    FlatApp { settings: flat(own, mark), instances: wanted.map(instance).collect() }
}

fn values(part: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(part) {
        Ok(Value::Object(values)) => values,
        // A value that JSON cannot hold: the types have none.
        _ => Map::new(),
    }
}

fn nameless(mut values: Map<String, Value>, mark: &dyn Fn(&str) -> Option<String>) -> Settings {
    values.shift_remove("name");
    flat(values, mark)
}

fn flat(values: Map<String, Value>, mark: &dyn Fn(&str) -> Option<String>) -> Settings {
    let mut settings = Settings::new();
    for (key, value) in values {
        put(&mut settings, key.clone(), &key, value, mark);
    }
    settings
}

fn put(
    settings: &mut Settings,
    path: String,
    key: &str,
    value: Value,
    mark: &dyn Fn(&str) -> Option<String>,
) {
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    let setting = match (kind(key), value) {
        (_, Value::Null) => return,
        (_, Value::Bool(is)) => Setting::Open(Value::Bool(is)),
        (Kind::Secret, value) => Setting::Secret(mark(&value.to_string())),
        (Kind::Headers, Value::Object(headers)) => {
            for (name, value) in headers {
                let setting = Setting::Secret(mark(&value.to_string()));
                settings.insert(format!("{path}.{name}"), setting);
            }
            return;
        }
        (_, Value::Object(values)) => {
            for (key, value) in values {
                put(settings, format!("{path}.{key}"), &key, value, mark);
            }
            return;
        }
        (Kind::Open | Kind::OpenList | Kind::Apps, Value::Array(items))
            if items.iter().all(is_plain) =>
        {
            Setting::Open(Value::Array(items))
        }
        (Kind::Open | Kind::OpenList | Kind::Headers, value) if is_plain(&value) => {
            Setting::Open(value)
        }
        (_, value) => Setting::Secret(mark(&value.to_string())),
    };
    settings.insert(path, setting);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{FlatConfig, Setting, flatten, mark};
    use crate::config::{Environment, parse};

    fn of(text: &str) -> FlatConfig {
        let config = parse("gateway.yaml", text, &Environment::default()).unwrap().config;
        flatten(&config, &|secret| Some(mark("salt", secret)))
    }

    const TEXT: &str = "admin: { token: admin-secret }\ntimeouts: { idle: 10m }\n\
        access_log: { path: /x, format: json }\napps:\n  shop:\n    \
        user_tokens: [usertoken--shop]\n    instances:\n      - { name: one, host: dify1, \
        token: app-one, dataset_token: dataset-one, weight: 2, queue: { size: 3 } }\n";

    #[test]
    fn it_has_every_value_under_its_key_and_no_secret() {
        let probe = "probe: { headers: { host: inner-secret }, expect: [200, 300-399] }, weight: 2";
        let shape = of(&TEXT.replace("weight: 2", probe));
        let open = |value| Some(Setting::Open(value));
        assert_eq!(shape.settings.get("timeouts.idle").cloned(), open(json!("10m")));
        assert_eq!(shape.settings.get("access_log.path").cloned(), open(json!("/x")));
        assert_eq!(shape.settings.get("limits.max_body").cloned(), open(json!("100MiB")));
        let (name, app) = shape.apps.first().unwrap();
        assert_eq!(name.as_str(), "shop");
        assert_eq!(app.settings.get("method").cloned(), open(json!("consistent_hash")));
        assert_eq!(app.settings.get("max_load").cloned(), open(json!("off")));
        let instance = &app.instances[0];
        assert_eq!(instance.get("url").cloned(), open(json!("dify1:5001")));
        assert_eq!(instance.get("queue.size").cloned(), open(json!(3)));
        assert_eq!(instance.get("probe.expect").cloned(), open(json!(["200", "300-399"])));
        assert_eq!(instance.get("probe.interval").cloned(), open(json!("1s")));
        assert_eq!(instance.get("slow_start").cloned(), open(json!("0s")));
        assert!(matches!(instance["probe.headers.host"], Setting::Secret(Some(_))));
        assert_eq!(shape.settings.get("limits.headers").cloned(), open(json!(100)));
        assert_eq!(instance.get("fail_timeout").cloned(), open(json!("30s")));
        assert!(matches!(instance["token"], Setting::Secret(Some(_))));
        assert_eq!(shape.marks().count(), 5);
        let text = serde_json::to_string(&shape).unwrap();
        let secrets = ["admin-secret", "usertoken--shop", "app-one", "dataset-one", "inner-secret"];
        for secret in secrets {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(serde_json::from_str::<FlatConfig>(&text).unwrap(), shape);
    }

    #[test]
    fn a_probe_is_shown_but_for_its_headers() {
        let text = format!("probe: {{ headers: {{ host: hush, X-Key: hush }} }}\n{TEXT}");
        let shape = of(&text);
        assert_eq!(shape.settings.get("limits.headers").cloned(), Some(Setting::Open(json!(100))));
        let (_, app) = shape.apps.first().unwrap();
        let open = |value| Some(Setting::Open(value));
        assert_eq!(app.settings.get("max_ejected_share").cloned(), open(json!("100%")));
        assert_eq!(app.settings.get("fail_statuses").cloned(), open(json!([500, 502, 503, 504])));
        let instance = &app.instances[0];
        assert_eq!(instance.get("probe.expect").cloned(), open(json!("dify")));
        assert_eq!(instance.get("probe.interval").cloned(), open(json!("1s")));
        for header in ["probe.headers.host", "probe.headers.X-Key"] {
            assert!(matches!(instance[header], Setting::Secret(Some(_))), "{instance:?}");
        }
    }

    #[test]
    fn services_are_in_it_with_routes_and_instances() {
        let services = "services: { web: { instances: [{ url: \"http://w:1\" }], routes: [{ prefix: / }], \
            probe: { headers: { X-Key: hush } } } }\n";
        let of_services = |text: &str| {
            let settings = of(&format!("{text}{TEXT}")).settings.into_iter();
            settings.filter(|(key, _)| key.starts_with("services.")).collect::<Vec<_>>()
        };
        let flat = of_services(services);
        let value = |key: &str| flat.iter().find(|(found, _)| found == key).map(|(_, value)| value);
        let open = |text| Setting::Open(json!(text));
        assert_eq!(value("services.web.method"), Some(&open("least_connections")));
        assert_eq!(value("services.web.instances.web.url"), Some(&open("w:1")));
        assert!(!format!("{flat:?}").contains("hush"));
        for (old, new) in [("prefix: /", "prefix: /x"), ("http://w:1", "http://w:2")] {
            assert_ne!(of_services(&services.replace(old, new)), flat, "{new}");
        }
        assert!(of_services("").is_empty());
    }

    #[test]
    fn a_mark_tells_secrets_apart_and_depends_on_the_salt() {
        assert_eq!(of(TEXT), of(TEXT));
        assert_ne!(of(TEXT), of(&TEXT.replace("app-one", "app-two")));
        assert_ne!(mark("a", "secret"), mark("b", "secret"));
    }
}
