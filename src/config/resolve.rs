//! From what is written to what is used: defaults and inheritance, once all checks have passed.

use std::sync::Arc;
use std::time::Duration;

use super::ai::Ai;
use super::balancing::{ConsistentHash, MaxLoad, Method};
use super::probe::{FAIL_STATUSES, Probe};
use super::raw::{RawApp, RawConfig, RawInstance};
use super::retry::Retry;
use super::services::{self, Above};
use super::types::{App, Config, Instance};
use crate::model::{OnDisconnect, OnOwnerDown, Storage};

/// The configuration. `None` only if an instance has no address or token, which the checks have
/// refused.
pub(super) fn resolve(raw: RawConfig) -> Option<Config> {
    let top = Top {
        method: raw.method,
        max_load: raw.max_load.unwrap_or_default(),
        hash: raw.consistent_hash.or(ConsistentHash::default()),
        probe: raw.probe.or(&Arc::new(Probe::default())),
        fail_statuses: raw.fail_statuses.unwrap_or(FAIL_STATUSES.into()),
        max_ejected_percent: raw.max_ejected_share.unwrap_or(100),
        slow_start: raw.slow_start.unwrap_or_default(),
        retry: raw.retry.or(&Retry::default()),
        on_disconnect: raw.on_disconnect,
        on_owner_down: raw.on_owner_down,
        storage: raw.storage,
        one_turn_at_a_time: raw.one_turn_at_a_time,
        ai: raw.ai.or(&Ai::default()),
    };
    let apps = raw.apps.into_iter();
    let apps = apps.map(|(name, app)| Some((name.into(), Arc::new(resolve_app(app, &top)?))));
    let apps = apps.collect::<Option<_>>()?;
    let above = Above { probe: &top.probe, retry: &top.retry, apps: &apps };
    Some(Config {
        services: services::resolve(raw.services, &above)?,
        ingress: raw.ingress,
        apps,
        listen: raw.listen,
        tls: raw.tls,
        client_certificates: raw.client_certificates,
        admin: raw.admin,
        workers: raw.workers,
        pin_cpus: raw.pin_cpus,
        access_log: raw.access_log,
        error_log: raw.error_log,
        trusted_proxies: raw.trusted_proxies,
        last_resort: raw.last_resort,
        instance_header: raw.instance_header,
        spool_dir: raw.spool_dir,
        timeouts: raw.timeouts,
        limits: raw.limits,
        owners: raw.owners,
        store: raw.store,
        keys: raw.keys.into_iter().map(Into::into).collect(),
        conversations: raw.conversations,
        log_level: None,
        state_name: None,
        watched_files: raw.watched_files,
    })
}

/// What an app takes from the top.
struct Top {
    method: Method,
    max_load: MaxLoad,
    hash: ConsistentHash,
    probe: Arc<Probe>,
    fail_statuses: Vec<u16>,
    max_ejected_percent: u32,
    slow_start: Duration,
    retry: Retry,
    on_disconnect: Option<OnDisconnect>,
    on_owner_down: OnOwnerDown,
    storage: Storage,
    one_turn_at_a_time: bool,
    ai: Ai,
}

fn resolve_app(app: RawApp, top: &Top) -> Option<App> {
    let probe = app.probe.or(&top.probe);
    let slow_start = app.slow_start.unwrap_or(top.slow_start);
    let instances = app.instances.into_iter();
    let instances = instances.map(|instance| resolve_instance(instance, &probe, slow_start));
    Some(App {
        user_tokens: app.user_tokens,
        name_is_model: true,
        named_by_dify: false,
        aliases: app.aliases,
        method: app.method.unwrap_or(top.method),
        max_load: app.max_load.unwrap_or(top.max_load),
        consistent_hash: app.consistent_hash.or(top.hash),
        fail_statuses: app.fail_statuses.unwrap_or_else(|| top.fail_statuses.clone()),
        max_ejected_percent: app.max_ejected_share.unwrap_or(top.max_ejected_percent),
        retry: app.retry.or(&top.retry),
        on_disconnect: app.on_disconnect.or(top.on_disconnect),
        on_owner_down: app.on_owner_down.unwrap_or(top.on_owner_down),
        storage: app.storage.unwrap_or(top.storage),
        one_turn_at_a_time: app.one_turn_at_a_time.unwrap_or(top.one_turn_at_a_time),
        ai: app.ai.or(&top.ai),
        instances: instances.collect::<Option<_>>()?,
    })
}

fn resolve_instance(
    instance: RawInstance,
    probe: &Arc<Probe>,
    slow_start: Duration,
) -> Option<Instance> {
    Some(Instance {
        address: instance.address().cloned()?,
        name: instance.name.into(),
        files_url: instance.files_url,
        token: instance.token?,
        dataset_token: instance.dataset_token,
        tls: instance.tls,
        web_url: instance.web_url,
        weight: instance.weight,
        max_fails: instance.max_fails,
        fail_timeout: instance.fail_timeout,
        max_concurrent: instance.max_concurrent,
        max_runs: instance.max_runs,
        queue: instance.queue,
        probe: instance.probe.or(probe),
        slow_start: instance.slow_start.unwrap_or(slow_start),
        drain: instance.drain,
    })
}
