//! Who is compared: one entry a proxy in [`ALL`], one file each.
//!
//! Each is configured as well as its own documentation allows for this work: users stay at their
//! instance by consistent hashing, instances that fail are passed over, and no POST that may have
//! been executed is repeated.

mod difygate;
mod haproxy;
mod nginx;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;

/// A proxy that takes part.
#[derive(Debug)]
pub struct Contender {
    /// As in the tables.
    pub name: &'static str,
    /// Finds its program.
    pub program: fn() -> anyhow::Result<PathBuf>,
    /// The arguments that make the program print its version.
    pub version: &'static [&'static str],
    /// The key that clients send. Only difygate gives each app a token of its own; the others pass
    /// the instances' key through.
    pub token: &'static str,
    /// Makes it read its configuration again.
    pub reload: Signal,
    /// Writes its configuration and gives the arguments to serve with it, in the foreground.
    pub configure: fn(&Scene) -> anyhow::Result<Vec<String>>,
}

/// All of them, in the order of the tables' columns.
pub const ALL: &[Contender] = &[OURS, nginx::CONTENDER, haproxy::CONTENDER];

/// difygate.
pub const OURS: Contender = difygate::CONTENDER;

/// The app key that every instance accepts.
pub const APP_KEY: &str = "app-shop";

/// Requests that an instance serves at a time: more than any fault holds up, so that what a contender does
/// about the fault is seen and not that an instance is full.
pub const SLOTS: usize = 1000;

/// Where a contender has its place.
#[derive(Debug)]
pub struct Scene {
    /// A folder for its files.
    pub folder: PathBuf,
    /// Where it is to listen.
    pub listen: SocketAddr,
    /// A second address, for those that have an admin listener.
    pub admin: SocketAddr,
    /// The instances.
    pub instances: Vec<SocketAddr>,
    /// The weight of the last instance, which reloads change; the others have 1.
    pub weight: u32,
}

impl Scene {
    /// Writes a file into the folder and gives its path as text.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        // Replaced whole, so that nobody reads half of it.
        let next = path.with_extension("next");
        std::fs::write(&next, text)
            .and_then(|()| std::fs::rename(&next, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// One line for each instance: its number from 1, its address and its weight.
    pub(crate) fn lines(&self, line: impl Fn(usize, SocketAddr, u32) -> String) -> String {
        let weight = |number| if number == self.instances.len() { self.weight } else { 1 };
        let instances = (1..).zip(&self.instances);
        instances.map(|(number, addr)| line(number, *addr, weight(number))).collect()
    }
}

impl Contender {
    /// What its program calls itself.
    ///
    /// # Errors
    /// The program is missing or does not run.
    pub fn describe(&self) -> anyhow::Result<String> {
        let program = (self.program)()?;
        let output = Command::new(&program)
            .args(self.version)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{} does not run", program.display()))?;
        ensure!(output.status.success(), "{} {:?} fails", program.display(), self.version);
        // nginx says it on standard error.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Ok(format!(
            "{} ({})",
            said.lines().find(|line| !line.is_empty()).unwrap_or_default(),
            program.display()
        ))
    }
}

/// A program that a package installs.
pub(crate) fn installed(name: &str) -> anyhow::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed: `apt-get install {name}`"))
}

/// difygate: what `BENCH_DIFYGATE` names, else what was built together with this program.
pub(crate) fn gateway() -> anyhow::Result<PathBuf> {
    let Some(path) = std::env::var_os("BENCH_DIFYGATE").map(PathBuf::from) else {
        return built("difygate");
    };
    ensure!(path.is_file(), "BENCH_DIFYGATE: {} is no file", path.display());
    Ok(path)
}

/// A program that is built together with this one, and so lies beside it.
fn built(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find my own program")?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    if !path.is_file() {
        bail!("{} is missing: build it with the same profile", path.display());
    }
    Ok(path)
}
