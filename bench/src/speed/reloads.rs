//! Small requests beside reloads of a configuration with many apps: how long they wait, compared with a
//! quiet moment of the same round.
//!
//! One reload follows the other for as long as is measured, so that every request that counts came
//! while one was under way. Each changes the weight of an instance. The two configurations are written
//! before, so that our own work on their text does not delay the clients, who share its core.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};

use crate::contender::Contender;
use crate::process::Running;
use crate::speed::cell::{Cell, median, waited};
use crate::speed::line::{Expected, Line};
use crate::speed::load::{Load, Noting};
use crate::speed::round::{SETTLE, Stage};
use crate::speed::work::{Kind, To, Work};

/// What stands before the median of the rounds' ratios.
pub const RATIO: &str = "× p99 beside reloads";

/// Two versions of a configuration that differ in a weight, beside the file that the gateway reads.
struct Versions<'a> {
    file: &'a Path,
    next: usize,
}

impl Stage {
    /// How long clients wait in a quiet moment, and beside reloads.
    pub(super) async fn beside_reloads(
        &self,
        work: &Work,
        (running, contender): (&mut Running, &Contender),
        cell: &mut Cell,
    ) -> anyhow::Result<()> {
        let to = To::Proxy(running.listen);
        let file = running.folder.path().join("difygate.yaml");
        let mut versions = Versions::write(&file, || running.rewrite(contender))?;
        let quiet = self.waited(work, to).await?.context("nobody was answered")?;
        let Kind::Reloads(rate) = work.kind else { return Ok(()) };
        let load = Load { rate: Some(f64::from(rate)), ..self.load(work, to) };
        let going = load.start(self.cores.ours)?;
        sleep(SETTLE).await;
        let (began, mut took_ms) = (Instant::now(), Vec::new());
        going.note(Noting::On);
        // An even number, so that the next round begins with the same version in place.
        while began.elapsed() < self.length || took_ms.len() % 2 == 1 {
            versions.exchange()?;
            took_ms.push(ask_to_reload(running).await?.as_secs_f64() * 1e3);
        }
        going.note(Noting::Off);
        let done = going.end()?;
        ensure!(done.failed() == 0, "beside reloads: {:?}", done.failures);
        let beside = waited(&done.latencies_ns).context("nobody was answered")?;
        cell.waited_us.push(quiet);
        let ratios = cell.beside.entry(RATIO).or_default();
        ratios.push(beside.1 / quiet.1);
        cell.more.extend(median(ratios).map(|ratio| (RATIO, ratio)));
        cell.more.extend(median(&took_ms).map(|ms| ("ms to reload", ms)));
        Ok(())
    }
}

impl<'a> Versions<'a> {
    fn write(
        file: &'a Path,
        mut rewrite: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let versions = Self { file, next: 0 };
        for number in 0..2 {
            rewrite()?;
            fs::copy(file, versions.path(number))?;
        }
        // The second one is in place now, and the gateway serves with it.
        Ok(versions)
    }

    fn path(&self, number: usize) -> PathBuf {
        self.file.with_extension(format!("version{number}"))
    }

    /// Puts the other one in place.
    fn exchange(&mut self) -> anyhow::Result<()> {
        let linked = self.file.with_extension("linked");
        fs::hard_link(self.path(self.next), &linked)?;
        fs::rename(&linked, self.file)?;
        self.next = 1 - self.next;
        Ok(())
    }
}

/// Reloads and gives how long it took.
pub(super) async fn ask_to_reload(running: &Running) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let request = b"POST /reload-config HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n";
    let mut line = Line::open(running.admin()).await.map_err(anyhow::Error::msg)?;
    line.exchange(request, Expected::Made(2)).await.map_err(anyhow::Error::msg)?;
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Versions;

    #[test]
    fn each_reload_finds_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("difygate.yaml");
        let mut weight = 1;
        let written = Versions::write(&file, || {
            weight = 3 - weight;
            Ok(fs::write(file.with_extension("next"), weight.to_string())
                .and_then(|()| fs::rename(file.with_extension("next"), &file))?)
        });
        let mut versions = written.unwrap();
        let mut seen = vec![fs::read_to_string(&file).unwrap()];
        for _ in 0..3 {
            versions.exchange().unwrap();
            seen.push(fs::read_to_string(&file).unwrap());
        }
        assert_eq!(seen, ["1", "2", "1", "2"]);
    }
}
