//! `difygate status`: what a running gateway says of itself, as a table or as JSON.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use crate::cli::admin_client::AdminOption;
use crate::cli::config_source::ConfigOption;
use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::cli::serve::block_on;

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
}

/// Asks a gateway and prints what it says.
pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let Some(admin) = arguments.reach.admin(&arguments.chosen, printer) else {
        return Ok(ExitStatus::Misused);
    };
    let status = block_on(admin.get("/status"))?;
    let unhealthy = instances(&status).any(|(_, _, instance)| instance["status"] == "unhealthy");
    if arguments.json {
        printer.line(&serde_json::to_string_pretty(&status)?)?;
    } else {
        printer.out(&table(&status))?;
    }
    Ok(if unhealthy { ExitStatus::Failed } else { ExitStatus::Done })
}

/// `(app, instance, its status)`.
fn instances(status: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let apps = status["applications"].as_object().into_iter().flatten();
    apps.flat_map(|(app, value)| {
        let instances = value["instances"].as_object().into_iter().flatten();
        instances.map(move |(name, instance)| (app, name, instance))
    })
}

fn table(status: &Value) -> String {
    let mut text = String::new();
    let stats = &status["stats"];
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "difygate {}  {}  up {} s  {} requests  {} in flight  {} connections\n",
        plain(&status["version"]),
        plain(&status["status"]),
        status["uptime"],
        stats["total_requests"],
        stats["in_flight"],
        stats["active_connections"],
    );
    let mut rows = vec![
        ["APP", "INSTANCE", "STATUS", "REQUESTS", "IN FLIGHT", "SLOTS", "LATENCY", "ADDRESS"]
            .map(str::to_owned),
    ];
    rows.extend(instances(status).map(|(app, name, instance)| {
        [
            app.clone(),
            name.clone(),
            plain(&instance["status"]).to_owned(),
            instance["requests"].to_string(),
            instance["in_flight"].to_string(),
            format!("{}/{}", instance["connections"], instance["max_concurrent"]),
            format!("{:.1} ms", instance["latency"].as_f64().unwrap_or_default()),
            plain(&instance["address"]).to_owned(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..8).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells: Vec<_> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    for (app, name, instance) in instances(status) {
        if let Some(reason) = instance["reason"].as_str() {
            let _ = writeln!(text, "\n{app}/{name}: {reason}");
        }
        for line in [held(instance), waiting_runs(instance), no_worker(instance)].iter().flatten() {
            let _ = writeln!(text, "\n{app}/{name}: {line}");
        }
        if let Some(hint) = instance["hint"].as_str() {
            let _ = writeln!(text, "\n{app}/{name}: hint: {hint}");
        }
    }
    for certificate in status["certificates"].as_array().into_iter().flatten() {
        if let Some(warning) = certificate["warning"].as_str() {
            let _ = writeln!(text, "\nwarning: {warning}");
        }
    }
    text
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
    use serde_json::json;

    use super::table;

    #[test]
    fn the_table_shows_each_instance_and_why_one_is_out() {
        let instance = |status: &str, reason: Option<&str>| {
            json!({ "requests": 12, "status": status, "reason": reason, "in_flight": 1, "weight": 1,
                "latency": 45.25, "address": "10.0.0.2:5001", "connections": 3, "max_concurrent": 10,
                "held": if reason.is_some() { 0 } else { 2 },
                "runs": { "state": if reason.is_some() { "no worker?" } else { "up" }, "waiting": 1,
                    "max_runs": 4 } })
        };
        let status = json!({
            "status": "running", "version": "0.1.0", "uptime": 7,
            "stats": { "total_requests": 24, "in_flight": 2, "active_connections": 4 },
            "applications": { "shop": { "instances": {
                "dify1": instance("healthy", None),
                "dify2": instance("unhealthy", Some("connection refused; out for 9 s more")),
            } } },
        });
        insta::assert_snapshot!(table(&status), @r"
        difygate 0.1.0  running  up 7 s  24 requests  2 in flight  4 connections

        APP   INSTANCE  STATUS     REQUESTS  IN FLIGHT  SLOTS  LATENCY  ADDRESS
        shop  dify1     healthy    12        1          3/10   45.2 ms  10.0.0.2:5001
        shop  dify2     unhealthy  12        1          3/10   45.2 ms  10.0.0.2:5001

        shop/dify1: 2 places held by ended streams

        shop/dify1: 1 run waits for a place (max_runs: 4)

        shop/dify2: connection refused; out for 9 s more

        shop/dify2: 1 run waits for a place (max_runs: 4)

        shop/dify2: no worker? It takes streamed flows and does not begin them
        ");
    }
}
