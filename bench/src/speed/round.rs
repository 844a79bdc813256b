//! Works from their start to their figures: contenders are started and checked, then their rounds
//! alternate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::time::{Instant, sleep, timeout};

use crate::process::Running;
use crate::speed::cell::{Cell, Waited, median, waited};
use crate::speed::cores::{Cores, bind};
use crate::speed::cost::Program;
use crate::speed::crowd::{self, Step};
use crate::speed::entry::Entry;
use crate::speed::instance::Instances;
use crate::speed::line::Line;
use crate::speed::load::{Going, Load, Noting};
use crate::speed::reloads::ask_to_reload;
use crate::speed::results::Row;
use crate::speed::scene::Setup;
use crate::speed::streams;
use crate::speed::work::{Kind, Sends, To, Work};

/// For connections to be made before anything is measured.
pub(super) const SETTLE: Duration = Duration::from_millis(400);
/// For all of many clients to do a step.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where works are done.
#[derive(Debug)]
pub struct Stage {
    /// Who has which core.
    pub cores: Cores,
    /// What all contenders are before.
    pub instances: Instances,
    /// Rounds of each contender.
    pub rounds: usize,
    /// Length of a round.
    pub length: Duration,
    /// Descriptors that each process may have.
    pub descriptors: usize,
}

/// A contender at work.
struct At {
    /// Where its cell belongs: the work's place, then its own.
    place: (usize, usize),
    work: &'static Work,
    entry: &'static Entry,
    running: Running,
    program: Program,
    cell: Cell,
}

impl At {
    /// Ends it and gives its figures.
    async fn leave(self) -> anyhow::Result<Cell> {
        let Self { work, entry, running, cell, .. } = self;
        running.stop().await.with_context(|| format!("{} at {}", entry.name, work.name))?;
        Ok(cell)
    }
}

fn put(rows: &mut [Row], (row, place): (usize, usize), cell: Cell) {
    if let Some(old) = rows.get_mut(row).and_then(|row| row.cells.get_mut(place)) {
        *old = cell;
    }
}

impl Stage {
    /// Does works, in rounds that they share, with all who take part; gives a row for each work.
    ///
    /// # Errors
    /// Something of ours fails; what fails at a contender stands in its cell.
    pub async fn run(
        &self,
        works: &[&'static Work],
        entries: &[&'static Entry],
    ) -> anyhow::Result<Vec<Row>> {
        let none = || vec![Cell::default(); entries.len()];
        let row = |work: &&'static Work| Row { work, cells: none(), direct_us: Vec::new() };
        let mut rows: Vec<_> = works.iter().map(row).collect();
        let mut all = Vec::new();
        for (number, work) in works.iter().enumerate() {
            for (place, entry) in entries.iter().enumerate() {
                let place = (number, place);
                match self.enter(work, entry, place).await {
                    // A crowd needs most of the descriptors that there are, so it is one at a time.
                    Ok(mut at) if work.kind == Kind::Crowd => {
                        self.crowd(&mut at).await?;
                        put(&mut rows, place, at.leave().await?);
                    }
                    Ok(at) => all.push(at),
                    Err(problem) => put(&mut rows, place, Cell::absent(&format!("{problem:#}"))),
                }
            }
        }
        if !all.is_empty() {
            self.rounds(&mut rows, &mut all).await?;
        }
        for at in all {
            put(&mut rows, at.place, at.leave().await?);
        }
        Ok(rows)
    }

    /// Starts a contender on its core and makes sure that it does the work.
    async fn enter(
        &self,
        work: &'static Work,
        entry: &'static Entry,
        place: (usize, usize),
    ) -> anyhow::Result<At> {
        if let Some(why) = (entry.leaves)(work) {
            bail!(why);
        }
        let (_, _, count) = work.setup.size();
        let instances = self.instances.addresses.iter().take(count).copied().collect();
        // What is started inherits the core.
        bind(self.cores.proxy);
        let began = Instant::now();
        let running = Running::before(&(entry.setup)(work.setup), instances).await;
        bind(self.cores.ours);
        let running = running?;
        let took = began.elapsed();
        // It may listen before it has started its workers.
        sleep(SETTLE).await;
        let program = Program::of(running.id().context("it has ended")?);
        ensure!(!program.cpu().is_zero(), "the kernel does not count its CPU time in schedstat");
        let fresh_kib = Some(program.resident_kib() as f64);
        check(work, To::Proxy(running.listen)).await?;
        let mut cell = Cell { fresh_kib, ..Cell::default() };
        if work.setup == Setup::Many {
            cell.more.insert("s to start", took.as_secs_f64());
        }
        Ok(At { place, work, entry, running, program, cell })
    }

    async fn rounds(&self, rows: &mut [Row], all: &mut [At]) -> anyhow::Result<()> {
        let many = all.len();
        // The first is for warming up and does not count.
        for round in 0..=self.rounds {
            for turn in 0..many {
                let Some(at) = all.get_mut((turn + round) % many) else { continue };
                if at.cell.absent.is_some() {
                    continue;
                }
                let warming = round == 0;
                let kept = warming.then(|| at.cell.clone());
                if let Err(problem) = self.round(at).await {
                    at.cell = Cell::absent(&format!("{problem:#}"));
                } else if let Some(kept) = kept {
                    at.cell = Cell { more: std::mem::take(&mut at.cell.more), ..kept };
                }
            }
            for row in rows.iter_mut().filter(|_| round > 0) {
                row.direct_us.extend(self.direct(row.work).await?);
            }
        }
        let reloads =
            |work: &Work| work.setup == Setup::Many && matches!(work.kind, Kind::Answers(_));
        for at in all.iter_mut().filter(|at| reloads(at.work)) {
            self.reload(at).await?;
        }
        Ok(())
    }

    /// How long clients wait without a proxy, where that says something.
    async fn direct(&self, work: &Work) -> anyhow::Result<Option<Waited>> {
        match (work.kind, self.instances.addresses.first()) {
            (Kind::Answers(Some(_)) | Kind::Streams, Some(to)) if !work.speaks_openai() => {
                self.waited(work, To::Instance(*to)).await
            }
            _ => Ok(None),
        }
    }

    pub(super) fn load(&self, work: &Work, to: To) -> Load {
        let (To::Proxy(target) | To::Instance(target)) = to;
        // A client has a descriptor at each end, and both ends are in this process.
        let connections = work.connections.min(self.descriptors.saturating_sub(200) / 2);
        let (requests, expected) = (work.requests(to), work.expected());
        Load { target, requests, expected, connections, rate: None }
    }

    async fn round(&self, at: &mut At) -> anyhow::Result<()> {
        let work = at.work;
        if let Kind::Beside(_) | Kind::Reloads(_) = work.kind {
            match work.kind {
                Kind::Reloads(_) => {
                    let contender = (at.entry.setup)(work.setup);
                    self.beside_reloads(work, (&mut at.running, &contender), &mut at.cell).await?;
                }
                _ => self.beside(work, To::Proxy(at.running.listen), &mut at.cell).await?,
            }
            ensure!(at.program.lives(), "it ended");
            return Ok(());
        }
        let load = self.load(work, To::Proxy(at.running.listen));
        let many = load.connections;
        let before_kib = at.program.resident_kib() as f64;
        let going = match work.kind {
            Kind::Streams => self.open(load).await?,
            _ => load.start(self.cores.ours)?,
        };
        sleep(SETTLE).await;
        going.note(if work.kind == Kind::Streams { Noting::On } else { Noting::Off });
        let begin = (Instant::now(), going.done(), at.program.cpu());
        sleep(self.length).await;
        let end = (Instant::now(), going.done(), at.program.cpu());
        going.note(Noting::Off);
        let (passed, units) =
            ((end.0 - begin.0).as_secs_f64(), (end.1 - begin.1) as f64 * work.units);
        let cpu = end.2.saturating_sub(begin.2).as_secs_f64();
        let busy_kib = at.program.resident_kib() as f64;
        self.instances.let_go();
        let done = going.end()?;
        ensure!(at.program.lives(), "it ended");
        if units < 1.0 {
            let failure = done.failures.keys().next().map_or("no answer", String::as_str);
            bail!("it does not do the work: {failure}");
        }
        if work.kind == Kind::Streams {
            at.cell.waited_us.extend(waited(&done.latencies_ns));
            let each = (busy_kib - before_kib) / many as f64;
            at.cell.more.entry("KiB per stream").or_insert(each);
            at.cell.more.insert("streams", many as f64);
        }
        at.cell.costs_us.push(cpu * 1e6 / units);
        at.cell.rates.push(units / passed);
        at.cell.loads.push(cpu / passed);
        for (what, times) in done.failures {
            *at.cell.failures.entry(what).or_default() += times;
        }
        if let Kind::Answers(Some(_)) = work.kind {
            at.cell.waited_us.extend(self.waited(work, To::Proxy(at.running.listen)).await?);
        }
        Ok(())
    }

    /// Opens all streams and waits until they are there.
    async fn open(&self, load: Load) -> anyhow::Result<Going> {
        let (open, many) = (Arc::new(AtomicU64::new(0)), load.connections as u64);
        let going = streams::start(load, self.cores.ours, Arc::clone(&open))?;
        reached(&open, many, &going).await;
        Ok(going)
    }

    /// How long clients wait at a rate that all can do, or for events, through a contender or straight.
    pub(super) async fn waited(&self, work: &Work, to: To) -> anyhow::Result<Option<Waited>> {
        self.waited_while(work, to, || false).await
    }

    /// The same for a round's length, and for longer while something else is not done.
    pub(super) async fn waited_while(
        &self,
        work: &Work,
        to: To,
        goes_on: impl Fn() -> bool,
    ) -> anyhow::Result<Option<Waited>> {
        let load = self.load(work, to);
        let going = match work.kind {
            Kind::Answers(rate) => {
                Load { rate: rate.map(f64::from), ..load }.start(self.cores.ours)?
            }
            Kind::Beside(rate) | Kind::Reloads(rate) => {
                Load { rate: Some(f64::from(rate)), ..load }.start(self.cores.ours)?
            }
            Kind::Streams | Kind::Crowd => self.open(load).await?,
        };
        sleep(SETTLE).await;
        going.note(Noting::On);
        sleep(self.length).await;
        let _ = timeout(PATIENCE, async {
            while goes_on() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        going.note(Noting::Off);
        self.instances.let_go();
        Ok(waited(&going.end()?.latencies_ns))
    }

    /// How long a reload takes, the median of as many as there are rounds, and how long clients wait
    /// meanwhile at most.
    async fn reload(&self, at: &mut At) -> anyhow::Result<()> {
        let (mut took, mut longest) = (Vec::new(), 0.0_f64);
        for _ in 0..self.rounds {
            let (ms, longest_ms) = self.one_reload(at).await?;
            took.push(ms);
            longest = longest.max(longest_ms);
        }
        at.cell.more.extend(median(&took).map(|ms| ("ms to reload", ms)));
        at.cell.more.insert("ms the longest wait meanwhile", longest);
        Ok(())
    }

    /// In ms, how long it takes, and the longest wait.
    async fn one_reload(&self, at: &mut At) -> anyhow::Result<(f64, f64)> {
        let work = at.work;
        let load = Load { rate: Some(500.0), ..self.load(work, To::Proxy(at.running.listen)) };
        at.running.rewrite(&(at.entry.setup)(work.setup))?;
        let going = load.start(self.cores.ours)?;
        sleep(SETTLE).await;
        going.note(Noting::On);
        let took = ask_to_reload(&at.running).await?;
        sleep(SETTLE).await;
        going.note(Noting::Off);
        let done = going.end()?;
        let longest = done.latencies_ns.last().map_or(0.0, |ns| f64::from(*ns) / 1e6);
        Ok((took.as_secs_f64() * 1e3, longest))
    }

    async fn crowd(&self, at: &mut At) -> anyhow::Result<()> {
        let work = at.work;
        let to = To::Proxy(at.running.listen);
        let load = self.load(work, to);
        let many = load.connections as u64;
        let held = work.requests_with(to, "X-Hold: 1\r\n");
        let fresh = at.program.resident_kib() as f64;
        let crowd = crowd::start(load, held, self.cores.ours)?;
        reached(&crowd.ready, many, &crowd.going).await;
        sleep(SETTLE).await;
        let idle = at.program.resident_kib() as f64;
        crowd.step.send_replace(Step::Ask);
        reached(&crowd.ready, 2 * many, &crowd.going).await;
        settled(&at.program).await;
        let active = at.program.resident_kib() as f64;
        self.instances.let_go();
        crowd.step.send_replace(Step::Storm);
        let done = finish(crowd.going, many).await?;
        at.cell.more.extend([
            ("connections", many as f64),
            ("MiB idle", idle / 1024.0),
            ("MiB active", active / 1024.0),
            ("KiB per idle connection", (idle - fresh) / many as f64),
            ("KiB per active connection", (active - fresh) / many as f64),
        ]);
        at.cell.waited_us.extend(waited(&done.latencies_ns));
        at.cell.failures = done.failures;
        Ok(())
    }
}

/// Waits until a count is reached, or all have gone; who does not get there fails by itself.
async fn reached(count: &AtomicU64, goal: u64, going: &Going) {
    let _ = timeout(PATIENCE, async {
        while count.load(Ordering::Relaxed) < goal && !going.is_over() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Waits until a program has nothing more to do.
async fn settled(program: &Program) {
    let _ = timeout(PATIENCE, async {
        loop {
            let before = program.cpu();
            sleep(SETTLE).await;
            if program.cpu().saturating_sub(before) < SETTLE / 10 {
                return;
            }
        }
    })
    .await;
}

/// Waits for a crowd, which ends by itself.
async fn finish(going: Going, many: u64) -> anyhow::Result<crate::speed::load::Done> {
    let _ = timeout(PATIENCE, async {
        while going.done() < many {
            sleep(Duration::from_millis(20)).await;
            if going.is_over() {
                return;
            }
        }
    })
    .await;
    going.end()
}

/// Asks a few times for several users: the answers must be right, each user must stay at an
/// instance, and users must be spread over more than one.
async fn check(work: &Work, to: To) -> anyhow::Result<()> {
    let (To::Proxy(target) | To::Instance(target)) = to;
    let text = |problem: String| anyhow::anyhow!("it does not do the work: {problem}");
    if work.kind == Kind::Streams || work.sends == Sends::Upload {
        return Ok(());
    }
    let mut homes: BTreeMap<usize, BTreeSet<Option<usize>>> = BTreeMap::new();
    for _ in 0..3 {
        // On one connection, as clients do.
        let mut line = Line::open(target).await.map_err(text)?;
        for user in 0..20 {
            // All of one app.
            let request = work.request(to, user * 10, "");
            let exchange = line.exchange(&request, work.expected());
            let home = timeout(PATIENCE, exchange).await.context("no answer")?.map_err(text)?;
            homes.entry(user).or_default().insert(home);
        }
    }
    let all: BTreeSet<_> = homes.values().flatten().collect();
    if work.setup == Setup::Full && !work.speaks_openai() {
        ensure!(homes.values().all(|homes| homes.len() == 1), "users do not stay at an instance");
        ensure!(all.len() > 1, "all users are sent to one instance");
    }
    Ok(())
}
