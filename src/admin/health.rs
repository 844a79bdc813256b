//! What is known of an instance's health, for `/status` and `/metrics`.

use serde_json::{Value, json};

use crate::gateway::Shared;
use crate::gateway::state::member::Member;

/// What a Dify API container serves at a time where nothing is changed, in every release from 1.5 to
/// 1.17.
const STOCK: u32 = 10;

/// A moment of the gateway's clock, as RFC 3339 with milliseconds.
pub(super) fn time(shared: &Shared, ms: u64) -> String {
    format!("{:.3}", shared.time_of(ms))
}

/// The last probe; null where none is sent.
pub(super) fn probe(shared: &Shared, member: &Member) -> Value {
    let Some(probed) = &member.probed else { return Value::Null };
    let (last, standing) = (probed.last(), probed.health().standing());
    json!({
        "path": probed.probe().path.as_str(),
        "last": last.as_ref().map(|last| last.text.as_str()),
        "at": last.as_ref().map(|last| time(shared, last.at_ms)),
        "good": standing.streak > 0 && !standing.last_was_bad,
        "streak": standing.streak,
    })
}

/// Who mends a key has seen it work within this time.
const KEY_HINT_MS: u64 = 15 * 60 * 1000;

pub(super) fn hint(member: &Member, now_ms: u64) -> Option<String> {
    let instance = &member.instance;
    let refused_at_ms =
        member.authorization.as_ref().and_then(|key| member.stats.key_refused_at_ms(key.expose()));
    let since_ms = refused_at_ms.map(|at_ms| now_ms.saturating_sub(at_ms));
    if let Some(since_ms) = since_ms.filter(|since_ms| *since_ms < KEY_HINT_MS) {
        let count = member.stats.key_refused.get();
        let times = if count == 1 { "once" } else { &format!("{count} times") };
        let last = match since_ms / 1000 {
            seconds @ 0..60 => format!("{seconds} s"),
            seconds => format!("{} min", seconds / 60),
        };
        return Some(format!(
            "it refused its key {times} (401), the last time {last} ago: mistyped, deleted, or of another Dify? \
             `difygate check --ask` asks all of them"
        ));
    }
    let (limit, queued) = (instance.slots().limit(), instance.queued());
    let failing =
        member.probed.as_ref().is_some_and(|probed| probed.health().standing().last_was_bad);
    let (late, runs) = (instance.runs().late.get(), instance.runs());
    if late > 0 && !runs.starts.is_out() {
        return Some(late_runs(late, runs.limit()));
    }
    if queued > 0 {
        return Some(format!(
            "{queued} requests waited for one of its {limit} connections: raise `SERVER_WORKER_CONNECTIONS` \
             in Dify (mind its database connections) and `max_concurrent` here, both"
        ));
    }
    (failing && limit > STOCK).then(|| {
        format!(
            "a Dify API container serves {STOCK} connections unless its `SERVER_WORKER_CONNECTIONS` \
             says more: is that at least {limit}? Else set `max_concurrent: {STOCK}`"
        )
    })
}

/// Streamed flows that have waited for their first event for some seconds.
fn late_runs(late: u64, limit: Option<u32>) -> String {
    let runs = if late == 1 { "1 run waits" } else { &format!("{late} runs wait") };
    let there = "has its worker one place only (`CELERY_WORKER_AMOUNT`, 1 where it is empty), or is it dead?";
    let here = match limit {
        None => "`max_runs` here lets runs wait in turn for as many places".to_owned(),
        Some(limit) => format!("`max_runs: {limit}` here should be no more than that"),
    };
    format!("{runs} above 5 s for the first event: {there} {here}")
}
