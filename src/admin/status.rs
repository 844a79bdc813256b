//! `/status`: what runs, in one JSON object, without a secret.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::admin::health;
use crate::balance::{HashAlgorithm, MaxLoad, Method};
use crate::control::plan::InFlight;
use crate::gateway::state::app::App;
use crate::gateway::state::app_names::Naming;
use crate::gateway::state::member::Member;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tls::listener::ListenerTls;
use crate::gateway::{RemovedInstance, Shared};
use crate::model::Reason;

pub(super) fn status(shared: &Shared) -> Value {
    let snapshot = shared.snapshot();
    let stats = &shared.stats;
    let by_reason: Map<_, _> = Reason::ALL
        .into_iter()
        .map(|reason| (reason, stats.by_reason[reason as usize].get()))
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (reason.label().to_owned(), json!(count)))
        .collect();
    let mut models = vec![Vec::new(); snapshot.apps.len()];
    for (id, place) in snapshot.models.iter() {
        models[place].push(&**id);
    }
    let unnamed = |app: &Arc<App>| {
        let is_named_by_dify = snapshot.named_by_dify.iter().any(|one| Arc::ptr_eq(one, app));
        is_named_by_dify.then(|| shared.app_names().of(&app.name)).and_then(unnamed)
    };
    let applications: Map<_, _> = snapshot
        .apps
        .iter()
        .zip(&models)
        .map(|(app, models)| {
            let mut shown = application(shared, app);
            shown["models"] = json!(models);
            shown["unnamed"] = json!(unnamed(app));
            (app.name.to_string(), shown)
        })
        .collect();
    let owners = shared.owners().stats();
    let method = snapshot.apps.first().map(|app| &app.pool.method);
    json!({
        "status": if shared.is_draining() { "draining" } else { "running" },
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": shared.uptime().as_secs(),
        "architecture": std::env::consts::ARCH,
        "deployment": "multi-application",
        "algorithm": method.map(Method::label),
        "hash_algorithm": method.and_then(Method::hash_algorithm).map(HashAlgorithm::label),
        "stats": {
            "total_requests": stats.requests(),
            "active_connections": stats.clients.get(),
            "in_flight": stats.in_flight.get(),
            "body_memory_bytes": snapshot.body_memory.bodies.held_bytes(),
            "by_reason": by_reason,
        },
        "owners": {
            "known": owners.known,
            "learned": owners.learned,
            "asked_around": owners.asked_around,
            "dropped": owners.dropped,
        },
        "store": {
            "kind": owners.store_kind,
            "path": owners.store_path,
            "warning": owners.warning,
            "error": owners.error,
            "pending": owners.pending,
            "written": owners.written,
        },
        "conversations": conversations(shared),
        "configuration": {
            "generation": snapshot.generation,
            "loaded_at": snapshot.loaded_at.to_string(),
        },
        "certificates": certificates(&snapshot),
        "timestamp": Timestamp::now().as_second(),
        "applications": applications,
        "services": services(shared, &snapshot),
        "draining_instances": snapshot.removed.iter().filter_map(draining).collect::<Vec<_>>(),
    })
}

/// Why an app that Dify names is no model yet.
fn unnamed(naming: Naming) -> Option<String> {
    let fault =
        naming.fault.unwrap_or_else(|| "Dify has not been asked for its name yet".to_owned());
    naming.name.is_none().then_some(fault)
}

/// Those that are shown to clients.
fn certificates(snapshot: &Snapshot) -> Vec<Value> {
    let now = Timestamp::now();
    let shown = snapshot.tls.iter().flat_map(ListenerTls::certificates);
    shown
        .map(|certificate| {
            json!({
                "file": certificate.file,
                "names": certificate.names,
                "until": certificate.until.map(|until| until.to_string()),
                "warning": certificate.warning(now),
            })
        })
        .collect()
}

fn conversations(shared: &Shared) -> Value {
    let stats = shared.conversation_store().stats();
    json!({
        "known": stats.rows,
        "store": stats.kind,
        "place": stats.place,
        "warning": stats.warning,
        "error": stats.error,
        "pending": stats.pending,
        "written": stats.written,
        "dropped": stats.dropped,
    })
}

fn application(shared: &Shared, app: &App) -> Value {
    let method = &app.pool.method;
    let factor = |max_load: MaxLoad| f64::from(max_load.thousandths()) / 1000.0;
    let instances: Map<_, _> = app
        .pool
        .members
        .iter()
        .map(|member| (member.name().to_string(), instance(shared, member)))
        .collect();
    json!({
        "total_requests": app.stats.requests(),
        "method": method.label(),
        "hash_algorithm": method.hash_algorithm().map(HashAlgorithm::label),
        "max_load": app.pool.max_load.map(factor),
        "latency": rounded(app.stats.duration.mean_ms()),
        "retries": app.pool.stats.retries.get(),
        "retries_refused": app.pool.stats.retries_refused.get(),
        "retry_budget_left": app.pool.stats.budget.left(),
        "asked_around": app.stats.asked_around.get(),
        "located": app.stats.located.get(),
        "located_nobody": app.stats.located_nobody.get(),
        "wrong_conversation": app.stats.wrong_conversation.get(),
        "waited_for_first_turn": app.stats.waited_for_first.get(),
        "stopped": app.stats.stopped.get(),
        "drained": app.stats.drained.get(),
        "left_before_task": app.stats.left_before_task.get(),
        "instances": instances,
    })
}

/// What is passed on without an app.
fn services(shared: &Shared, snapshot: &Snapshot) -> Map<String, Value> {
    let services = snapshot.services.iter().flat_map(|services| &services.all);
    let shown = services.map(|service| {
        let members = service.pool.members.iter();
        let instances: Map<_, _> =
            members.map(|member| (member.name().to_string(), instance(shared, member))).collect();
        let stats = &service.pool.stats;
        let shown = json!({
            "method": service.pool.method.label(),
            "retries": stats.retries.get(),
            "retries_refused": stats.retries_refused.get(),
            "waiting": service.waiting.load(Ordering::Relaxed),
            "instances": instances,
        });
        (service.name.to_string(), shown)
    });
    shown.collect()
}

fn instance(shared: &Shared, member: &Member) -> Value {
    let instance = &member.instance;
    let state = member.state(shared.now_ms());
    let runs = instance.runs();
    json!({
        "requests": member.stats.requests.get(),
        "status": state.kind.status(),
        "state": state.kind.label(),
        "reason": state.reason,
        "since": state.since_ms.map(|since_ms| health::time(shared, since_ms)),
        "probe": health::probe(shared, member),
        "version": instance.version().map(|version| version.to_string()),
        "hint": health::hint(member, shared.now_ms()),
        "in_flight": member.stats.in_flight.get(),
        "weight": member.weight,
        "latency": rounded(member.stats.first_byte.mean_ms()),
        "failures": member.stats.failures.get(),
        "key_refused": member.stats.key_refused.get(),
        "ejections": instance.ejections() + member.stats.ejections.get(),
        "address": instance.address().to_string(),
        "connections": instance.slots().used(),
        "max_concurrent": instance.slots().limit(),
        "held": instance.held(),
        "waiting": instance.waiting(),
        "queued": instance.queued(),
        "runs": {
            "state": if runs.starts.is_out() { "no worker?" } else { "up" },
            "since": Some(runs.starts.since_ms()).filter(|ms| *ms > 0).map(|ms| health::time(shared, ms)),
            "under_way": runs.under_way(),
            "max_runs": runs.limit(),
            "waiting": runs.waiting(),
            "queued": runs.queued.get(),
            "late": runs.late.get(),
            "not_started": runs.not_started.get(),
        },
    })
}

/// Requests under way by app and instance.
pub(super) fn in_flight(snapshot: &Snapshot) -> InFlight {
    let of_app = |app: &App| {
        let count = |member: &Arc<Member>| (member.name().clone(), member.stats.in_flight.get());
        app.pool.members.iter().map(count).collect()
    };
    snapshot.apps.iter().map(|app| (app.name.clone(), of_app(app))).collect()
}

/// An instance that a reload took away while requests were under way there.
fn draining(removed: &RemovedInstance) -> Option<Value> {
    let in_flight = removed.stats()?.in_flight.get();
    let address = removed.instance()?.address().to_string();
    (in_flight > 0).then(|| {
        json!({
            "app": removed.app,
            "instance": removed.name,
            "address": address,
            "in_flight": in_flight,
            "since": removed.since.to_string(),
        })
    })
}

/// Apps none of whose instances is in rotation.
pub(super) fn apps_without_instance(shared: &Shared) -> Vec<String> {
    let snapshot = shared.snapshot();
    let without =
        snapshot.apps.iter().filter(|app| !app.pool.members.iter().any(|member| member.is_in()));
    without.map(|app| app.name.to_string()).collect()
}

/// Milliseconds with three decimals.
fn rounded(millis: f64) -> f64 {
    (millis * 1000.0).round() / 1000.0
}
