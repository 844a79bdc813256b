//! Thousands of slow clients beside good ones: what do the good ones notice, and when are the slow
//! ones cut?
//!
//! `SLOW_CLIENTS` (8192) is how many, `SLOW_SECONDS` (25) how long; as long again, at most, it is
//! quiet before that.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use difygate_bench::case;
use difygate_bench::choice::number;
use difygate_bench::client::Clients;
use difygate_bench::contender;
use difygate_bench::load;
use difygate_bench::process::Running;
use difygate_bench::slow::{Crowd, Cuts, Good};
use difygate_bench::speed::cores::descriptors;
use difygate_bench::speed::cost::Program;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

const CLIENTS: u64 = 8192;
/// Long enough for all to come, to be cut, and to come again.
const SECONDS: u64 = 25;
const QUIET: Duration = Duration::from_secs(10);
/// Good requests a second.
const RATE: u32 = 150;
const INSTANCES: usize = 3;
/// The good ones may take so long in any case.
const ALWAYS_GOOD: Duration = Duration::from_millis(100);
/// `timeouts.header` as it is without a word in the configuration, and for the time that a program
/// of thousands of connections needs on a busy machine.
const HEADER: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(5);
const RESULTS: &str = "bench/results/slow.json";

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
    writeln!(io::stdout().lock(), "{text}")
}

/// What a run showed.
struct Shown {
    quiet: Good,
    attacked: Good,
    cuts: Cuts,
    /// The most that were connected at once.
    most: usize,
    /// CPU time of the gateway for each second of the attack.
    cpu_per_s: Duration,
    resident_kib: u64,
}

/// Gives how many goals were missed.
async fn run() -> anyhow::Result<usize> {
    let clients = usize::try_from(number("SLOW_CLIENTS", CLIENTS)?)?;
    let time = Duration::from_secs(number("SLOW_SECONDS", SECONDS)?.max(1));
    let open = descriptors();
    ensure!(
        open > clients + 1000 && open / 2 > clients + 200,
        "{clients} clients need {} open files, and this process may open {open}: raise the limit \
         or lower SLOW_CLIENTS",
        2 * clients + 1000
    );
    let difygate = &contender::OURS;
    say(&format!(
        "{}\n{clients} clients that send a byte a second, {} s, beside {RATE} good requests a second",
        difygate.describe()?,
        time.as_secs()
    ))?;
    let mut instances = Vec::new();
    for _ in 0..INSTANCES {
        let dify = dify_sim::Dify::start(case::setup()).await;
        instances.push(dify.context("no simulated Dify")?);
    }
    let gateway = Running::start(difygate, &instances).await?;
    let shown = attack(&gateway, difygate.token, clients, QUIET.min(time), time).await?;
    gateway.stop().await?;
    tell(&shown, clients)
}

async fn attack(
    gateway: &Running,
    token: &'static str,
    clients: usize,
    quiet: Duration,
    time: Duration,
) -> anyhow::Result<Shown> {
    let good = Arc::new(Clients::new(gateway.listen));
    let quiet = Good::of(&load::run(Arc::clone(&good), token, RATE, quiet).await);
    let program = Program::of(gateway.id().context("the gateway has ended")?);
    let (cpu, began) = (program.cpu(), Instant::now());
    // The good ones go on from the first slow connection.
    let crowd = Crowd::start(gateway.listen, clients)?;
    let load = tokio::spawn(load::run(good, token, RATE, time));
    let (mut most, mut resident_kib) = (0, 0);
    let mut ticks = interval(Duration::from_secs(1));
    while !load.is_finished() {
        ticks.tick().await;
        most = most.max(crowd.connected());
        resident_kib = resident_kib.max(program.resident_kib());
    }
    let cpu_per_s = (program.cpu() - cpu).div_f64(began.elapsed().as_secs_f64());
    let attacked = Good::of(&load.await.context("the load ended")?);
    ensure!(program.lives(), "the gateway has ended");
    Ok(Shown { quiet, attacked, cuts: crowd.end()?, most, cpu_per_s, resident_kib })
}

fn tell(shown: &Shown, clients: usize) -> anyhow::Result<usize> {
    let Shown { quiet, attacked, cuts, most, cpu_per_s, resident_kib } = shown;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    for (name, good) in [("quiet", quiet), ("beside the slow ones", attacked)] {
        say(&format!(
            "{name:<21} {:>5} good requests, {} failed, median {:.1} ms, p99 {:.1} ms",
            good.sent,
            good.failed,
            ms(good.median),
            ms(good.p99)
        ))?;
        for (what, count) in &good.noticed {
            say(&format!("{count:>27} {what}"))?;
        }
    }
    let at = |place: usize| cuts.after.get(place).copied().unwrap_or_default().as_secs_f64();
    let (count, last) = (cuts.after.len(), cuts.after.len().saturating_sub(1));
    let longest = Duration::from_secs_f64(at(last)).max(cuts.longest_left);
    say(&format!(
        "{most} slow ones at once at most; {count} cut after {:.1} s ({:.1} to {:.1} s), {} with a \
         408; {} could not connect\nthe gateway: {:.1} % of a core, {} MiB",
        at(count / 2),
        at(0),
        at(last),
        cuts.told,
        cuts.refused,
        cpu_per_s.as_secs_f64() * 100.0,
        resident_kib / 1024
    ))?;
    let p99_most = ALWAYS_GOOD.max(quiet.p99 * 3);
    let goals = [
        ("no good request failed", quiet.failed + attacked.failed == 0),
        ("p99 of the good at most 100 ms, or 3 x quiet", attacked.p99 <= p99_most),
        ("all slow ones were connected at once", *most == clients),
        ("and cut after `timeouts.header`, 10 s", longest <= HEADER + SLACK && count > 0),
    ];
    for (goal, met) in goals {
        say(&format!("  {}  {goal}", if met { "met    " } else { "NOT met" }))?;
    }
    keep(&json!({
        "clients": clients,
        "quiet": figures(quiet),
        "attacked": figures(attacked),
        "at_once": most,
        "cut": { "count": count, "told": cuts.told, "shortest_s": at(0), "median_s": at(count / 2),
            "longest_s": at(last), "longest_left_s": cuts.longest_left.as_secs_f64() },
        "refused": cuts.refused,
        "cpu_share_of_a_core": cpu_per_s.as_secs_f64(),
        "resident_kib": resident_kib,
    }))?;
    Ok(goals.iter().filter(|(_, met)| !met).count())
}

fn figures(good: &Good) -> Value {
    json!({
        "sent": good.sent,
        "failed": good.failed,
        "median_ms": good.median.as_secs_f64() * 1000.0,
        "p99_ms": good.p99.as_secs_f64() * 1000.0,
    })
}

fn keep(results: &Value) -> anyhow::Result<()> {
    std::fs::create_dir_all("bench/results")?;
    let text = serde_json::to_string_pretty(results)?;
    std::fs::write(RESULTS, text + "\n").with_context(|| format!("cannot write {RESULTS}"))
}
