//! `/metrics`: the gateway's counters for Prometheus, read when asked for.

mod family;
mod runs;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::registry::Registry;

use self::family::{Family, Labels, Line, count, counter, gauge, now, seconds, spread, write};
use self::runs::RunLines;
use crate::affinity::OwnersStats;
use crate::balance::ProbeVerdict;
use crate::conversation;
use crate::gateway::state::app::App;
use crate::gateway::state::app_stats::AppStats;
use crate::gateway::state::member::{Drain, Member};
use crate::gateway::state::pool_stats::PoolStats;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tls::listener::ListenerTls;
use crate::gateway::{Handshake, Shared};
use crate::model::Reason;
use crate::telemetry::Counter;

/// The exposition text.
///
/// # Errors
/// The encoder refuses a value; none of ours is refused.
pub(super) fn encode(shared: &Shared, log_dropped: u64) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Reading::of(shared, log_dropped)));
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

struct Reading(Vec<Family>);

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({} families)", self.0.len())
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let unit = family.unit.as_ref();
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, unit, family.kind)?;
            for line in &family.lines {
                if line.labels.is_empty() {
                    write(&mut metric, &line.value)?;
                } else {
                    write(&mut metric.encode_family(&line.labels)?, &line.value)?;
                }
            }
        }
        Ok(())
    }
}

impl Reading {
    fn of(shared: &Shared, log_dropped: u64) -> Self {
        let snapshot = shared.snapshot();
        let mut families = gateway(shared, &snapshot, log_dropped);
        families.push(certificates(&snapshot));
        families.extend(owners(shared.owners().stats()));
        families.extend(conversations(&shared.conversation_store().stats()));
        families.extend(apps(&snapshot));
        families.extend(remedies(&snapshot));
        families.extend(members(&snapshot));
        families.push(runs::resumed(&snapshot));
        families.extend(instances(&snapshot));
        families.extend(probes(&snapshot));
        Self(families)
    }
}

fn gateway(shared: &Shared, snapshot: &Snapshot, log_dropped: u64) -> Vec<Family> {
    let stats = &shared.stats;
    let by_reason = Reason::ALL.into_iter().map(|reason| {
        let labels = vec![("reason", reason.label().to_owned())];
        count(labels, stats.by_reason[reason as usize].get())
    });
    let handshakes = Handshake::ALL.into_iter().map(|result| {
        let labels = vec![("result", result.label().to_owned())];
        count(labels, stats.handshakes[result as usize].get())
    });
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    vec![
        gauge("difygate_build_info", "Version of the gateway", vec![now(version, 1)]),
        gauge(
            "difygate_uptime_seconds",
            "Seconds since the start",
            vec![now(vec![], shared.uptime().as_secs())],
        ),
        counter("difygate_requests", "Requests that ended, by reason", by_reason.collect()),
        gauge(
            "difygate_requests_in_flight",
            "Requests under way",
            vec![now(vec![], stats.in_flight.get())],
        ),
        gauge(
            "difygate_client_connections",
            "Open client connections",
            vec![now(vec![], stats.clients.get())],
        ),
        gauge(
            "difygate_request_body_memory_bytes",
            "What all request bodies hold in memory, bounded by limits.all_bodies_memory",
            vec![now(vec![], snapshot.body_memory.bodies.held_bytes())],
        ),
        counter(
            "difygate_tls_handshakes",
            "TLS handshakes with clients that ended, by result",
            handshakes.collect(),
        ),
        counter(
            "difygate_config_reloads",
            "Configurations loaded after the first",
            vec![count(vec![], snapshot.generation)],
        ),
        counter(
            "difygate_access_log_dropped",
            "Batches of the access log that were dropped",
            vec![count(vec![], log_dropped)],
        ),
    ]
}

fn certificates(snapshot: &Snapshot) -> Family {
    let shown = snapshot.tls.iter().flat_map(ListenerTls::certificates);
    let lines = shown.filter_map(|certificate| {
        let until = u64::try_from(certificate.until?.as_second()).unwrap_or(0);
        Some(now(vec![("certificate", certificate.file.clone())], until))
    });
    gauge(
        "difygate_certificate_expiry_timestamp_seconds",
        "When a certificate of the listener ends, in Unix time",
        lines.collect(),
    )
}

fn conversations(stats: &conversation::Stats) -> Vec<Family> {
    let counters = [
        ("difygate_conversations_written", "Changes of conversations stored", stats.written),
        ("difygate_conversations_dropped", "Changes that were lost", stats.dropped),
    ];
    let gauges = [
        ("difygate_conversations", "Conversations that are known", stats.rows),
        ("difygate_conversations_pending", "Changes that wait for the store", stats.pending),
        (
            "difygate_conversations_failing",
            "1 while their store fails",
            stats.error.is_some().into(),
        ),
    ];
    let counters =
        counters.map(|(name, help, value)| counter(name, help, vec![count(vec![], value)]));
    let gauges = gauges.map(|(name, help, value)| gauge(name, help, vec![now(vec![], value)]));
    counters.into_iter().chain(gauges).collect()
}

fn owners(stats: OwnersStats) -> Vec<Family> {
    let counters = [
        ("difygate_owners_learned", "Ids whose owner was learned", stats.learned),
        (
            "difygate_owners_asked_around",
            "Requests that asked further instances",
            stats.asked_around,
        ),
        ("difygate_owners_dropped", "Changes that were not stored", stats.dropped),
        ("difygate_store_written", "Changes committed to the store", stats.written),
    ];
    let gauges = [
        ("difygate_owners_known", "Ids whose owner is known", stats.known),
        ("difygate_store_pending", "Changes that wait for a commit", stats.pending),
        ("difygate_store_failing", "1 while the store fails", stats.error.is_some().into()),
        (
            "difygate_store_durable",
            "1 if the store survives a restart",
            stats.store_path.is_some().into(),
        ),
    ];
    let counters =
        counters.map(|(name, help, value)| counter(name, help, vec![count(vec![], value)]));
    let gauges = gauges.map(|(name, help, value)| gauge(name, help, vec![now(vec![], value)]));
    counters.into_iter().chain(gauges).collect()
}

fn apps(snapshot: &Snapshot) -> Vec<Family> {
    let label = |app: &App| ("app", app.name.to_string());
    let by_class = snapshot.apps.iter().flat_map(|app| {
        app.stats.by_class.iter().zip(1..).map(move |(class, hundred)| {
            count(vec![label(app), ("status", format!("{hundred}xx"))], class.get())
        })
    });
    let durations =
        snapshot.apps.iter().map(|app| spread(vec![label(app)], &app.stats.duration)).collect();
    vec![
        counter(
            "difygate_app_requests",
            "Requests that ended, by app and class of status",
            by_class.collect(),
        ),
        seconds(
            "difygate_app_duration",
            "From a request's head to the end of its answer",
            durations,
        ),
    ]
}

/// What an app did when something went wrong.
fn remedies(snapshot: &Snapshot) -> Vec<Family> {
    let lines = |line: &dyn Fn(Labels, &App) -> Line| -> Vec<Line> {
        snapshot.apps.iter().map(|app| line(vec![("app", app.name.to_string())], app)).collect()
    };
    let counted = |counter: fn(&AppStats) -> &Counter| {
        lines(&|labels, app| count(labels, counter(&app.stats).get()))
    };
    let of_pool = |counter: fn(&PoolStats) -> &Counter| {
        lines(&|labels, app| count(labels, counter(&app.pool.stats).get()))
    };
    let left = lines(&|labels, app| now(labels, app.pool.stats.budget.left().into()));
    vec![
        counter(
            "difygate_app_retries",
            "Attempts at a further instance",
            of_pool(|stats| &stats.retries),
        ),
        counter(
            "difygate_app_retries_refused",
            "Attempts that the retry budget did not allow",
            of_pool(|stats| &stats.retries_refused),
        ),
        gauge("difygate_app_retry_budget_left", "Retries that the budget still allows", left),
        counter(
            "difygate_app_asked_around",
            "Answers that said the instance does not have what was named",
            counted(|stats| &stats.asked_around),
        ),
        counter(
            "difygate_app_located",
            "Conversations that were found by asking all instances",
            counted(|stats| &stats.located),
        ),
        counter(
            "difygate_app_located_nobody",
            "Conversations that none of the instances has",
            counted(|stats| &stats.located_nobody),
        ),
        counter(
            "difygate_app_wrong_conversation",
            "Answers to a turn that name another conversation than the turn did",
            counted(|stats| &stats.wrong_conversation),
        ),
        counter(
            "difygate_app_waited_for_first_turn",
            "Runs that waited for the first one of the same user at an instance",
            counted(|stats| &stats.waited_for_first),
        ),
        counter(
            "difygate_app_runs_stopped",
            "Runs stopped because their client went away",
            counted(|stats| &stats.stopped),
        ),
        counter(
            "difygate_app_runs_drained",
            "Runs read to their end although their client went away",
            counted(|stats| &stats.drained),
        ),
        counter(
            "difygate_app_runs_left_before_task",
            "Streamed runs whose client went away before their task was known; stopped once it was",
            counted(|stats| &stats.left_before_task),
        ),
    ]
}

fn members(snapshot: &Snapshot) -> Vec<Family> {
    let lines = |line: &dyn Fn(Labels, &Member) -> Line| -> Vec<Line> {
        let pairs = snapshot.apps.iter().flat_map(|app| {
            app.pool.members.iter().map(move |member| {
                (
                    vec![("app", app.name.to_string()), ("instance", member.name().to_string())],
                    member,
                )
            })
        });
        pairs.map(|(labels, member)| line(labels, member)).collect()
    };
    let requests = lines(&|labels, member| count(labels, member.stats.requests.get()));
    let failures = lines(&|labels, member| count(labels, member.stats.failures.get()));
    let in_flight = lines(&|labels, member| now(labels, member.stats.in_flight.get()));
    let first_byte = lines(&|labels, member| spread(labels, &member.stats.first_byte));
    let up = lines(&|labels, member| now(labels, u64::from(!member.is_down())));
    let ejected = lines(&|labels, member| now(labels, u64::from(member.is_ejected())));
    let ejections = lines(&|labels, member| count(labels, member.stats.ejections.get()));
    let draining = lines(&|labels, member| now(labels, u64::from(member.drain == Drain::Yes)));
    vec![
        counter("difygate_instance_requests", "Answers passed on, by app and instance", requests),
        counter(
            "difygate_instance_failures",
            "Attempts that failed through the instance's fault",
            failures,
        ),
        gauge("difygate_instance_in_flight", "Requests under way, by app and instance", in_flight),
        seconds(
            "difygate_instance_first_byte",
            "From sending a request to the head of its answer",
            first_byte,
        ),
        gauge("difygate_instance_up", "0 while its probes fail, else 1", up),
        gauge("difygate_instance_ejected", "1 while failed requests keep it out, else 0", ejected),
        counter(
            "difygate_instance_app_ejections",
            "How often statuses of its answers took it out for this app alone",
            ejections,
        ),
        gauge("difygate_instance_draining", "1 while it takes nothing new, else 0", draining),
    ]
}

fn instances(snapshot: &Snapshot) -> Vec<Family> {
    let (mut healthy, mut ejections) = (Vec::new(), Vec::new());
    let (mut used, mut held, mut limit) = (Vec::new(), Vec::new(), Vec::new());
    let (mut waiting, mut queued) = (Vec::new(), Vec::new());
    let mut runs = RunLines::default();
    for member in &snapshot.everyone.pool.members {
        let instance = &member.instance;
        let labels = || vec![("address", instance.address().to_string())];
        let in_rotation = !member.is_down() && !instance.breaker().is_open();
        healthy.push(now(labels(), u64::from(in_rotation)));
        ejections.push(count(labels(), instance.ejections()));
        used.push(now(labels(), u64::from(instance.slots().used())));
        held.push(now(labels(), u64::from(instance.held())));
        limit.push(now(labels(), u64::from(instance.slots().limit())));
        waiting.push(now(labels(), u64::from(instance.waiting())));
        queued.push(count(labels(), instance.queued()));
        runs.push(labels(), instance.runs());
    }
    let mut families = vec![
        gauge("difygate_instance_healthy", "1 in rotation, 0 out", healthy),
        counter("difygate_instance_ejections", "How often it was taken out", ejections),
        gauge("difygate_instance_connections", "Connections of ours, idle ones included", used),
        gauge(
            "difygate_instance_held_slots",
            "Connections of ours that wait for Dify to close an ended stream",
            held,
        ),
        gauge("difygate_instance_max_concurrent", "Connections it may have", limit),
        gauge("difygate_instance_waiting", "Requests that wait for a connection", waiting),
        counter("difygate_instance_queued", "Requests that had to wait for a connection", queued),
    ];
    families.extend(runs.into_families());
    families
}

fn probes(snapshot: &Snapshot) -> Vec<Family> {
    let (mut results, mut took, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for instance in snapshot.instances() {
        let label = || ("address", instance.address().to_string());
        let stats = instance.probes();
        for verdict in [ProbeVerdict::Good, ProbeVerdict::Bad, ProbeVerdict::Busy] {
            let labels = vec![label(), ("result", verdict.label().to_owned())];
            results.push(count(labels, stats.by_verdict[verdict as usize].get()));
        }
        took.push(spread(vec![label()], &stats.duration));
        changes.push(count(vec![label()], stats.changes.get()));
    }
    vec![
        counter("difygate_probes", "Probes that ended, by result", results),
        seconds("difygate_probe_duration", "From the beginning of a probe to its answer", took),
        counter(
            "difygate_instance_state_changes",
            "How often probes took it out or brought it back",
            changes,
        ),
    ]
}
