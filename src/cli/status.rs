//! `difygate status`: what a running gateway says of itself, as a table or as JSON.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::sleep;

use crate::cli::admin_client::{AdminClient, AdminOption};
use crate::cli::config_source::ConfigOption;
use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::cli::serve::block_on;
use crate::cli::table::{Cell, Tone, table};
use crate::model::units::{format_duration, parse_duration};

/// Clears a terminal; anywhere else the printer leaves it out.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Show what a running gateway is doing.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all instances are healthy, 1 some are not, 2 the command line or the \
    configuration is wrong, 3 no gateway answers, 5 it refuses the token or the address."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    chosen: ConfigOption,
    #[command(flatten)]
    reach: AdminOption,
    /// Print the whole status as JSON
    #[arg(long)]
    json: bool,
    /// Show it again and again until Ctrl-C, every 2 s or as often as said
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true,
        default_missing_value = "2s", value_parser = interval, conflicts_with = "json")]
    watch: Option<Duration>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text).filter(|interval| !interval.is_zero());
    interval.ok_or_else(|| "write it as `2s` or `500ms`".to_owned())
}

/// Asks a gateway and prints what it says.
pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let Some(admin) = arguments.reach.admin(&arguments.chosen, printer) else {
        return Ok(ExitStatus::Misused);
    };
    if let Some(interval) = arguments.watch {
        return block_on(watch(&admin, interval, printer));
    }
    let status = block_on(admin.get("/status"))?;
    let unhealthy = instances(&status).any(|(_, _, instance)| instance["status"] == "unhealthy");
    if arguments.json {
        printer.line(&serde_json::to_string_pretty(&status)?)?;
    } else {
        printer.out(&text(&status))?;
    }
    Ok(if unhealthy { ExitStatus::Failed } else { ExitStatus::Done })
}

/// Shows it until somebody ends that. A gateway that does not answer may be on its way back.
async fn watch(
    admin: &AdminClient,
    interval: Duration,
    printer: &mut Printer,
) -> anyhow::Result<ExitStatus> {
    let ended = tokio::signal::ctrl_c();
    tokio::pin!(ended);
    loop {
        let shown = match admin.get("/status").await {
            Ok(status) => text(&status),
            Err(error) => format!("{}\n", Tone::Bad.paint(&format!("{error:#}"))),
        };
        printer.out(&format!("{CLEAR}{shown}"))?;
        tokio::select! {
            done = &mut ended => {
                done?;
                return Ok(ExitStatus::Done);
            }
            () = sleep(interval) => printer.line("")?,
        }
    }
}

/// `(app, instance, its status)`.
fn instances(status: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let apps = status["applications"].as_object().into_iter().flatten();
    apps.flat_map(|(app, value)| {
        let instances = value["instances"].as_object().into_iter().flatten();
        instances.map(move |(name, instance)| (app, name, instance))
    })
}

fn text(status: &Value) -> String {
    let mut text = String::new();
    let stats = &status["stats"];
    let uptime = Duration::from_secs(status["uptime"].as_u64().unwrap_or_default());
    let state = plain(&status["status"]);
    let tone = if state == "running" { Tone::Good } else { Tone::Odd };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "difygate {}  {}  up {}  {} requests  {} in flight  {} connections\n",
        plain(&status["version"]),
        tone.paint(state),
        format_duration(uptime),
        stats["total_requests"],
        stats["in_flight"],
        stats["active_connections"],
    );
    let rows = instances(status).map(|(app, name, instance)| {
        [
            app.as_str().into(),
            name.as_str().into(),
            condition(instance),
            instance["requests"].to_string().into(),
            instance["in_flight"].to_string().into(),
            format!("{}/{}", instance["connections"], instance["max_concurrent"]).into(),
            latency(instance),
            plain(&instance["address"]).into(),
        ]
    });
    text += &table(
        ["APP", "INSTANCE", "STATUS", "REQUESTS", "IN FLIGHT", "SLOTS", "LATENCY", "ADDRESS"],
        rows.collect(),
    );
    if let Some(since) = status["configuration"]["refused"]["since"].as_str() {
        let said =
            format!("the configuration on disk is refused since {since}: run `difygate check`");
        let _ = writeln!(text, "\n{}", Tone::Bad.paint(&said));
    }
    for (remark, whose) in remarks(status) {
        let _ = writeln!(text, "\n{}: {remark}", whose.join(", "));
    }
    for (app, value) in status["applications"].as_object().into_iter().flatten() {
        if let Some(why) = value["unnamed"].as_str() {
            let _ = writeln!(text, "\n{app}: no model yet: {why}");
        }
    }
    for certificate in status["certificates"].as_array().into_iter().flatten() {
        if let Some(warning) = certificate["warning"].as_str() {
            let _ = writeln!(text, "\n{}", Tone::Odd.paint(&format!("warning: {warning}")));
        }
    }
    text
}

/// Its status, if anything has shown it: at first an instance is taken for healthy.
fn condition(instance: &Value) -> Cell {
    let count = |key: &str| instance[key].as_u64().unwrap_or_default();
    let is_probed = !instance["probe"]["last"].is_null();
    match plain(&instance["status"]) {
        "healthy" if !is_probed && count("requests") + count("failures") == 0 => {
            Cell::new("not asked yet", Tone::Faint)
        }
        "healthy" => Cell::new("healthy", Tone::Good),
        "unhealthy" => Cell::new("unhealthy", Tone::Bad),
        other => Cell::new(other, Tone::Odd),
    }
}

/// The mean time to the first byte, if there was one.
fn latency(instance: &Value) -> Cell {
    match instance["latency"].as_f64().filter(|millis| *millis > 0.0) {
        Some(millis) => format!("{millis:.1} ms").into(),
        None => Cell::new("-", Tone::Faint),
    }
}

/// What there is to say of instances, each once, with those that it is about.
fn remarks(status: &Value) -> Vec<(String, Vec<String>)> {
    let mut remarks: Vec<(String, Vec<String>)> = Vec::new();
    for (app, name, instance) in instances(status) {
        let reason = instance["reason"].as_str().map(|reason| Tone::Bad.paint(reason));
        let hint = instance["hint"].as_str();
        let hint = hint.map(|hint| format!("{}: {hint}", Tone::Odd.paint("hint")));
        let all = [reason, held(instance), waiting_runs(instance), no_worker(instance), hint];
        for remark in all.into_iter().flatten() {
            let whose = format!("{app}/{name}");
            match remarks.iter_mut().find(|(known, _)| *known == remark) {
                Some((_, others)) => others.push(whose),
                None => remarks.push((remark, vec![whose])),
            }
        }
    }
    remarks
}

fn held(instance: &Value) -> Option<String> {
    match instance["held"].as_u64()? {
        0 => None,
        1 => Some("1 place held by an ended stream".to_owned()),
        held => Some(format!("{held} places held by ended streams")),
    }
}

fn waiting_runs(instance: &Value) -> Option<String> {
    let (waiting, most) = (instance["runs"]["waiting"].as_u64()?, &instance["runs"]["max_runs"]);
    match waiting {
        0 => None,
        1 => Some(format!("1 run waits for a place (max_runs: {most})")),
        _ => Some(format!("{waiting} runs wait for a place (max_runs: {most})")),
    }
}

fn no_worker(instance: &Value) -> Option<String> {
    let is_out = instance["runs"]["state"] == "no worker?";
    is_out.then(|| "no worker? It takes streamed flows and does not begin them".to_owned())
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    use super::text;

    fn of(apps: Value) -> Value {
        json!({
            "status": "running", "version": "0.1.0", "uptime": 67,
            "stats": { "total_requests": 24, "in_flight": 2, "active_connections": 4 },
            "applications": apps,
        })
    }

    #[test]
    fn the_table_shows_each_instance_and_why_one_is_out() {
        let instance = |status: &str, reason: Option<&str>| {
            json!({ "requests": 12, "status": status, "reason": reason, "in_flight": 1, "weight": 1,
                "latency": 45.25, "address": "10.0.0.2:5001", "connections": 3, "max_concurrent": 10,
                "held": if reason.is_some() { 0 } else { 2 },
                "runs": { "state": if reason.is_some() { "no worker?" } else { "up" }, "waiting": 1,
                    "max_runs": 4 } })
        };
        let status = of(json!({ "shop": { "instances": {
            "dify1": instance("healthy", None),
            "dify2": instance("unhealthy", Some("connection refused; out for 9 s more")),
        } } }));
        let shown = text(&status);
        assert!(shown.contains("\u{1b}[32mhealthy") && shown.contains("\u{1b}[1;31munhealthy"));
        insta::assert_snapshot!(strip_str(&shown).to_string(), @r"
        difygate 0.1.0  running  up 1m7s  24 requests  2 in flight  4 connections

        APP   INSTANCE  STATUS     REQUESTS  IN FLIGHT  SLOTS  LATENCY  ADDRESS
        shop  dify1     healthy    12        1          3/10   45.2 ms  10.0.0.2:5001
        shop  dify2     unhealthy  12        1          3/10   45.2 ms  10.0.0.2:5001

        shop/dify1: 2 places held by ended streams

        shop/dify1, shop/dify2: 1 run waits for a place (max_runs: 4)

        shop/dify2: connection refused; out for 9 s more

        shop/dify2: no worker? It takes streamed flows and does not begin them
        ");
    }

    #[test]
    fn a_hint_is_given_once_and_nothing_is_shown_that_was_not_measured() {
        let instance = json!({ "requests": 0, "failures": 0, "status": "healthy", "in_flight": 0,
            "latency": 0.0, "address": "10.0.0.2:5001", "connections": 0, "max_concurrent": 10,
            "probe": { "last": null }, "hint": "look there" });
        let mut probed = instance.clone();
        probed["probe"]["last"] = json!("200 in 1.0 ms");
        let status = of(json!({ "shop": { "instances": { "dify1": instance } },
            "flow": { "instances": { "dify1": probed } } }));
        insta::assert_snapshot!(strip_str(&text(&status)).to_string(), @r"
        difygate 0.1.0  running  up 1m7s  24 requests  2 in flight  4 connections

        APP   INSTANCE  STATUS         REQUESTS  IN FLIGHT  SLOTS  LATENCY  ADDRESS
        shop  dify1     not asked yet  0         0          0/10   -        10.0.0.2:5001
        flow  dify1     healthy        0         0          0/10   -        10.0.0.2:5001

        shop/dify1, flow/dify1: hint: look there
        ");
    }
}
