//! From what is written to what is used: defaults and inheritance, once all checks have passed.

use super::check_app::address;
use super::types::{App, Config, ConsistentHash, Instance, MaxLoad, Method};
use super::written::{Written, WrittenApp, WrittenInstance};

/// The configuration. `None` only if an instance has no address or token, which the checks have
/// refused.
pub(super) fn resolve(written: Written) -> Option<Config> {
    let top = Top {
        method: written.method,
        max_load: written.max_load.unwrap_or_default(),
        hash: written.consistent_hash.or(ConsistentHash::default()),
    };
    let apps = written.apps.into_iter();
    let apps = apps.map(|(name, app)| Some((name.into(), resolve_app(app, &top)?)));
    Some(Config {
        apps: apps.collect::<Option<_>>()?,
        listen: written.listen,
        admin: written.admin,
        workers: written.workers,
        pin_cpus: written.pin_cpus,
        access_log: written.access_log,
        trusted_proxies: written.trusted_proxies,
        last_resort: written.last_resort,
        spool_dir: written.spool_dir,
        retry: written.retry,
        timeouts: written.timeouts,
        limits: written.limits,
        secret_files: written.secret_files,
    })
}

/// What an app takes from the top.
struct Top {
    method: Method,
    max_load: MaxLoad,
    hash: ConsistentHash,
}

fn resolve_app(app: WrittenApp, top: &Top) -> Option<App> {
    Some(App {
        user_tokens: app.user_tokens,
        method: app.method.unwrap_or(top.method),
        max_load: app.max_load.unwrap_or(top.max_load),
        consistent_hash: app.consistent_hash.or(top.hash),
        instances: app.instances.into_iter().map(resolve_instance).collect::<Option<_>>()?,
    })
}

fn resolve_instance(instance: WrittenInstance) -> Option<Instance> {
    Some(Instance {
        address: address(&instance)?,
        name: instance.name.into(),
        token: instance.token?,
        weight: instance.weight,
        max_fails: instance.max_fails,
        fail_timeout: instance.fail_timeout,
        max_concurrent: instance.max_concurrent,
        queue: instance.queue,
    })
}
