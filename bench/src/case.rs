//! The ways in which an instance breaks, and one run of a contender through one of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dify_sim::{App, Dify, Fault, Mode, Pace, Setup};
use tokio::time::{Instant, sleep};

use crate::client::Clients;
use crate::contender::{APP_KEY, Contender, SLOTS};
use crate::load;
use crate::measure::{Broken, Measured, measure};
use crate::process::Running;

/// Instances before which each contender is put.
const INSTANCES: usize = 3;
/// The one that breaks.
const BROKEN: usize = 1;
/// Requests a second, and among reloads.
const RATE: u32 = 150;
const RATE_OF_RELOADS: u32 = 200;
/// Reloads, spread over the time in which otherwise an instance is broken.
const RELOADS: u32 = 10;
/// Streams that run all the time among reloads.
const STREAMS: u64 = 20;
/// How long a blocking run takes, so that some are under way when an instance dies.
const RUN: Duration = Duration::from_millis(50);
/// How long all is well, one is broken, all is well again.
const BEFORE: Duration = Duration::from_secs(3);
const DURING: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(4);
/// Between two turns of an instance that flaps.
const FLAP: Duration = Duration::from_secs(1);
/// How often the worker is killed, spread over the time in which otherwise an instance is broken, and how
/// long its server takes to start the next.
const KILLS: u32 = 20;
const BOOT: Duration = Duration::from_millis(100);

/// What is done to the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// One has this fault.
    One(Fault),
    /// One is killed and healed in turns.
    Flap,
    /// Its worker is killed again and again, and its server, which goes on listening, starts another.
    Kills,
    /// All have this fault.
    All(Fault),
    /// Nothing; the configuration is changed again and again.
    Reload,
}

/// What is promised of a case, see `docs/faults.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It died or left: nobody notices, and it is back soon.
    Gone,
    /// It died again and again: no POST is run twice, and it is back soon.
    Kills,
    /// All died: they are back soon.
    AllGone,
    /// It hangs: no GET is lost, and it is out soon.
    Hangs,
    /// It is slow: nobody is refused.
    Slow,
    /// It gives bad answers: few get one.
    Bad,
    /// The configuration changes: nobody notices.
    Reload,
}

/// One way to break.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// As in the tables and the filter.
    pub name: &'static str,
    /// What is done.
    pub how: Break,
    /// What is promised.
    pub promise: Promise,
}

const fn case(name: &'static str, fault: Fault, promise: Promise) -> Case {
    Case { name, how: Break::One(fault), promise }
}

/// All of them.
pub const ALL: &[Case] = &[
    case("killed", Fault::Killed, Promise::Gone),
    case("stopped", Fault::Stopped, Promise::Gone),
    case("refused", Fault::Refused, Promise::Gone),
    Case { name: "flapping", how: Break::Flap, promise: Promise::Gone },
    Case { name: "workers", how: Break::Kills, promise: Promise::Kills },
    Case { name: "all-killed", how: Break::All(Fault::Killed), promise: Promise::AllGone },
    case("frozen", Fault::Frozen, Promise::Hangs),
    case("black-hole", Fault::BlackHole, Promise::Hangs),
    case("slow", Fault::Slow(Duration::from_secs(2)), Promise::Slow),
    case("reset", Fault::Reset, Promise::Bad),
    case("closed", Fault::CloseAfterRequest, Promise::Bad),
    case("half-head", Fault::HalfHead, Promise::Bad),
    case("half-body", Fault::HalfBody, Promise::Bad),
    case("garbage", Fault::Garbage, Promise::Bad),
    case("503", Fault::Status(503), Promise::Bad),
    case("503-runs", Fault::RunStatus(503), Promise::Bad),
    case("500-runs", Fault::RunStatus(500), Promise::Bad),
    Case { name: "reload", how: Break::Reload, promise: Promise::Reload },
];

/// How long a case takes, without starting and waiting for late answers.
#[must_use]
pub fn time() -> Duration {
    BEFORE + DURING + AFTER
}

/// The time after healing in which an instance may come back.
#[must_use]
pub fn time_to_come_back() -> Duration {
    AFTER
}

impl Case {
    /// Puts a contender through it.
    ///
    /// # Errors
    /// The contender does not start or ends by itself; an instance cannot listen.
    pub async fn run(&self, contender: &Contender) -> anyhow::Result<Measured> {
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            instances.push(Dify::start(setup()).await.context("no simulated Dify")?);
        }
        let mut running = Running::start(contender, &instances).await?;
        let clients = Arc::new(Clients::new(running.listen));
        let (rate, streams) = match self.how {
            Break::Reload => (RATE_OF_RELOADS, STREAMS),
            _ => (RATE, 0),
        };
        let long =
            tokio::spawn(load::streams(Arc::clone(&clients), contender.token, streams, time()));
        let load = tokio::spawn(load::run(clients, contender.token, rate, time()));
        sleep(BEFORE).await;
        let broken = match self.how {
            Break::Reload => reloads(&mut running, contender).await?,
            Break::Kills => kills(&instances).await?,
            _ => self.break_and_heal(&instances).await?,
        };
        let mut sent = load.await.context("the load ended")?;
        sent.extend(long.await.context("the streams ended")?);
        running.stop().await.with_context(|| format!("{} in {}", contender.name, self.name))?;
        Ok(measure(self, &sent, &instances, &broken))
    }

    async fn break_and_heal(&self, instances: &[Dify]) -> anyhow::Result<Broken> {
        let (which, fault) = match self.how {
            Break::One(fault) => (vec![BROKEN], fault),
            Break::Flap | Break::Kills => (vec![BROKEN], Fault::Killed),
            Break::All(fault) => ((0..instances.len()).collect(), fault),
            Break::Reload => (Vec::new(), Fault::None),
        };
        let mut broken = Broken::of(which);
        let end = Instant::now() + DURING;
        loop {
            broken.set(instances, fault).await?;
            if self.how != Break::Flap {
                tokio::time::sleep_until(end).await;
                break;
            }
            sleep(FLAP).await;
            if Instant::now() >= end {
                break;
            }
            broken.set(instances, Fault::None).await?;
            sleep(FLAP).await;
        }
        broken.set(instances, Fault::None).await?;
        Ok(broken)
    }

    /// Whether a request of this kind gets the fault where it is in force.
    #[must_use]
    pub fn concerns(&self, kind: load::Kind) -> bool {
        !matches!(self.how, Break::One(Fault::RunStatus(_))) || kind != load::Kind::Get
    }
}

async fn kills(instances: &[Dify]) -> anyhow::Result<Broken> {
    let mut broken = Broken::of(vec![BROKEN]);
    for _ in 0..KILLS {
        broken.set(instances, Fault::Killed).await?;
        // The socket stays open, and nobody reads.
        broken.set(instances, Fault::Frozen).await?;
        sleep(BOOT).await;
        broken.set(instances, Fault::None).await?;
        sleep((DURING / KILLS).saturating_sub(BOOT)).await;
    }
    Ok(broken)
}

async fn reloads(running: &mut Running, contender: &Contender) -> anyhow::Result<Broken> {
    for _ in 0..RELOADS {
        running.reload(contender)?;
        sleep(DURING / RELOADS).await;
    }
    Ok(Broken::of(Vec::new()))
}

/// An instance as all cases use it.
#[must_use]
pub fn setup() -> Setup {
    Setup::default().with_app(App::new(Mode::Chat, APP_KEY)).with_slots(SLOTS).with_pace(Pace {
        blocking: RUN,
        first_token: RUN,
        ..Pace::default()
    })
}
