//! From what is written to what is used: defaults and inheritance, once all checks have passed.

use std::sync::Arc;
use std::time::Duration;

use super::ai::Ai;
use super::check_app::address;
use super::health::{FAIL_STATUSES, Probe};
use super::policy::{OnDisconnect, OnOwnerDown, Retry, Storage};
use super::types::{App, Config, ConsistentHash, Instance, MaxLoad, Method};
use super::written::{Written, WrittenApp, WrittenInstance};

/// The configuration. `None` only if an instance has no address or token, which the checks have
/// refused.
pub(super) fn resolve(written: Written) -> Option<Config> {
    let top = Top {
        method: written.method,
        max_load: written.max_load.unwrap_or_default(),
        hash: written.consistent_hash.or(ConsistentHash::default()),
        probe: written.probe.or(&Arc::new(Probe::default())),
        fail_statuses: written.fail_statuses.unwrap_or(FAIL_STATUSES.into()),
        max_ejected_percent: written.max_ejected_share.unwrap_or(100),
        slow_start: written.slow_start.unwrap_or_default(),
        retry: written.retry.or(&Retry::default()),
        on_disconnect: written.on_disconnect,
        on_owner_down: written.on_owner_down,
        storage: written.storage,
        one_turn_at_a_time: written.one_turn_at_a_time,
        ai: written.ai.or(&Ai::default()),
    };
    let apps = written.apps.into_iter();
    let apps = apps.map(|(name, app)| Some((name.into(), Arc::new(resolve_app(app, &top)?))));
    Some(Config {
        apps: apps.collect::<Option<_>>()?,
        listen: written.listen,
        tls: written.tls,
        client_certificates: written.client_certificates,
        admin: written.admin,
        workers: written.workers,
        pin_cpus: written.pin_cpus,
        access_log: written.access_log,
        trusted_proxies: written.trusted_proxies,
        last_resort: written.last_resort,
        instance_header: written.instance_header,
        spool_dir: written.spool_dir,
        timeouts: written.timeouts,
        limits: written.limits,
        owners: written.owners,
        store: written.store,
        keys: written.keys.into_iter().map(Into::into).collect(),
        conversations: written.conversations,
        log_level: None,
        watched_files: written.watched_files,
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

fn resolve_app(app: WrittenApp, top: &Top) -> Option<App> {
    let probe = app.probe.or(&top.probe);
    let slow_start = app.slow_start.unwrap_or(top.slow_start);
    let instances = app.instances.into_iter();
    let instances = instances.map(|instance| resolve_instance(instance, &probe, slow_start));
    Some(App {
        user_tokens: app.user_tokens,
        name_is_model: true,
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
    instance: WrittenInstance,
    probe: &Arc<Probe>,
    slow_start: Duration,
) -> Option<Instance> {
    Some(Instance {
        address: address(&instance).cloned()?,
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
