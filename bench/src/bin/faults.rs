//! Breaks instances behind difygate, nginx and HAProxy and prints what clients noticed.
//!
//! `FAULTS=frozen,killed` and `CONTENDERS=difygate,nginx` choose some of them. The figures also go
//! to `bench/results/faults.json`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use difygate_bench::case::{self, Case};
use difygate_bench::choice::chosen;
use difygate_bench::contender::{self, Contender};
use difygate_bench::goals;
use difygate_bench::measure::Measured;
use difygate_bench::report::Results;
use tokio::task::JoinSet;

const RESULTS: &str = "bench/results/faults.json";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "error: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Gives how many goals difygate missed.
async fn run() -> anyhow::Result<usize> {
    let cases = chosen("FAULTS", case::ALL, |case| case.name)?;
    let mut contenders = Vec::new();
    for contender in chosen("CONTENDERS", contender::ALL, |contender| contender.name)? {
        match contender.describe() {
            Ok(version) => {
                say(&format!("{}: {version}\n", contender.name))?;
                contenders.push(contender);
            }
            Err(problem) if contender.name.starts_with("difygate") => return Err(problem),
            Err(problem) => say(&format!("{} is left out: {problem:#}\n", contender.name))?,
        }
    }
    let names: Vec<_> = contenders.iter().map(|contender| contender.name).collect();
    let about_s = cases.len() as u64 * (case::time().as_secs() + 2);
    say(&format!("{} faults, about {about_s} s\n", cases.len()))?;
    let mut results = Results { contenders: names.clone(), rows: Vec::new() };
    for case in cases {
        say(&format!("  {:<11}", case.name))?;
        let cells = all_through(case, &contenders).await;
        for (name, cell) in names.iter().zip(&cells) {
            say(&match cell {
                Ok(measured) => format!("  {name}: {}", brief(measured)),
                Err(problem) => format!("  {name} failed: {problem:#}"),
            })?;
        }
        say("\n")?;
        results.rows.push((case, cells.into_iter().map(Result::ok).collect()));
    }
    say(&format!("\n{}", results.tables()))?;
    keep(&results)?;
    let mut all_missed = 0;
    for name in names.iter().filter(|name| name.starts_with("difygate")) {
        let (text, missed) = goals::judge(&results, name);
        say(&text)?;
        all_missed += missed;
    }
    Ok(all_missed)
}

fn brief(measured: &Measured) -> String {
    let noticed: Vec<_> =
        measured.noticed.iter().map(|(what, count)| format!("{count} {what}")).collect();
    if noticed.is_empty() { "no error".to_owned() } else { noticed.join(", ") }
}

/// All contenders go through a case at the same time, each before instances of its own, so that
/// what else the machine does concerns them alike.
async fn all_through(
    case: &'static Case,
    contenders: &[&'static Contender],
) -> Vec<anyhow::Result<Measured>> {
    let mut running = JoinSet::new();
    for (column, contender) in contenders.iter().copied().enumerate() {
        running.spawn(async move { (column, case.run(contender).await) });
    }
    let mut cells = running.join_all().await;
    cells.sort_by_key(|(column, _)| *column);
    cells.into_iter().map(|(_, measured)| measured).collect()
}

fn keep(results: &Results) -> anyhow::Result<()> {
    if let Some(folder) = Path::new(RESULTS).parent() {
        std::fs::create_dir_all(folder)?;
    }
    let text = serde_json::to_string_pretty(&results.json())?;
    std::fs::write(RESULTS, text + "\n").with_context(|| format!("cannot write {RESULTS}"))
}
