//! Keeps difygate busy while instances break at random and the configuration changes, and then beside a
//! client that means harm, and looks for what grows, hangs or stays broken.
//!
//! `SOAK_SECONDS` (600) is how long each part takes, `SOAK_PARTS` (faults,hostile) chooses, and
//! `SOAK_HARMS` what the hostile client does; `SOAK_SEED` gives a run's random choices again.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use dify_sim::{App, Dify, Mode, Pace, Setup};
use difygate_bench::choice::chosen;
use difygate_bench::client::Clients;
use difygate_bench::contender::{self, APP_KEY, SLOTS};
use difygate_bench::process::Running;
use difygate_bench::soak::{
    Done, HARMS, Sample, Tally, Trouble, all_served, grown, hostile, reloading, sample, working,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, interval};

const INSTANCES: usize = 3;
const DEFAULT_S: u64 = 600;
/// Fewer seconds give no quarters to compare.
const SHORTEST_S: u64 = 20;
/// What the gateway logs when it has read its configuration again, and when it refused to.
const RELOADED: &str = " reloaded";
const REFUSED: &str = "reload refused";
/// Between two lines of the report.
const LINE_EVERY_S: usize = 10;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            let _ = say(&format!("FAILED\n  {}", wrong.join("\n  ")));
            ExitCode::FAILURE
        }
        Err(problem) => {
            let _ = writeln!(io::stderr(), "error: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

fn variable(name: &str) -> anyhow::Result<Option<u64>> {
    let Ok(text) = std::env::var(name) else { return Ok(None) };
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).with_context(|| format!("{name}={text} is not a whole number"))
}

/// What is done beside the good clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Instances break at random: good clients notice some of it.
    Faults,
    /// One client means harm: the others notice nothing.
    Hostile,
}

/// The parts of a soak, each with a gateway of its own.
const PARTS: &[(Beside, &str)] = &[(Beside::Faults, "faults"), (Beside::Hostile, "hostile")];

/// Gives what is wrong.
async fn run() -> anyhow::Result<Vec<String>> {
    let seconds = variable("SOAK_SECONDS")?.unwrap_or(DEFAULT_S);
    ensure!(seconds >= SHORTEST_S, "SOAK_SECONDS is at least {SHORTEST_S}");
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let seed = variable("SOAK_SEED")?.unwrap_or(clock.as_secs());
    say(&format!("{}\n{seconds} s each, SOAK_SEED={seed}", contender::OURS.describe()?))?;
    let mut wrong = Vec::new();
    for (beside, name) in chosen("SOAK_PARTS", PARTS, |(_, name)| name)? {
        say(&format!("{name}:"))?;
        let log = format!("bench/results/soak-{name}.log");
        let found = part(*beside, seconds, seed, &log).await?;
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    Ok(wrong)
}

/// Gives what is wrong with one part, whose gateway's log is kept as `log`.
async fn part(beside: Beside, seconds: u64, seed: u64, log: &str) -> anyhow::Result<Vec<String>> {
    let difygate = &contender::OURS;
    let instances = start_instances().await?;
    let gateway = Running::start(difygate, &instances).await?;
    let clients = Arc::new(Clients::new(gateway.listen));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut trouble = Trouble::new(instances, seed);
    let done = Arc::new(Done::new(chosen("SOAK_HARMS", HARMS, |harm| harm.name)?));
    let work = working(Arc::clone(&clients), difygate.token, seed ^ 1, Arc::clone(&tally));
    let config = gateway.folder.path().join("difygate.yaml");
    let work = tokio::spawn(work);
    let harm = async {
        match beside {
            Beside::Faults => trouble.go_on().await,
            Beside::Hostile => {
                hostile(gateway.listen, difygate.token, seed ^ 2, Arc::clone(&done)).await;
                Ok(())
            }
        }
    };
    let samples = tokio::select! {
        samples = watch(&gateway, seconds, &tally) => samples?,
        ended = harm => { ended?; Vec::new() }
        ended = reloading(&gateway, config) => { ended?; Vec::new() }
    };
    work.abort();
    trouble.heal().await?;
    let served = all_served(&clients, difygate.token).await;
    let mut wrong = verdict(&tally, &samples, served).await;
    let said = std::fs::read_to_string(gateway.folder.path().join("said.log"))?;
    std::fs::create_dir_all("bench/results")?;
    std::fs::write(log, &said)?;
    let reloads = said.matches(RELOADED).count();
    say(&format!("{} faults, {reloads} reloads, {} samples", trouble.count, samples.len()))?;
    if beside == Beside::Hostile {
        wrong.extend(harmed(&done, &tally.lock().await.clone())?);
    }
    if said.contains("panicked") {
        wrong.push(format!("it panicked: see {log}"));
    }
    if reloads == 0 || said.contains(REFUSED) {
        wrong.push(format!("a changed configuration was not taken: see {log}"));
    }
    gateway.stop().await?;
    Ok(wrong)
}

/// Says what the hostile client did. Wrong is what the good ones noticed of it, and what it did not do.
fn harmed(done: &Done, tally: &Tally) -> anyhow::Result<Vec<String>> {
    let figures = done.figures();
    let text: Vec<_> = figures.iter().map(|(what, count)| format!("{what} {count}")).collect();
    let lost: u64 = tally.noticed.values().sum();
    say(&format!("{}; {} good requests, {lost} lost", text.join(", "), tally.done))?;
    let none = figures.iter().filter(|(_, count)| *count == 0);
    let mut wrong: Vec<_> = none.map(|(what, _)| format!("there was no {what}")).collect();
    if lost > 0 {
        wrong.push(format!("{lost} good requests were lost beside the hostile client"));
    }
    Ok(wrong)
}

async fn start_instances() -> anyhow::Result<Vec<Dify>> {
    let mut instances = Vec::new();
    for _ in 0..INSTANCES {
        let pace = Pace { blocking: Duration::from_millis(20), ..Pace::default() };
        let app = App::new(Mode::Chat, APP_KEY);
        let setup = Setup::default().with_app(app).with_slots(SLOTS).with_pace(pace);
        instances.push(Dify::start(setup).await.context("no simulated Dify")?);
    }
    Ok(instances)
}

/// Samples each second, and says now and then how it goes.
async fn watch(
    gateway: &Running,
    seconds: u64,
    tally: &Mutex<Tally>,
) -> anyhow::Result<Vec<Sample>> {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.tick().await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut samples = Vec::new();
    while Instant::now() < end {
        ticks.tick().await;
        let now = sample(gateway.id().context("the gateway has ended")?)?;
        samples.push(now);
        if samples.len() % LINE_EVERY_S == 0 {
            let tally = tally.lock().await.clone();
            let lost: u64 = tally.noticed.values().sum();
            say(&format!(
                "{:>5} s  {:>6} requests, {lost} lost, {} hung  {:>7} KiB  {:>4} descriptors",
                samples.len(),
                tally.done,
                tally.hung,
                now.resident_kib,
                now.descriptors
            ))?;
        }
    }
    Ok(samples)
}

async fn verdict(
    tally: &Mutex<Tally>,
    samples: &[Sample],
    served: Result<(), String>,
) -> Vec<String> {
    let tally = tally.lock().await.clone();
    for (what, count) in &tally.noticed {
        let _ = say(&format!("  {count:>6} {what}"));
    }
    let mut wrong: Vec<_> =
        grown(samples).into_iter().map(|what| format!("it grew {what}")).collect();
    if tally.hung > 0 {
        wrong.push(format!("{} requests hung", tally.hung));
    }
    if tally.cut_unseen > 0 {
        wrong.push(format!("{} cut answers looked whole", tally.cut_unseen));
    }
    if let Err(what) = served {
        wrong.push(format!("with all healed, not everything is served: {what}"));
    }
    wrong
}
