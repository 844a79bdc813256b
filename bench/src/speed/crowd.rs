//! Thousands of clients that are connected at the same time: what they cost while nothing happens,
//! while all wait for an answer, and whether all get one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Barrier, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::speed::line::{Expected, Line};
use crate::speed::load::{Counts, Done, Going, Load};

/// For one step of one client, with thousands before it.
const LIMIT: Duration = Duration::from_secs(60);
/// Clients that connect at the same time.
const AT_ONCE: usize = 64;

/// What clients are to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Step {
    /// Connect, have one request answered, and rest.
    Connect,
    /// Send a request that is held.
    Ask,
    /// All send a request at once, and leave with the answer.
    Storm,
}

/// Where a crowd stands.
#[derive(Debug)]
pub struct Crowd {
    /// The clients.
    pub going: Going,
    /// What they do; sending tells all.
    pub step: watch::Sender<Step>,
    /// Those that have done the step, or failed in it; when asking: those that have asked.
    pub ready: Arc<AtomicU64>,
}

/// Starts a crowd: the load's requests are ordinary ones, these are held.
///
/// # Errors
/// No thread.
pub fn start(load: Load, held: Arc<[Vec<u8>]>, core: usize) -> anyhow::Result<Crowd> {
    let (step, steps) = watch::channel(Step::Connect);
    let ready = Arc::new(AtomicU64::new(0));
    let counts = Arc::new(Counts::default());
    let (theirs, noted) = (Arc::clone(&ready), Arc::clone(&counts));
    let going = Going::start(core, counts, async move {
        let few = Arc::new(Semaphore::new(AT_ONCE));
        let all = Arc::new(Barrier::new(load.connections));
        let mut clients = JoinSet::new();
        for number in 0..load.connections {
            let client = Client {
                load: load.clone(),
                number,
                held: Arc::clone(&held),
                few: Arc::clone(&few),
                all: Arc::clone(&all),
                ready: Arc::clone(&theirs),
                counts: Arc::clone(&noted),
            };
            clients.spawn(client.run(steps.clone()));
        }
        let mut done = Done::default();
        clients.join_all().await.into_iter().for_each(|one| done.add(one));
        done
    })?;
    Ok(Crowd { going, step, ready })
}

struct Client {
    load: Load,
    number: usize,
    held: Arc<[Vec<u8>]>,
    few: Arc<Semaphore>,
    all: Arc<Barrier>,
    ready: Arc<AtomicU64>,
    counts: Arc<Counts>,
}

impl Client {
    async fn run(self, mut steps: watch::Receiver<Step>) -> Done {
        let mut done = Done::default();
        let mut line =
            self.connect().await.map_err(|what| done.fail(format!("connecting: {what}"))).ok();
        self.ready.fetch_add(1, Ordering::Relaxed);
        let _ = steps.wait_for(|step| *step >= Step::Ask).await;
        if let Some(open) = &mut line {
            let sent = open.send(self.of(&self.held)).await;
            self.ready.fetch_add(1, Ordering::Relaxed);
            let answer = async {
                sent?;
                open.answer(Expected::Ordinary).await
            };
            if let Err(what) =
                timeout(LIMIT, answer).await.unwrap_or_else(|_| Err("timeout".into()))
            {
                done.fail(format!("held: {what}"));
                line = None;
            }
        } else {
            self.ready.fetch_add(1, Ordering::Relaxed);
        }
        let _ = steps.wait_for(|step| *step >= Step::Storm).await;
        self.all.wait().await;
        let started = Instant::now();
        if let Some(open) = &mut line {
            match timeout(LIMIT, open.exchange(self.of(&self.load.requests), Expected::Ordinary))
                .await
            {
                Ok(Ok(_)) => {
                    self.counts.done.fetch_add(1, Ordering::Relaxed);
                    let ns = started.elapsed().as_nanos();
                    done.latencies_ns.push(u32::try_from(ns).unwrap_or(u32::MAX));
                }
                Ok(Err(what)) => done.fail(format!("storm: {what}")),
                Err(_) => done.fail("storm: timeout".to_owned()),
            }
        }
        done
    }

    /// Its own among these.
    fn of<'a>(&self, requests: &'a [Vec<u8>]) -> &'a [u8] {
        requests.get(self.number % requests.len().max(1)).map_or(&[], Vec::as_slice)
    }

    async fn connect(&self) -> Result<Line, String> {
        let _turn = self.few.acquire().await.map_err(|_| "closed")?;
        let first = async {
            let mut line = Line::open(self.load.target).await?;
            line.exchange(self.of(&self.load.requests), Expected::Ordinary).await?;
            Ok(line)
        };
        timeout(LIMIT, first).await.unwrap_or_else(|_| Err("timeout".to_owned()))
    }
}
