//! A contender's process from its start to its end.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use dify_sim::Dify;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::contender::{Contender, Scene};

/// For a program to listen, and to end. Those in Python take half of it to import themselves.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy that serves. It is killed when dropped; [`Running::stop`] asks first.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Its files.
    pub folder: TempDir,
    scene: Scene,
}

impl Running {
    /// Starts it before these instances and returns once it listens.
    ///
    /// # Errors
    /// It is missing, refuses its configuration, or does not listen in time.
    pub async fn start(contender: &Contender, instances: &[Dify]) -> anyhow::Result<Self> {
        Self::before(contender, instances.iter().map(Dify::addr).collect()).await
    }

    /// The same before whatever listens on these addresses.
    ///
    /// # Errors
    /// It is missing, refuses its configuration, or does not listen in time.
    pub async fn before(contender: &Contender, instances: Vec<SocketAddr>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no folder for its files")?;
        let [listen, admin] = free_ports()?;
        let scene = Scene { folder: folder.path().to_owned(), listen, admin, instances, weight: 1 };
        let arguments = (contender.configure)(&scene)?;
        let said = folder.path().join("said.log");
        let log = std::fs::File::create(&said)?;
        let child = Command::new((contender.program)()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", contender.name))?;
        let mut running = Self { child, listen, folder, scene };
        if let Err(problem) = running.listening().await {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            bail!("{}: {problem}\n{said}", contender.name);
        }
        Ok(running)
    }

    async fn listening(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.listen).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("it does not listen on {}", self.listen);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.child.id().context("it has ended")?;
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, signal).context("cannot signal it")
    }

    /// Writes its configuration anew with another weight and makes it read that.
    ///
    /// # Errors
    /// The file cannot be written, or it has ended.
    pub fn reload(&mut self, contender: &Contender) -> anyhow::Result<()> {
        self.rewrite(contender)?;
        self.signal(contender.reload)
    }

    /// Writes its configuration anew with another weight.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn rewrite(&mut self, contender: &Contender) -> anyhow::Result<()> {
        self.scene.weight = 3 - self.scene.weight;
        (contender.configure)(&self.scene).map(|_| ())
    }

    /// Where operators connect, if it has an admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.scene.admin
    }

    /// Ends it at once, as its users would: a killed nginx would leave its workers behind.
    ///
    /// # Errors
    /// It had ended before.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let said = std::fs::read_to_string(self.folder.path().join("said.log"));
            bail!("it had ended with {status}\n{}", said.unwrap_or_default());
        }
        self.signal(Signal::TERM)?;
        // difygate lets streams end unless it is asked twice.
        let _ = timeout(Duration::from_millis(300), self.child.wait()).await;
        let _ = self.signal(Signal::TERM);
        let _ = timeout(PATIENCE, self.child.wait()).await;
        Ok(())
    }
}

/// Ports that are free now.
fn free_ports<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut taken = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address).context("no free port")?;
        *address = listener.local_addr()?;
        taken.push(listener);
    }
    Ok(addresses)
}
