//! What a new configuration would change: settings, instances, and which users would move.
//!
//! Configurations are compared by their [`FlatConfig`]s, so that a running gateway can say what it runs
//! without its secrets. Users that would move are counted with made-up users, who are asked for
//! their first choice in pools built as a reload builds them. Deliberately absent: what moves because
//! an instance is out at the moment, and what `max_load` moves.

mod moves;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::moves::moves;
pub use self::moves::{Move, Moves};
use crate::config::{self, Config, Environment, FlatApp, FlatConfig, Setting, Settings};
use crate::control::build;
use crate::gateway::state::snapshot::Snapshot;
use crate::model::{AppName, InstanceName};

/// How many made-up users [`plan`] asks for unless told otherwise. With so many, the share of those
/// that move is right to 0.3 % in 19 of 20 cases.
pub const SAMPLE: u32 = 100_000;

/// Keys whose change needs a restart, with all that is below them.
const NEEDS_RESTART: [&str; 11] = [
    "listen",
    "admin.listen",
    "workers",
    "pin_cpus",
    "access_log",
    "error_log",
    "limits.max_connections",
    "limits.backlog",
    "owners",
    "store",
    "conversations",
];

/// Requests under way now, by app and instance.
pub type InFlight = BTreeMap<AppName, BTreeMap<InstanceName, u64>>;

/// What a gateway is asked for: marks of its secrets, but only of those that who asks knows too. A
/// gateway thus never gives away what a secret could be guessed by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// For [`config::mark`].
    pub salt: String,
    /// The marks that who asks has.
    pub known: BTreeSet<String>,
}

/// What a gateway runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Its configuration.
    pub shape: FlatConfig,
    /// What its instances have to do.
    pub in_flight: InFlight,
}

/// What a new configuration would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Changes {
    /// At the top.
    pub settings: Vec<Change>,
    /// Of these, keys that take effect only after a restart.
    pub needs_restart: Vec<&'static str>,
    /// Apps in which something changes, those that go at the end.
    pub apps: Vec<AppChange>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its key, as in `timeouts.idle`.
    pub key: String,
    /// What it is now; `***` for a secret.
    pub from: Option<Value>,
    /// What it would be.
    pub to: Option<Value>,
}

/// Whether something comes, goes or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is new.
    Added,
    /// It is no longer there.
    Removed,
    /// It stays, and something about it changes.
    Changed,
}

/// An app.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppChange {
    /// Its name.
    pub app: AppName,
    /// What happens to it.
    pub fate: Fate,
    /// Its settings, if it stays.
    pub settings: Vec<Change>,
    /// Its instances in which something changes.
    pub instances: Vec<InstanceChange>,
    /// Which users move, if it stays and [`plan`] was asked.
    pub moves: Option<Moves>,
}

/// An instance of an app.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceChange {
    /// Its name in the app.
    pub instance: InstanceName,
    /// What happens to it.
    pub fate: Fate,
    /// Where it is, or was.
    pub address: String,
    /// Its settings, if it stays.
    pub settings: Vec<Change>,
    /// Requests under way at an address that goes: they end there first. Known of a running gateway.
    pub draining: Option<u64>,
}

impl AppChange {
    /// The share of its users that lose their instance, from 0 to 1: with the app all do.
    pub fn moved_share(&self) -> f64 {
        match self.fate {
            Fate::Removed => 1.0,
            Fate::Added => 0.0,
            Fate::Changed => self.moves.as_ref().map_or(0.0, Moves::share),
        }
    }
}

/// Names in one line of a log; the rest is counted.
pub(super) const MOST_NAMED: usize = 12;

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.apps.is_empty()
    }
}

impl fmt::Display for Changes {
    /// In one line, for the log: what, not how.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut named = Vec::new();
        for app in &self.apps {
            let AppChange { app, fate, settings, instances, .. } = app;
            match fate {
                Fate::Added => named.push(format!("+{app}")),
                Fate::Removed => named.push(format!("-{app}")),
                Fate::Changed => {
                    named.extend(settings.iter().map(|change| format!("{app}.{}", change.key)));
                    named.extend(instances.iter().map(|instance| {
                        format!("{}{app}/{}", instance.fate.sign(), instance.instance)
                    }));
                }
            }
        }
        named.extend(self.settings.iter().map(|change| change.key.clone()));
        if named.is_empty() {
            return f.write_str("nothing changed");
        }
        let more = named.len().saturating_sub(MOST_NAMED);
        named.truncate(MOST_NAMED);
        f.write_str(&named.join(", "))?;
        if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
    }
}

impl Fate {
    /// One character before a name.
    pub fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
        }
    }
}

/// What changes between two configurations, and which of `sample` made-up users of each app move.
///
/// # Errors
/// One of them is no configuration; a shape that [`config::flatten`] made is one.
pub fn plan(
    old: &FlatConfig,
    new: &FlatConfig,
    in_flight: Option<&InFlight>,
    sample: u32,
) -> Result<Changes, String> {
    let mut changes = changes(old, new);
    let (before, after) = (skeleton(old)?, skeleton(new)?);
    for change in changes.apps.iter_mut().filter(|change| change.fate == Fate::Changed) {
        let find =
            |snapshot: &Snapshot| snapshot.apps.iter().find(|app| app.name == change.app).cloned();
        if let (Some(before), Some(after)) = (find(&before), find(&after)) {
            change.moves = Some(moves(&before, &after, sample));
        }
    }
    for change in &mut changes.apps {
        let now = in_flight.and_then(|in_flight| in_flight.get(&change.app));
        for instance in change.instances.iter_mut().filter(|instance| instance.leaves_address()) {
            instance.draining = now.and_then(|now| now.get(&instance.instance)).copied();
        }
    }
    Ok(changes)
}

impl InstanceChange {
    fn leaves_address(&self) -> bool {
        self.fate == Fate::Removed || self.settings.iter().any(|change| change.key == "url")
    }
}

/// What changes between two configurations, without who moves.
pub fn changes(old: &FlatConfig, new: &FlatConfig) -> Changes {
    let settings = settings(&old.settings, &new.settings);
    let restarts = |key: &&str| settings.iter().any(|change| is_below(&change.key, key));
    let needs_restart = NEEDS_RESTART.into_iter().filter(restarts).collect();
    let apps = both(&old.apps, &new.apps, app);
    Changes { settings, needs_restart, apps }
}

/// Gives `shape` the settings of `started` that need a restart: they are what runs.
pub(super) fn with_what_runs(mut shape: FlatConfig, started: Settings) -> FlatConfig {
    let needs_restart = |key: &str| NEEDS_RESTART.iter().any(|restart| is_below(key, restart));
    shape.settings.retain(|key, _| !needs_restart(key));
    shape.settings.extend(started.into_iter().filter(|(key, _)| needs_restart(key)));
    shape
}

fn is_below(key: &str, parent: &str) -> bool {
    key.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What `compare` finds of everything in either map: first what is in the new one, in its order.
fn both<K: std::hash::Hash + Eq, V, T>(
    old: &IndexMap<K, V>,
    new: &IndexMap<K, V>,
    compare: impl Fn(&K, Option<&V>, Option<&V>) -> Option<T>,
) -> Vec<T> {
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
    let gone = gone.map(|(key, value)| compare(key, Some(value), None));
    let here = new.iter().map(|(key, value)| compare(key, old.get(key), Some(value)));
    here.chain(gone).flatten().collect()
}

fn settings(old: &Settings, new: &Settings) -> Vec<Change> {
    let shown = |setting: &Setting| match setting {
        Setting::Open(value) => value.clone(),
        Setting::Secret(_) => Value::from("***"),
    };
    both(old, new, |key, old, new| {
        (old != new).then(|| Change { key: key.clone(), from: old.map(shown), to: new.map(shown) })
    })
}

fn fate<T>(old: Option<&T>, new: Option<&T>) -> Fate {
    match (old, new) {
        (None, _) => Fate::Added,
        (_, None) => Fate::Removed,
        (Some(_), Some(_)) => Fate::Changed,
    }
}

fn app(name: &AppName, old: Option<&FlatApp>, new: Option<&FlatApp>) -> Option<AppChange> {
    let none = FlatApp::default();
    let (was, is) = (old.unwrap_or(&none), new.unwrap_or(&none));
    let fate = fate(old, new);
    let settings = match fate {
        Fate::Changed => settings(&was.settings, &is.settings),
        Fate::Added | Fate::Removed => Vec::new(),
    };
    let instances = both(&was.instances, &is.instances, instance);
    let changes = fate != Fate::Changed || !settings.is_empty() || !instances.is_empty();
    changes.then(|| AppChange { app: name.clone(), fate, settings, instances, moves: None })
}

fn instance(
    name: &InstanceName,
    old: Option<&Settings>,
    new: Option<&Settings>,
) -> Option<InstanceChange> {
    let fate = fate(old, new);
    let settings = match (old, new) {
        (Some(old), Some(new)) => settings(old, new),
        _ => Vec::new(),
    };
    let address = match new.or(old).and_then(|settings| settings.get("url")) {
        Some(Setting::Open(Value::String(address))) => address.clone(),
        _ => String::new(),
    };
    let changes = fate != Fate::Changed || !settings.is_empty();
    changes.then(|| InstanceChange {
        instance: name.clone(),
        fate,
        address,
        settings,
        draining: None,
    })
}

/// What of a shape decides where users are, built as a reload builds it.
fn skeleton(shape: &FlatConfig) -> Result<Snapshot, String> {
    let open = |settings: &Settings, keys: &[&str]| -> Map<String, Value> {
        let value = |key: &str| match settings.get(key) {
            Some(Setting::Open(value)) => Some(value.clone()),
            Some(Setting::Secret(_)) | None => None,
        };
        keys.iter().filter_map(|key| Some(((*key).to_owned(), value(key)?))).collect()
    };
    let app = |(name, app): (&AppName, &FlatApp)| {
        let instances = app.instances.iter().enumerate().map(|(number, (name, settings))| {
            let mut instance = open(settings, &["weight", "drain"]);
            instance.insert("name".into(), json!(name));
            // Not where they are: an instance that changes its address keeps its users.
            instance.insert("url".into(), json!(format!("http://instance-{number}:1")));
            instance.insert("token".into(), json!("app-plan"));
            instance
        });
        let mut written = open(&app.settings, &["method"]);
        let hash = [("virtual_nodes", "consistent_hash.virtual_nodes"), HASH];
        let hash: Map<_, _> = hash
            .into_iter()
            .filter_map(|(key, path)| {
                Some((key.to_owned(), open(&app.settings, &[path]).shift_remove(path)?))
            })
            .collect();
        written.insert("consistent_hash".into(), hash.into());
        written.insert("user_tokens".into(), json!(["usertoken--plan"]));
        written.insert("instances".into(), instances.collect());
        (name.to_string(), Value::from(written))
    };
    let text = json!({ "apps": shape.apps.iter().map(app).collect::<Map<_, _>>() }).to_string();
    let config = parse(&text)?;
    build::snapshot(&config, None)
}

const HASH: (&str, &str) = ("hash_algorithm", "consistent_hash.hash_algorithm");

fn parse(text: &str) -> Result<Config, String> {
    let loaded = config::parse("shape", text, &Environment::default());
    loaded.map(|loaded| loaded.config).map_err(|findings| findings.to_string())
}

#[cfg(test)]
mod tests;
