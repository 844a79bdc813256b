//! A Redis of a test's own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A redis-server on a free port of the loopback, with a folder of its own. It is killed when it is
/// dropped.
pub(crate) struct RedisServer {
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one, which writes each change to the disk before it answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { port: 0, folder, child: None };
        // Below the ports that connections get by themselves: one of those could be taken by a
        // connection while the server is down. Tests run in processes of their own.
        let first = std::process::id() * 31;
        for number in 0..100 {
            server.port = u16::try_from(20_000 + (first + number * 7) % 10_000).unwrap();
            // Somebody else may take the port first.
            if TcpListener::bind(("127.0.0.1", server.port)).is_ok() && server.try_start() {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it like `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again, with its data.
    pub(crate) fn start_again(&mut self) {
        assert!(self.try_start(), "redis-server does not start again");
    }

    fn try_start(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let mut child =
            child.expect("redis-server is missing: `make tools` installs it, as does your system");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none() {
            if self.answers() {
                self.child = Some(child);
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 7];
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && &answer == b"+PONG\r\n"
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
