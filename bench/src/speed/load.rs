//! Clients that send one request after the other, as quickly as they are answered or at a rate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::speed::cores::bind;
use crate::speed::line::{Expected, Line};

/// An answer that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// What clients do.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where they connect.
    pub target: SocketAddr,
    /// What they send in turn.
    pub requests: Arc<[Vec<u8>]>,
    /// What they want to be answered.
    pub expected: Expected,
    /// How many there are, each with a connection of its own.
    pub connections: usize,
    /// Requests a second of all together; `None`: as many as are answered.
    pub rate: Option<f64>,
}

/// Clients at work, on a thread of their own.
#[derive(Debug)]
pub struct Going {
    /// What they have counted so far.
    pub counts: Arc<Counts>,
    thread: JoinHandle<anyhow::Result<Done>>,
}

/// What is counted while clients are at work.
#[derive(Debug, Default)]
pub struct Counts {
    /// Good answers, or events.
    pub done: AtomicU64,
    /// Whether latencies are noted.
    pub noting: AtomicBool,
    /// Whether they are to end.
    pub ending: AtomicBool,
}

/// What clients have seen.
#[derive(Debug, Default)]
pub struct Done {
    /// What went wrong, in a word or two, and how often.
    pub failures: BTreeMap<String, u64>,
    /// Of requests that were answered while [`Counts::noting`], in nanoseconds, sorted.
    pub latencies_ns: Vec<u32>,
}

impl Done {
    /// Adds what another one has seen.
    pub fn add(&mut self, other: Self) {
        for (what, times) in other.failures {
            *self.failures.entry(what).or_default() += times;
        }
        self.latencies_ns.extend(other.latencies_ns);
    }

    /// Notes a failure.
    pub fn fail(&mut self, what: String) {
        *self.failures.entry(what).or_default() += 1;
    }

    /// Failures of all kinds.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl Load {
    /// Sends them to work on this core.
    ///
    /// # Errors
    /// No thread.
    pub fn start(self, core: usize) -> anyhow::Result<Going> {
        let counts = Arc::new(Counts::default());
        let theirs = Arc::clone(&counts);
        Going::start(core, counts, async move {
            let mut clients = JoinSet::new();
            for number in 0..self.connections {
                clients.spawn(client(self.clone(), number, Arc::clone(&theirs)));
            }
            let mut done = Done::default();
            clients.join_all().await.into_iter().for_each(|one| done.add(one));
            done
        })
    }
}

impl Going {
    /// Runs what clients do on a thread of its own.
    ///
    /// # Errors
    /// No thread.
    pub fn start(
        core: usize,
        counts: Arc<Counts>,
        clients: impl Future<Output = Done> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let thread = std::thread::Builder::new().name("generator".to_owned()).spawn(move || {
            bind(core);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(clients))
        })?;
        Ok(Self { counts, thread })
    }

    /// Good answers or events so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.counts.done.load(Ordering::Relaxed)
    }

    /// Notes latencies from now on, or no longer.
    pub fn note(&self, noting: Noting) {
        self.counts.noting.store(noting == Noting::On, Ordering::Relaxed);
    }

    /// Whether they have all gone home.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for what is under way and tells what they have seen.
    ///
    /// # Errors
    /// Their thread ended badly.
    pub fn end(self) -> anyhow::Result<Done> {
        self.counts.ending.store(true, Ordering::Relaxed);
        let done = self.thread.join().ok().context("the generator ended badly")?;
        let mut done = done?;
        done.latencies_ns.sort_unstable();
        Ok(done)
    }
}

/// Whether latencies are noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noting {
    /// They are.
    On,
    /// They are not.
    Off,
}

async fn client(load: Load, number: usize, counts: Arc<Counts>) -> Done {
    let mut done = Done::default();
    let mut line = None;
    let each = load.rate.map(|rate| Duration::from_secs_f64(load.connections as f64 / rate));
    // Clients begin one after the other, so that they do not send in bursts.
    let mut due =
        Instant::now() + each.unwrap_or_default().mul_f64(share(number, load.connections));
    let turns = load.requests.iter().cycle().skip(number * load.requests.len() / load.connections);
    for request in turns {
        if counts.ending.load(Ordering::Relaxed) {
            break;
        }
        let mut started = Instant::now();
        if let Some(each) = each {
            // Who could not send in time, because the last answer was late, has waited since then.
            if due > started {
                sleep_until(due).await;
                started = Instant::now();
            } else {
                started = due;
            }
            due += each;
        }
        match timeout(LIMIT, turn(&mut line, &load, request)).await {
            Ok(Ok(())) => {
                counts.done.fetch_add(1, Ordering::Relaxed);
                if counts.noting.load(Ordering::Relaxed) {
                    let ns = started.elapsed().as_nanos();
                    done.latencies_ns.push(u32::try_from(ns).unwrap_or(u32::MAX));
                }
            }
            failed => {
                line = None;
                done.fail(
                    failed.map_or_else(|_| "timeout".to_owned(), |f| f.err().unwrap_or_default()),
                );
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    done
}

fn share(number: usize, of: usize) -> f64 {
    number as f64 / of.max(1) as f64
}

async fn turn(line: &mut Option<Line>, load: &Load, request: &[u8]) -> Result<(), String> {
    let line = match line {
        Some(line) => line,
        None => line.insert(Line::open(load.target).await?),
    };
    line.exchange(request, load.expected).await.map(|_| ())
}
