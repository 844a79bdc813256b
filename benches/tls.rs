//! What a client's TLS handshake costs the gateway, whole and taken up from a ticket, without
//! sockets. `make bench-micro` runs it.

#![expect(clippy::unwrap_used, reason = "an input that is wrong ends the run")]

use std::sync::Arc;

use difygate::gateway::state::tls::{Identity, ListenerTls};
use divan::Bencher;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection,
};

fn main() {
    divan::main();
}

/// What is measured, for divan's table.
const WORKS: [&str; 4] = ["1.3 full", "1.3 resumed", "1.2 full", "1.2 resumed"];

/// A gateway with a certificate (P-256, as most authorities give it now) and a client that trusts it.
struct Ends {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    kind: HandshakeKind,
}

impl Ends {
    /// Of a work; for a resumed one the client has the tickets of an earlier handshake.
    fn of(work: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gate.example".to_owned()]).unwrap();
        let signed = params.self_signed(&key).unwrap();
        let identity = Identity {
            file: "gateway.pem".to_owned(),
            certificates: signed.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            hosts: Vec::new(),
        };
        let server = ListenerTls::new(vec![identity], None, None).unwrap().config();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::clone(signed.der())).unwrap();
        let version = if work.starts_with("1.3") { &TLS13 } else { &TLS12 };
        let mut client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        if work.ends_with("full") {
            client.resumption = Resumption::disabled();
            return Self { server, client: Arc::new(client), kind: HandshakeKind::Full };
        }
        let ends = Self { server, client: Arc::new(client), kind: HandshakeKind::Resumed };
        let (mut client, mut server) = ends.begin();
        shake_hands(&mut client, &mut server);
        ends
    }

    fn begin(&self) -> (ClientConnection, ServerConnection) {
        let name = "gate.example".try_into().unwrap();
        let client = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        (client, ServerConnection::new(Arc::clone(&self.server)).unwrap())
    }
}

/// Gives what one end has to say to the other.
fn pass<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) {
    let mut said = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut said).unwrap();
    }
    let mut left = said.as_slice();
    while !left.is_empty() {
        to.read_tls(&mut left).unwrap();
        to.process_new_packets().unwrap();
    }
}

fn shake_hands(client: &mut ClientConnection, server: &mut ServerConnection) {
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        pass(client, server);
        pass(server, client);
    }
}

/// The gateway reads a client's first words and has its answer ready: key exchange, and its signature
/// or the ticket. What comes after that costs little, except for a full one of TLS 1.2, whose key
/// exchange is only then.
#[divan::bench(args = WORKS)]
fn gateway_answers_hello(bencher: Bencher<'_, '_>, work: &str) {
    let ends = Ends::of(work);
    let mut hello = Vec::new();
    ends.begin().0.write_tls(&mut hello).unwrap();
    bencher.with_inputs(|| ends.begin().1).bench_values(|mut server| {
        server.read_tls(&mut hello.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        server
    });
}

/// Both ends, in turn: a client's own work is in it.
#[divan::bench(args = WORKS)]
fn both_ends(bencher: Bencher<'_, '_>, work: &str) {
    let ends = Ends::of(work);
    bencher.bench(|| {
        let (mut client, mut server) = ends.begin();
        shake_hands(&mut client, &mut server);
        assert_eq!(server.handshake_kind(), Some(ends.kind));
        (client, server)
    });
}
