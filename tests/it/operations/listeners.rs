//! Several addresses at once.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use http::StatusCode;

use crate::rig::certs::{Authority, folder};
use crate::rig::tls::{connect, entry, send_on};
use crate::rig::{Plan, Rig, chat, send, try_send};

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
async fn a_reload_without_certificates_keeps_a_promise_of_tls() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let rig = rig(&authority, folder.path()).await;
    let addresses: Vec<SocketAddr> = rig.gateway.listens().collect();
    let text = fs::read_to_string(&rig.config_path).unwrap();
    let without = text.lines().filter(|line| !line.starts_with("tls:"));
    let without = without.collect::<Vec<_>>().join("\n").replace(BOTH, "listen: 127.0.0.1:0");
    fs::write(&rig.config_path, without).unwrap();
    let done = rig.gateway.reloader().reload().await.unwrap();
    assert_eq!(done.changes.needs_restart, ["listen"]);
    // What listens is as before, and what follows the certificates is in the clear now.
    assert_eq!(send(addresses[0], chat("anna")).await.status, StatusCode::OK);
    assert_eq!(send(addresses[2], chat("anna")).await.status, StatusCode::OK);
    assert!(try_send(addresses[1], chat("anna")).await.is_err());
    assert!(connect(addresses[1], authority.client(), "localhost").await.is_err());
}
