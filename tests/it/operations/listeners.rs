//! Several addresses at once, and the error log in a file.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::rig::certs::{Authority, folder};
use crate::rig::process::difys;
use crate::rig::tls::{connect, entry, send_on};
use crate::rig::{Plan, Rig, chat, configuration, send};

const BOTH: &str = "listen: [{ address: 127.0.0.1:0, tls: false }, { address: 127.0.0.1:0, tls: true }, 127.0.0.1:0]";

async fn rig(authority: &Authority, folder: &Path) -> Rig {
    let own = authority.issue(&["localhost"]).write(folder, "gateway");
    let tls = format!("tls: [{}]\n{BOTH}", entry(&own, ""));
    Plan::new(1).without_probes().with(&tls).start().await
}

#[tokio::test]
async fn each_address_speaks_tls_or_does_not_as_it_is_written() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let rig = rig(&authority, folder.path()).await;
    let addresses: Vec<SocketAddr> = rig.gateway.listens().collect();
    let [plain, secured, by_certificates] = addresses[..] else { panic!("{addresses:?}") };
    assert_eq!(rig.addr(), plain);
    assert_eq!(send(plain, chat("anna")).await.status, StatusCode::OK);
    for address in [secured, by_certificates] {
        let stream = connect(address, authority.client(), "localhost").await.unwrap();
        assert_eq!(send_on(stream, chat("anna")).await.status, StatusCode::OK);
        // In the clear nothing but a refusal comes back.
        let refused = send(address, chat("anna")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }
    assert!(connect(plain, authority.client(), "localhost").await.is_err());
    let answers = rig.status().await["applications"]["shop"]["total_requests"].clone();
    assert_eq!(answers, 3);
}

#[tokio::test]
async fn a_reload_that_takes_the_certificates_away_is_refused() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let rig = rig(&authority, folder.path()).await;
    let addresses: Vec<SocketAddr> = rig.gateway.listens().collect();
    let text = fs::read_to_string(&rig.config_path).unwrap();
    let without = text.lines().filter(|line| !line.starts_with("tls:"));
    let without = without.collect::<Vec<_>>().join("\n").replace(BOTH, "listen: 127.0.0.1:0");
    fs::write(&rig.config_path, without).unwrap();
    let refused = rig.gateway.reloader().reload().await.unwrap_err().to_string();
    assert!(refused.contains("restart the gateway"), "{refused}");
    // All is as before.
    assert_eq!(send(addresses[0], chat("anna")).await.status, StatusCode::OK);
    for address in [addresses[1], addresses[2]] {
        let stream = connect(address, authority.client(), "localhost").await.unwrap();
        assert_eq!(send_on(stream, chat("anna")).await.status, StatusCode::OK);
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn holds(file: &Path, text: &str) {
    while !fs::read_to_string(file).is_ok_and(|log| log.contains(text)) {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_error_log_goes_to_a_file_which_a_signal_opens_again() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("difygate.yaml");
    // Beside the configuration, wherever the program was started.
    fs::write(&config, configuration(&difys, "error_log: { path: error.log }\n", "")).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_difygate"));
    serve.args(["serve", "-c"]).arg(&config).current_dir("/").stdout(Stdio::null());
    let child = serve.stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let mut running = Running(child);
    let log = folder.path().join("error.log");
    holds(&log, "serving on http://127.0.0.1:").await;
    let moved = folder.path().join("error.log.1");
    fs::rename(&log, &moved).unwrap();
    kill_process(pid, Signal::USR1).unwrap();
    while !log.exists() {
        sleep(Duration::from_millis(10)).await;
    }
    kill_process(pid, Signal::HUP).unwrap();
    holds(&log, "reloaded").await;
    assert!(!fs::read_to_string(&moved).unwrap().contains("reloaded"));
    kill_process(pid, Signal::TERM).unwrap();
    holds(&log, "ended").await;
    let mut said = String::new();
    let mut stderr = running.0.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(said, "", "all of it is in the file");
}
