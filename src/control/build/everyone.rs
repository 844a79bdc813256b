//! All instances as one app, for what needs no key.
//!
//! The least busy answers, or who has what a link or a code names. Whoever has a made-up link can have all
//! of them asked, so no status that they answer with takes one out.
//!
//! Each address is there once, by the name that apps have for it. One that stands for other addresses too,
//! in other apps, gets a digest of its address behind it: an owner's name must not lead to somebody else,
//! it is kept over a restart, and clients may see it.
//!
//! Services with Dify's API are among them: people who use its console have files there, too.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::{Builder, Judgement};
use crate::balance::{Method, StatusSet};
use crate::config::{self, Config};
use crate::gateway::state::ai_settings::AiSettings;
use crate::gateway::state::app::App;
use crate::gateway::state::policy::{Policy, Retry, Storage};
use crate::gateway::state::pool::Pool;
use crate::model::{Address, AppName, InstanceName};

impl Builder<'_> {
    /// The app of all instances.
    ///
    /// # Errors
    /// As of any member.
    pub(super) fn everyone(&mut self, config: &Config) -> Result<App, String> {
        let shared_names = shared_names(config);
        let mut seen = HashSet::new();
        let mut members = Vec::new();
        for (name, app) in &config.apps {
            let new = app.instances.iter().filter(|instance| seen.insert(&instance.address));
            let new: Vec<_> = new.collect();
            if new.is_empty() {
                continue;
            }
            let fail_statuses = StatusSet::default();
            let stats: Vec<_> = app.instances.iter().map(|_| Arc::default()).collect();
            let judgement = Judgement { fail_statuses, ..self.judgement(name, app, &stats) };
            for instance in new {
                let instance = with_own_name(instance, &shared_names);
                let member = self.keyless(&instance, judgement.clone(), Arc::default())?;
                members.push(Arc::new(member));
            }
        }
        let of_apps = members.len();
        for (name, service) in config.services.iter().filter(|(_, service)| is_api(service)) {
            let stats: Vec<_> = service.instances.iter().map(|_| Arc::default()).collect();
            let judgement = self.service_judgement(name, service, &stats);
            for instance in &service.instances {
                if !seen.insert(&instance.address) {
                    continue;
                }
                let instance = with_own_name(instance, &shared_names);
                let member = self.keyless(&instance, judgement.clone(), Arc::default())?;
                members.push(Arc::new(member));
            }
        }
        let stats = Arc::default();
        let retry = Retry { attempts: 2, budget: 200, ..Retry::default() };
        let how = (Method::LeastConnections, None);
        let is_one_dify = members.len() == of_apps;
        let pool = Pool::new(AppName::from(""), members, how, retry, Arc::default());
        let is_shared = |app: &Arc<config::App>| app.storage == Storage::Shared;
        let storage = match is_one_dify && config.apps.values().all(is_shared) {
            true => Storage::Shared,
            false => Storage::Independent,
        };
        let policy = Policy { storage, ..Policy::default() };
        Ok(App {
            name: AppName::from(""),
            pool: Arc::new(pool),
            policy,
            ai: AiSettings::default(),
            stats,
        })
    }
}

/// Whether a service answers for Dify's API.
fn is_api(service: &config::Service) -> bool {
    service.routes.iter().any(|route| route.prefix == "/v1" || route.prefix == "/v1/")
}

/// An instance under a name that no other has.
fn with_own_name<'i>(
    instance: &'i config::Instance,
    shared_names: &HashSet<InstanceName>,
) -> Cow<'i, config::Instance> {
    let mut instance = Cow::Borrowed(instance);
    if shared_names.contains(&instance.name) {
        let digest = xxh3_64(instance.address.to_string().as_bytes());
        instance.to_mut().name = format!("{}@{digest:016x}", instance.name).into();
    }
    instance
}

/// Names that apps and services with the API have for different addresses.
fn shared_names(config: &Config) -> HashSet<InstanceName> {
    let mut addresses: HashMap<&InstanceName, &Address> = HashMap::new();
    let mut shared = HashSet::new();
    let services = config.services.values().filter(|service| is_api(service));
    let of_services = services.flat_map(|service| &service.instances);
    for instance in config.apps.values().flat_map(|app| &app.instances).chain(of_services) {
        let first = *addresses.entry(&instance.name).or_insert(&instance.address);
        if *first != instance.address {
            shared.insert(instance.name.clone());
        }
    }
    shared
}
