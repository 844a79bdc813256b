//! Instances behind TLS.

use std::net::SocketAddr;
use std::time::Duration;

use dify_sim::{App, Dify, Fault, Mode, Setup};
use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::rig::certs::{Authority, Pair, folder, front};
use crate::rig::{Answer, chat, requests, send, until};

/// A Dify behind TLS and a gateway before it, probed.
struct Landscape {
    gateway: Gateway,
    dify: Dify,
    names: tokio::sync::mpsc::UnboundedReceiver<Option<String>>,
    front: SocketAddr,
    _folder: TempDir,
}

impl Landscape {
    async fn start(authority: &Authority, pair: &Pair, instance: &str) -> Self {
        let setup = Setup::default()
            .with_release(crate::rig::release())
            .with_app(App::new(Mode::Chat, "app-shop"))
            .with_slots(100);
        let dify = Dify::start(setup).await.unwrap();
        let behind = dify.url().strip_prefix("http://").unwrap().parse().unwrap();
        let (front, _, names) = front(pair, behind).await;
        let folder = folder(authority);
        let path = folder.path().join("difygate.yaml");
        let instance = instance.replace("PORT", &front.port().to_string());
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\naccess_log: off\n\
             probe: {{ timeout: 5s }}\ntimeouts: {{ connect: 5s }}\n\
             apps:\n  shop:\n    user_tokens: [usertoken--shop]\n    instances:\n      \
             - {{ name: dify1, token: app-shop, {instance} }}\n"
        );
        std::fs::write(&path, &text).unwrap();
        let loaded = config::load(&path, &Environment::default())
            .unwrap_or_else(|findings| panic!("{findings}\n{text}"));
        let gateway = Gateway::start(loaded.config, path, None).await.unwrap();
        Self { gateway, dify, names, front, _folder: folder }
    }

    async fn chat(&self) -> Answer {
        send(self.gateway.listen(), chat("anna")).await
    }

    async fn status(&self) -> Value {
        let status = send(self.gateway.admin(), Request::get("/status").body("").unwrap()).await;
        status.json()["applications"]["shop"]["instances"]["dify1"].clone()
    }
}

#[tokio::test]
async fn an_instance_behind_tls_answers_requests_and_probes() {
    let authority = Authority::new();
    let pair = authority.issue(&["dify.example.org"]);
    let mut landscape = Landscape::start(
        &authority,
        &pair,
        "url: \"https://127.0.0.1:PORT\", tls: { ca: ca.pem, sni: dify.example.org }",
    )
    .await;
    until(landscape.gateway.admin(), "shop", "dify1", "healthy").await;
    let answer = landscape.chat().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let served = requests(&landscape.dify);
    let host = served[0].headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    // Servers for several names go by the host, so it is the instance's own.
    assert_eq!(host.unwrap().1, landscape.front.to_string());
    assert_eq!(landscape.names.recv().await.unwrap().as_deref(), Some("dify.example.org"));
    assert_eq!(landscape.status().await["address"], format!("https://{}", landscape.front));
}

#[tokio::test]
async fn a_certificate_that_is_not_to_be_trusted_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (pair, settings, said) in [
        (stranger.issue(&["localhost"]), "tls: { ca: ca.pem }", "name its own as `tls.ca`"),
        (authority.issue(&["localhost"]), "weight: 1", "name its own as `tls.ca`"),
        (authority.issue(&["elsewhere"]), "tls: { ca: ca.pem }", "name that as `tls.sni`"),
        (authority.issue_expired(&["localhost"]), "tls: { ca: ca.pem }", "renew it"),
    ] {
        let instance = format!("url: \"https://localhost:PORT\", {settings}");
        let landscape = Landscape::start(&authority, &pair, &instance).await;
        let answer = landscape.chat().await;
        assert_eq!(answer.status, 502, "{answer:?}");
        let told = async {
            while !landscape.status().await.to_string().contains(said) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(Duration::from_secs(20), told).await.is_ok(), "{said}");
        assert_eq!(landscape.dify.served().len(), 0, "not even a probe came through");
    }
}

#[tokio::test]
async fn an_instance_that_speaks_no_tls_is_said_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // What is not read makes the end a reset, which may come before the answer.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\naccess_log: off\napps:\n  shop:\n    \
         user_tokens: [usertoken--shop]\n    instances: [{{ name: dify1, token: app-shop, url: \
         \"https://{plain}\" }}]\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    let loaded = config::parse("x", &text, &Environment::default()).unwrap();
    let gateway = Gateway::start(loaded.config, path, None).await.unwrap();
    assert_eq!(send(gateway.listen(), chat("anna")).await.status, 502);
    // A reset may come before the answer has been read: then the next request says it.
    let mut status = String::new();
    for _ in 0..50 {
        status = send(gateway.admin(), Request::get("/status").body("").unwrap()).await.text();
        if status.contains("does TLS listen there?") {
            return;
        }
        assert_eq!(send(gateway.listen(), chat("anna")).await.status, 502);
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{status}");
}

#[tokio::test]
async fn a_post_that_was_read_behind_tls_is_not_sent_again() {
    let authority = Authority::new();
    let pair = authority.issue(&["dify.example.org"]);
    let tls = "url: \"https://127.0.0.1:PORT\", tls: { ca: ca.pem, sni: dify.example.org }";
    let landscape = Landscape::start(&authority, &pair, tls).await;
    let posts = || requests(&landscape.dify).iter().filter(|one| one.method == "POST").count();
    let mut sent = 0;
    // Until it came on the connection of one before.
    loop {
        landscape.dify.set_fault(Fault::None).await.unwrap();
        let answer = landscape.chat().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        landscape.dify.set_fault(Fault::CloseAfterRequest).await.unwrap();
        let answer = landscape.chat().await;
        assert_eq!(answer.status, 502, "{answer:?}");
        sent += 2;
        assert_eq!(posts(), sent);
        let served = requests(&landscape.dify);
        if let [.., one, last] = &served[..]
            && one.connection == last.connection
        {
            return;
        }
    }
}
