//! Measures what requests, events and connections cost difygate and other proxies.
//!
//! `BENCH_WORKS=plain,full`, `BENCH_CONTENDERS=difygate,HAProxy`, `BENCH_ROUNDS=5` and
//! `BENCH_SECONDS=2` choose. The figures go to `bench/results/`: JSON, Markdown and a plot.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use difygate_bench::choice::{chosen, number};
use difygate_bench::speed::cell::Cell;
use difygate_bench::speed::cores::{Cores, bind, descriptors};
use difygate_bench::speed::entry::{self, Entry};
use difygate_bench::speed::goals::judge;
use difygate_bench::speed::instance::Instances;
use difygate_bench::speed::plot::plot;
use difygate_bench::speed::results::{Results, Row};
use difygate_bench::speed::round::Stage;
use difygate_bench::speed::scene::{MOST_INSTANCES, Setup};
use difygate_bench::speed::work::{self, Work};

const RESULTS: &str = "bench/results";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
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

async fn run() -> anyhow::Result<()> {
    let works = chosen("BENCH_WORKS", work::ALL, |work| work.name)?;
    let asked = chosen("BENCH_CONTENDERS", entry::ALL, |entry| entry.name)?;
    let (rounds, seconds) = (number("BENCH_ROUNDS", 5)?, number("BENCH_SECONDS", 2)?);
    let cores = Cores::find();
    bind(cores.ours);
    let stage = Stage {
        cores,
        instances: Instances::start(MOST_INSTANCES, cores.ours)?,
        rounds: usize::try_from(rounds.max(1))?,
        length: Duration::from_secs(seconds.max(1)),
        descriptors: descriptors(),
    };
    let mut results = Results { remarks: remarks(&stage), ..Results::default() };
    let mut entries = Vec::new();
    for entry in asked {
        match (entry.setup)(Setup::Full).describe() {
            Ok(version) => {
                say(&format!("{}: {version}\n", entry.name))?;
                results.contenders.push((entry.name, version));
                entries.push(entry);
            }
            Err(problem) => {
                let left = format!("{} is left out: {problem:#}", entry.name);
                say(&format!("{left}\n"))?;
                results.remarks.push(left);
            }
        }
    }
    for works in sharing_rounds(works) {
        let rows = stage.run(&works, &entries).await?;
        for row in &rows {
            say(&format!("  {}{}\n", row.work.name, costs(row, &entries)))?;
        }
        results.rows.extend(rows);
    }
    say(&format!("\n{}\n{}", results.text(), judge(&results)))?;
    keep(&results)
}

/// The works in groups: those that are compared with each other share their rounds.
fn sharing_rounds(works: Vec<&'static Work>) -> Vec<Vec<&'static Work>> {
    let mut groups: Vec<Vec<&'static Work>> = Vec::new();
    for work in works {
        let leads = |group: &&mut Vec<&'static Work>| {
            group.first().is_some_and(|first| Some(first.name) == work.beside)
        };
        match groups.iter_mut().find(leads) {
            Some(group) => group.push(work),
            None => groups.push(vec![work]),
        }
    }
    groups
}

fn costs(row: &Row, entries: &[&'static Entry]) -> String {
    let cost = |(entry, cell): (&&Entry, &Cell)| match cell.cost_us() {
        Some(us) => format!("  {}: {us:.1} µs", entry.name),
        None => format!("  {}: {}", entry.name, cell.absent.as_deref().unwrap_or("done")),
    };
    entries.iter().zip(&row.cells).map(cost).collect()
}

/// What one has to know of the machine.
fn remarks(stage: &Stage) -> Vec<String> {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split_whitespace().take(3).collect();
    let Stage { cores, rounds, length, descriptors, .. } = stage;
    let mut remarks = vec![
        format!("{}; load before: {}", model.trim_start_matches([' ', '\t', ':']), load.join(" ")),
        format!(
            "proxy on core {}, instance and generator on core {}; {rounds} rounds of {} s; \
             {descriptors} descriptors",
            cores.proxy,
            cores.ours,
            length.as_secs()
        ),
    ];
    if cores.proxy == cores.ours {
        remarks.push("there is one core only: latencies say nothing".to_owned());
    }
    remarks
}

fn keep(results: &Results) -> anyhow::Result<()> {
    let folder = Path::new(RESULTS);
    std::fs::create_dir_all(folder)?;
    let name = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let json = serde_json::to_string_pretty(&results.json())? + "\n";
    for (ending, text) in [("json", json), ("md", results.markdown()), ("svg", plot(results))] {
        let path = folder.join(format!("{name}.{ending}"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    say(&format!("written: {RESULTS}/{name}.json, .md, .svg\n"))?;
    Ok(())
}
