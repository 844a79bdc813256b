//! What happens to instances and to the configuration.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use dify_sim::{Dify, Fault};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::contender::APP_KEY;
use crate::process::Running;
use crate::soak::Random;

/// Between two reloads.
const RELOAD_EVERY: Duration = Duration::from_secs(3);

/// The faults it takes from.
const FAULTS: &[Fault] = &[
    Fault::Frozen,
    Fault::BlackHole,
    Fault::Refused,
    Fault::Stopped,
    Fault::Killed,
    Fault::Reset,
    Fault::CloseAfterRequest,
    Fault::HalfHead,
    Fault::HalfBody,
    Fault::CutAfter(300),
    Fault::Garbage,
    Fault::Status(503),
    Fault::RunStatus(500),
    Fault::Slow(Duration::from_secs(1)),
    Fault::DatabaseDown,
    Fault::RedisDown,
];

/// Breaks and heals instances at random, for as long as it is polled.
#[derive(Debug)]
pub struct Trouble {
    instances: Vec<Dify>,
    random: Random,
    /// Faults so far.
    pub count: usize,
}

impl Trouble {
    /// For these instances.
    #[must_use]
    pub fn new(instances: Vec<Dify>, seed: u64) -> Self {
        Self { instances, random: Random::new(seed), count: 0 }
    }

    /// Breaks one, breaks another or the same, heals, and so on.
    ///
    /// # Errors
    /// An instance cannot listen again.
    pub async fn go_on(&mut self) -> anyhow::Result<()> {
        loop {
            sleep(Duration::from_millis(500 + self.random.below(2500))).await;
            let index = self.random.below(self.instances.len() as u64) as usize;
            let fault = self.random.below(FAULTS.len() as u64) as usize;
            let (Some(dify), Some(fault)) = (self.instances.get(index), FAULTS.get(fault)) else {
                continue;
            };
            // One that is broken gets better first, so that none is broken most of the time.
            if dify.fault() == Fault::None {
                self.count += 1;
                dify.set_fault(*fault).await.context("cannot break an instance")?;
            } else {
                dify.set_fault(Fault::None).await.context("cannot heal an instance")?;
            }
        }
    }

    /// Heals them all.
    ///
    /// # Errors
    /// An instance cannot listen again.
    pub async fn heal(&self) -> anyhow::Result<()> {
        for dify in &self.instances {
            dify.set_fault(Fault::None).await.context("cannot heal an instance")?;
        }
        Ok(())
    }
}

/// Changes a weight and reloads, again and again.
///
/// # Errors
/// The file cannot be written, or the gateway has ended.
pub async fn reloading(gateway: &Running, config: PathBuf) -> anyhow::Result<()> {
    let next = config.with_extension("next");
    // Out for two seconds instead of thirty, so that more happens.
    let key = format!("token: {APP_KEY}");
    let original = std::fs::read_to_string(&config)?;
    let original = original.replace(&key, &format!("{key}, fail_timeout: 2s"));
    let (start, end) = original.rsplit_once("weight: 1").context("no weight to change")?;
    for turn in 1_u32.. {
        sleep(RELOAD_EVERY).await;
        let weight = 1 + turn % 2;
        // Replaced whole, so that nobody reads half of it.
        std::fs::write(&next, format!("{start}weight: {weight}{end}"))?;
        std::fs::rename(&next, &config)?;
        gateway.signal(Signal::HUP)?;
    }
    Ok(())
}
