//! Clients that speak TLS.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::rig::certs::{Authority, Pair, folder};
use crate::rig::tls::{PATIENCE, Secured, connect, entry, whole};
use crate::rig::{Plan, chat, raw, requests, stream};

/// What certificate is shown to who asks for a name.
async fn shown(secured: &Secured, name: &str) -> Option<CertificateDer<'static>> {
    let stream = connect(secured.addr(), secured.authority.client(), name).await.ok()?;
    stream.get_ref().1.peer_certificates().map(|certs| certs[0].clone().into_owned())
}

#[tokio::test]
async fn a_client_over_tls_is_served_and_dify_is_told() {
    let secured = Secured::start().await;
    let answer = secured.send(chat("anna")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let served = &requests(&secured.rig.difys[0])[0];
    let header = |name: &str| {
        let mut headers = served.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    assert_eq!(header("x-forwarded-proto"), Some("https"));
    assert_eq!(header("host"), Some("localhost"));
    assert!(secured.metric("difygate_tls_handshakes_total{result=\"full\"} 1").await);
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let names: [(&str, &[&str], &str); 4] = [
        ("first", &["localhost", "a.example"], ", hosts: [localhost]"),
        ("exact", &["a.example"], ", hosts: [A.example]"),
        ("wild", &["*.b.example"], ", hosts: [\"*.b.example\"]"),
        ("own", &["c.example", "*.d.example"], ""),
    ];
    let (mut entries, mut certificates) = (Vec::new(), Vec::new());
    for (name, hosts, settings) in names {
        let pair = authority.issue(hosts);
        entries.push(entry(&pair.write(folder.path(), name), settings));
        certificates.push(pair.der());
    }
    let tls = format!("tls: [{}]", entries.join(", "));
    let rig = Plan::new(1).without_probes().with(&tls).start().await;
    let secured = Secured { rig, authority, folder };
    for (name, place) in [
        ("localhost", Some(0)),
        ("a.example", Some(1)),
        ("x.b.example", Some(2)),
        ("c.example", Some(3)),
        ("x.d.example", Some(3)),
        // The first one is shown, and it is for others.
        ("b.example", None),
        ("y.x.b.example", None),
        ("elsewhere", None),
        ("127.0.0.1", None),
    ] {
        let expected = place.map(|place: usize| certificates[place].clone());
        assert_eq!(shown(&secured, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_reload_shows_the_new_certificate_and_drops_no_stream() {
    let secured = Secured::start().await;
    let old = shown(&secured, "localhost").await.unwrap();
    let tls = connect(secured.addr(), secured.authority.client(), "localhost").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    let mut request = stream("anna", 40, 0.05).map(Full::new);
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    let answer = sender.send_request(request).await.unwrap();

    let new = secured.authority.issue(&["localhost"]);
    new.write(secured.folder.path(), "gateway");
    secured.rig.gateway.reloader().reload().await.unwrap();
    let now = shown(&secured, "localhost").await.unwrap();
    assert_ne!(old, now);
    assert_eq!(now, new.der());
    let text = whole(answer).await.text();
    assert!(text.contains("message_end"), "{text}");
}

#[tokio::test]
async fn a_reload_says_which_certificates_were_exchanged_and_which_end_soon() {
    let secured = Secured::start().await;
    let reload = || async { secured.rig.gateway.reloader().reload().await.unwrap() };
    assert_eq!(reload().await.to_string(), "nothing changed");
    secured.authority.issue_for_days(&["localhost"], 10).write(secured.folder.path(), "gateway");
    let done = reload().await;
    let said = done.to_string();
    let end = secured.rig.status().await["certificates"][0]["until"].as_str().unwrap().to_owned();
    let file = secured.folder.path().join("gateway.pem").display().to_string();
    assert_eq!(said, format!("new certificate {file} (localhost, until {end})"));
    assert!(done.warnings.to_string().ends_with("expires in 9 days"), "{}", done.warnings);
    let done = reload().await;
    assert_eq!(done.to_string(), "nothing changed");
    assert!(!done.warnings.is_empty(), "it still ends");
}

#[tokio::test]
async fn a_reload_says_whose_authorities_were_exchanged() {
    let secured = Secured::with("client_certificates: { ca: FOLDER/ca.pem }").await;
    let reload = || async { secured.rig.gateway.reloader().reload().await.unwrap().to_string() };
    assert_eq!(reload().await, "nothing changed");
    let file = secured.folder.path().join("ca.pem");
    std::fs::write(&file, Authority::new().pem()).unwrap();
    assert_eq!(reload().await, format!("new authorities in {}", file.display()));
    assert_eq!(reload().await, "nothing changed");
}

#[tokio::test]
async fn the_end_of_a_certificate_is_in_status_and_metrics() {
    let secured = Secured::start().await;
    let file = secured.folder.path().join("gateway.pem").display().to_string();
    let shown = || async { secured.rig.status().await["certificates"][0].clone() };
    let good = shown().await;
    assert_eq!(good["file"], file.as_str());
    assert_eq!(good["names"], serde_json::json!(["localhost"]));
    assert!(good["warning"].is_null(), "{good}");
    let expired = secured.authority.issue_expired(&["localhost"]);
    expired.write(secured.folder.path(), "gateway");
    secured.rig.gateway.reloader().reload().await.unwrap();
    let expired = shown().await;
    assert_eq!(expired["until"], "2020-02-01T00:00:00Z");
    let warning = expired["warning"].as_str().unwrap();
    assert!(warning.ends_with("has expired: clients refuse it"), "{warning}");
    let line = "difygate_certificate_expiry_timestamp_seconds";
    assert!(secured.metric(&format!("{line}{{certificate=\"{file}\"}} 1580515200")).await);
}

#[tokio::test]
async fn a_changed_file_is_found_without_a_reload() {
    let secured = Secured::start().await;
    let new = secured.authority.issue(&["localhost"]);
    new.write(secured.folder.path(), "gateway");
    let seen = async {
        while shown(&secured, "localhost").await != Some(new.der()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
}

#[tokio::test]
async fn a_broken_certificate_keeps_the_old_one() {
    let secured = Secured::start().await;
    let old = shown(&secured, "localhost").await;
    let (folder, other) = (secured.folder.path(), secured.authority.issue(&["localhost"]));
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
    let cases: [(&str, String, &str); 4] = [
        ("gateway.pem", "nonsense".into(), "`tls.cert`"),
        ("gateway.pem", other.cert.clone(), "is not the key of its certificate"),
        ("gateway.key", "".into(), "holds no private key"),
        ("gateway.key", other.key[..80].into(), "is not PEM: a section has no end"),
    ];
    for (file, text, said) in cases {
        let whole = std::fs::read_to_string(folder.join(file)).unwrap();
        write(file, &text);
        let refused = secured.rig.gateway.reloader().reload().await.unwrap_err().to_string();
        assert!(refused.contains(said) && refused.contains("gateway."), "{refused}");
        assert!(!refused.contains(&other.key[40..60]), "{refused}");
        write(file, &whole);
        assert_eq!(shown(&secured, "localhost").await, old);
    }
    std::fs::remove_file(folder.join("gateway.key")).unwrap();
    let refused = secured.rig.gateway.reloader().reload().await.unwrap_err().to_string();
    assert!(refused.contains("cannot be read"), "{refused}");
    assert_eq!(secured.send(chat("anna")).await.status, 200);
}

#[tokio::test]
async fn a_plain_request_is_told_to_speak_tls() {
    let secured = Secured::start().await;
    let said = raw(secured.addr(), b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("use https://"), "{said}");
    assert!(secured.metric("difygate_tls_handshakes_total{result=\"failed\"} 1").await);
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_nothing_in_the_clear() {
    let secured = Secured::with("limits: { connections_per_address: 1 }").await;
    let first = connect(secured.addr(), secured.authority.client(), "localhost").await.unwrap();
    assert_eq!(raw(secured.addr(), b"").await, "");
    let second = connect(secured.addr(), secured.authority.client(), "localhost").await;
    let refused = second.expect_err("it was let in");
    // And not that what came was no TLS.
    assert_ne!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
    assert!(secured.metric("difygate_requests_total{reason=\"bad_request\"} 2").await);
    drop(first);
    let served = async {
        while connect(secured.addr(), secured.authority.client(), "localhost").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, served).await.unwrap();
}

#[tokio::test]
async fn a_handshake_must_end_in_time_and_a_broken_one_is_counted() {
    let secured = Secured::with("timeouts: { header: 1s }").await;
    let mut silent = TcpStream::connect(secured.addr()).await.unwrap();
    let mut begun = TcpStream::connect(secured.addr()).await.unwrap();
    begun.write_all(b"\x16\x03\x01\x02").await.unwrap();
    let mut broken = TcpStream::connect(secured.addr()).await.unwrap();
    broken.write_all(b"\x16\x03\x01\x00\x05hello").await.unwrap();
    for stream in [&mut silent, &mut begun, &mut broken] {
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "it was let be");
    }
    let counted = async {
        while !secured.metric("difygate_tls_handshakes_total{result=\"failed\"} 3").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap();
    assert_eq!(secured.send(chat("anna")).await.status, 200);
}

#[tokio::test]
async fn a_session_is_taken_up_again_also_after_a_reload() {
    let secured = Secured::start().await;
    let config = secured.authority.client();
    let handshake = || async {
        let mut stream = connect(secured.addr(), config.clone(), "localhost").await.unwrap();
        // The ticket comes with the first bytes.
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        stream.get_ref().1.handshake_kind().unwrap()
    };
    assert_eq!(handshake().await, HandshakeKind::Full);
    assert_eq!(handshake().await, HandshakeKind::Resumed);
    secured.rig.gateway.reloader().reload().await.unwrap();
    assert_eq!(handshake().await, HandshakeKind::Resumed);
    assert!(secured.metric("difygate_tls_handshakes_total{result=\"resumed\"} 2").await);
}

#[tokio::test]
async fn clients_show_certificates_where_they_must() {
    let strange = Authority::new();
    for (required, without) in [("true", false), ("false", true)] {
        let settings =
            format!("client_certificates: {{ ca: FOLDER/ca.pem, required: {required} }}");
        let secured = Secured::with(&settings).await;
        let asks = |config: ClientConfig| async {
            let Ok(stream) = connect(secured.addr(), config, "localhost").await else {
                return false;
            };
            asks_on(stream).await
        };
        let authority = &secured.authority;
        let own = authority.issue_for_client("anna");
        assert!(asks(authority.client_with(&own)).await, "{required}");
        assert_eq!(asks(authority.client()).await, without, "{required}");
        let foreign = strange.issue_for_client("anna");
        assert!(!asks(authority.client_with(&foreign)).await, "{required}");
    }
}

/// With TLS 1.3 a client learns of a refusal only after its own handshake.
async fn asks_on(mut stream: TlsStream<TcpStream>) -> bool {
    let head = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    let asked = stream.write_all(head).await.is_ok();
    asked && stream.read_to_end(&mut answer).await.is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_the_profiles_suites_alone() {
    let secured = Secured::start().await;
    let ca = secured.folder.path().join("ca.pem");
    for (arguments, works) in [
        (&["-tls1_2"][..], true),
        (&["-tls1_3"], true),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], true),
        // No forward secrecy, no authenticated encryption.
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], false),
        (&["-tls1_3", "-groups", "P-384"], true),
        (&["-tls1_3", "-groups", "P-521"], false),
    ] {
        assert_eq!(openssl(secured.addr(), &ca, arguments).await, works, "{arguments:?}");
    }
}

async fn openssl(addr: SocketAddr, ca: &Path, arguments: &[&str]) -> bool {
    let mut command = tokio::process::Command::new("openssl");
    command.args(["s_client", "-connect", &addr.to_string(), "-servername", "localhost"]);
    command.args(["-verify_return_error", "-CAfile"]).arg(ca).args(arguments);
    command.stdin(std::process::Stdio::null());
    timeout(PATIENCE, command.output()).await.unwrap().unwrap().status.success()
}

#[tokio::test]
async fn what_make_certs_makes_is_good_and_check_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/certs.sh");
    let mut command = tokio::process::Command::new(script);
    command.env("CERTS", folder.path().join("certs")).env("HOSTS", "gate.example localhost");
    let made = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    assert!(made.status.success(), "{made:?}");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tls.yaml");
    let path = folder.path().join("difygate.yaml");
    std::fs::copy(example, &path).unwrap();
    let check = || async {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_difygate"));
        command.arg("check").arg(&path).env_clear();
        for name in ["USER_TOKEN", "DIFY1_KEY", "DIFY2_KEY"] {
            command.env(name, format!("secret-{name}"));
        }
        let ran = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    assert_eq!(check().await, (true, String::new()));
    let ca = folder.path().join("certs/ca.pem");
    let (cert, key) =
        (folder.path().join("certs/gateway.pem"), folder.path().join("certs/gateway.key"));
    let tls = format!("tls: [{}]", entry(&(cert.clone(), key), ""));
    let rig = Plan::new(1).without_probes().with(&tls).start().await;
    assert!(openssl(rig.addr(), &ca, &["-verify_hostname", "gate.example"]).await);
    assert!(openssl(rig.addr(), &ca, &["-verify_ip", "127.0.0.1"]).await);
    assert!(!openssl(rig.addr(), &ca, &["-verify_hostname", "other.example"]).await);
    let authority = Authority::new();
    let pairs = folder.path().join("certs");
    authority.issue_for_days(&["gate.example"], 3).write(&pairs, "gateway");
    let (is_good, said) = check().await;
    assert!(is_good && said.contains("gate.example, until"), "{said}");
    assert!(said.contains("expires in 2 days") && said.contains("renew it"), "{said}");
    std::fs::write(cert, "nonsense").unwrap();
    let (is_good, said) = check().await;
    assert!(!is_good && said.contains("holds no certificate in PEM"), "{said}");
}

/// So that a certificate can be compared.
impl Pair {
    fn der(&self) -> CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}
