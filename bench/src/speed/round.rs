//! One work from its start to its figures: contenders are started and checked, then their rounds
//! alternate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::time::{Instant, sleep, timeout};

use crate::process::Running;
use crate::speed::cell::{Cell, waited};
use crate::speed::cores::{Cores, bind};
use crate::speed::cost::Program;
use crate::speed::crowd::{self, Step};
use crate::speed::entry::Entry;
use crate::speed::instance::Instances;
use crate::speed::line::{Expected, Line};
use crate::speed::load::{Going, Load, Noting};
use crate::speed::scene::{INSTANCES, Setup};
use crate::speed::streams;
use crate::speed::work::{Kind, Sends, To, Work};

/// For connections to be made before anything is measured.
const SETTLE: Duration = Duration::from_millis(400);
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
    entry: &'static Entry,
    running: Running,
    program: Program,
    cell: Cell,
}

impl At {
    /// Ends it and gives its figures.
    async fn leave(self, work: &Work) -> anyhow::Result<Cell> {
        let Self { entry, running, cell, .. } = self;
        running.stop().await.with_context(|| format!("{} at {}", entry.name, work.name))?;
        Ok(cell)
    }
}

fn put(cells: &mut [Cell], place: usize, cell: Cell) {
    if let Some(old) = cells.get_mut(place) {
        *old = cell;
    }
}

impl Stage {
    /// Does a work with all who take part; gives a cell for each of them.
    ///
    /// # Errors
    /// Something of ours fails; what fails at a contender stands in its cell.
    pub async fn run(
        &self,
        work: &'static Work,
        entries: &[&'static Entry],
    ) -> anyhow::Result<Vec<Cell>> {
        if work.kind == Kind::Crowd {
            return self.one_by_one(work, entries).await;
        }
        let mut cells = vec![Cell::default(); entries.len()];
        let mut all = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            match self.enter(work, entry).await {
                Ok(at) => all.push((place, at)),
                Err(problem) => put(&mut cells, place, Cell::absent(&format!("{problem:#}"))),
            }
        }
        self.rounds(work, &mut all).await?;
        for (place, at) in all {
            put(&mut cells, place, at.leave(work).await?);
        }
        Ok(cells)
    }

    /// A crowd needs most of the descriptors that there are, so there is one at a time.
    async fn one_by_one(
        &self,
        work: &Work,
        entries: &[&'static Entry],
    ) -> anyhow::Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for entry in entries {
            let cell = match self.enter(work, entry).await {
                Ok(mut at) => {
                    self.crowd(work, &mut at).await?;
                    at.leave(work).await?
                }
                Err(problem) => Cell::absent(&format!("{problem:#}")),
            };
            cells.push(cell);
        }
        Ok(cells)
    }

    /// Starts a contender on its core and makes sure that it does the work.
    async fn enter(&self, work: &Work, entry: &'static Entry) -> anyhow::Result<At> {
        if let Some(why) = (entry.leaves)(work) {
            bail!(why);
        }
        let count = if work.setup == Setup::Plain { 1 } else { INSTANCES };
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
        Ok(At { entry, running, program, cell })
    }

    async fn rounds(&self, work: &Work, all: &mut [(usize, At)]) -> anyhow::Result<()> {
        // The first is for warming up and does not count.
        for round in 0..=self.rounds {
            let many = all.len().max(1);
            for turn in 0..all.len() {
                let Some((_, at)) = all.get_mut((turn + round) % many) else { continue };
                if at.cell.absent.is_some() {
                    continue;
                }
                let kept = (at.cell.costs_us.len(), at.cell.failures.clone());
                if let Err(problem) = self.round(work, at).await {
                    at.cell = Cell::absent(&format!("{problem:#}"));
                } else if round == 0 {
                    at.cell.costs_us.truncate(kept.0);
                    at.cell.rates.clear();
                    at.cell.loads.clear();
                    at.cell.failures = kept.1;
                }
            }
        }
        if let Kind::Answers(Some(_)) = work.kind {
            for (_, at) in &mut *all {
                let to = To::Proxy(at.running.listen);
                at.cell.waited_us = self.waited(work, to).await?;
            }
        }
        if work.setup == Setup::Many {
            for (_, at) in all {
                self.reload(work, at).await?;
            }
        }
        Ok(())
    }

    fn load(&self, work: &Work, to: To) -> Load {
        let (To::Proxy(target) | To::Instance(target)) = to;
        // A client has a descriptor at each end, and both ends are in this process.
        let connections = work.connections.min(self.descriptors.saturating_sub(200) / 2);
        let (requests, expected) = (work.requests(to), work.expected());
        Load { target, requests, expected, connections, rate: None }
    }

    async fn round(&self, work: &Work, at: &mut At) -> anyhow::Result<()> {
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
            at.cell.waited_us = waited(&done.latencies_ns);
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
    ///
    /// # Errors
    /// No thread.
    pub async fn waited(&self, work: &Work, to: To) -> anyhow::Result<Option<(f64, f64)>> {
        let load = self.load(work, to);
        let going = match work.kind {
            Kind::Answers(rate) => {
                Load { rate: rate.map(f64::from), ..load }.start(self.cores.ours)?
            }
            Kind::Streams | Kind::Crowd => self.open(load).await?,
        };
        sleep(SETTLE).await;
        going.note(Noting::On);
        sleep(self.length).await;
        going.note(Noting::Off);
        self.instances.let_go();
        Ok(waited(&going.end()?.latencies_ns))
    }

    /// How long a reload takes, and how long clients wait meanwhile.
    async fn reload(&self, work: &Work, at: &mut At) -> anyhow::Result<()> {
        let load = Load { rate: Some(500.0), ..self.load(work, To::Proxy(at.running.listen)) };
        at.running.rewrite(&(at.entry.setup)(work.setup))?;
        let going = load.start(self.cores.ours)?;
        sleep(SETTLE).await;
        going.note(Noting::On);
        let began = Instant::now();
        let request = b"POST /reload-config HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n";
        let mut line = Line::open(at.running.admin()).await.map_err(anyhow::Error::msg)?;
        line.exchange(request, Expected::Made(2)).await.map_err(anyhow::Error::msg)?;
        let took = began.elapsed();
        sleep(SETTLE).await;
        going.note(Noting::Off);
        let done = going.end()?;
        at.cell.more.insert("ms to reload", took.as_secs_f64() * 1e3);
        let worst = done.latencies_ns.last().map_or(0.0, |ns| f64::from(*ns) / 1e6);
        at.cell.more.insert("ms the longest wait meanwhile", worst);
        Ok(())
    }

    async fn crowd(&self, work: &Work, at: &mut At) -> anyhow::Result<()> {
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
        at.cell.waited_us = waited(&done.latencies_ns);
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
