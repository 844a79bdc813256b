//! The program in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dify_sim::{App, Dify, Mode, Setup};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::rig::configuration;

pub(crate) fn difygate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_difygate")).args(arguments).output().unwrap()
}

/// A gateway in a process of its own.
pub(crate) struct Process {
    child: Child,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub log: PathBuf,
    pub config: PathBuf,
    /// The lines of its error log after the first.
    pub said: UnboundedReceiver<String>,
    folder: Option<TempDir>,
}

impl Process {
    pub(crate) async fn start(difys: &[Dify], settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("difygate.yaml");
        let log = folder.path().join("access.log");
        let settings = format!("{settings}\naccess_log: {{ path: {} }}\n", log.display());
        std::fs::write(&config, configuration(difys, &settings, "")).unwrap();
        Self::serve(folder).await
    }

    /// Kills it as `kill -9` does and starts another in its place.
    pub(crate) async fn killed_and_started(mut self) -> Self {
        self.signal(Signal::KILL);
        self.ended().await;
        let folder = self.folder.take().unwrap();
        drop(self);
        Self::serve(folder).await
    }

    async fn serve(folder: TempDir) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
        command.args(["serve", "-c"]).arg(folder.path().join("difygate.yaml"));
        Self::run(command, folder).await
    }

    /// A gateway that a command starts; `folder` is its own.
    pub(crate) async fn run(mut command: Command, folder: TempDir) -> Self {
        let config = folder.path().join("difygate.yaml");
        let log = folder.path().join("access.log");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // "serving on http://127.0.0.1:40001, admin on http://127.0.0.1:40002"
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, mut said) = unbounded_channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).all(|line| lines.send(line).is_ok())
        });
        let line = loop {
            let line = said.recv().await.expect("the gateway ended at its start");
            if line.contains("serving on") {
                break line;
            }
        };
        let mut addresses = line.split("://").skip(1);
        let mut address =
            || addresses.next().unwrap().trim_end_matches(", admin on http").parse().unwrap();
        let (listen, admin) = (address(), address());
        Self { child, listen, admin, log, config, said, folder: Some(folder) }
    }

    /// Waits until its error log has a line with this text.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        loop {
            let line = self.said.recv().await.expect("the gateway ended");
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// CPU time of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let ns = threads.flatten().filter_map(|thread| {
            // One may have ended since.
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(ns.sum())
    }

    /// The lines of its error log with this text that were not read yet.
    pub(crate) fn said(&mut self, text: &str) -> usize {
        std::iter::from_fn(|| self.said.try_recv().ok()).filter(|line| line.contains(text)).count()
    }

    pub(crate) async fn ended(&mut self) -> Option<i32> {
        for _ in 0..1000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the gateway did not end");
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn difys(count: usize) -> Vec<Dify> {
    let mut difys = Vec::new();
    for number in 1..=count {
        let setup = Setup::default()
            .with_release(crate::rig::release())
            .with_app(App::new(Mode::Chat, format!("app-shop-{number}")))
            .with_app(App::new(Mode::Workflow, format!("app-flow-{number}")));
        difys.push(Dify::start(setup).await.unwrap());
    }
    difys
}

/// Runs a command beside the gateway of the test.
pub(crate) async fn command(arguments: &[&str]) -> Output {
    let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let run = move || difygate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// What a command printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
