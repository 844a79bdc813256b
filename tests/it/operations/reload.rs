//! A new configuration without a dropped request.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use dify_sim::Fault;
use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::rig::{
    Plan, Rig, chat, configuration, has_event, open, request, send, stream, try_send,
};

async fn reload(rig: &Rig) -> crate::rig::Answer {
    send(rig.gateway.admin(), Request::post("/reload-config").body("").unwrap()).await
}

#[tokio::test]
async fn a_reload_keeps_counters_and_takes_the_new_instances() {
    let rig = Rig::start(3).await;
    let two = configuration(&rig.difys[..2], "", "");
    let home = rig.instance_of("alice").await;
    std::fs::write(&rig.config_path, two).unwrap();
    let answer = reload(&rig).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["status"], "success");
    assert_eq!(answer.json()["message"], "Configuration reloaded");
    let status = rig.status().await;
    let shop = &status["applications"]["shop"];
    assert_eq!(shop["total_requests"], 1);
    assert_eq!(shop["instances"].as_object().unwrap().len(), 2);
    if home != "dify3" {
        assert_eq!(shop["instances"][&home]["requests"], 1);
        assert_eq!(rig.instance_of("alice").await, home);
    }
}

#[tokio::test]
async fn a_failing_reload_changes_nothing_says_where_and_shows_no_secret() {
    let rig = Rig::start(2).await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let broken = text.replace("token: app-shop-2", "tokken: app-shop-2");
    std::fs::write(&rig.config_path, &broken).unwrap();
    let answer = reload(&rig).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let body = answer.json();
    assert_eq!(body["status"], "error");
    let line = broken.lines().position(|line| line.contains("tokken")).unwrap() + 1;
    let message = body["message"].as_str().unwrap();
    assert!(message.contains(&format!("difygate.yaml:{line}:")), "{message}");
    assert_eq!(body["findings"][0]["line"], line);
    assert!(!answer.text().contains("app-shop-2"), "{answer:?}");
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);

    std::fs::remove_file(&rig.config_path).unwrap();
    assert_eq!(reload(&rig).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
}

#[tokio::test]
async fn answers_name_their_instance_unless_it_is_switched_off() {
    let rig = Rig::start(1).await;
    assert_eq!(rig.chat("alice").await.header("x-difygate-instance"), Some("dify1"));
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    std::fs::write(&rig.config_path, format!("instance_header: false\n{text}")).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    let answer = rig.chat("alice").await;
    assert_eq!((answer.status, answer.header("x-difygate-instance")), (StatusCode::OK, None));
}

#[tokio::test]
async fn a_changed_listener_is_said_to_need_a_restart() {
    let rig = Rig::start(1).await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    std::fs::write(&rig.config_path, format!("workers: 3\n{text}")).unwrap();
    assert_eq!(reload(&rig).await.json()["needs_restart"], serde_json::json!(["workers"]));
}

/// Starts a stream of 40 s at most and gives it with the name of its instance.
async fn long_stream(rig: &Rig, user: &str) -> (Response<Incoming>, String) {
    let answer = open(rig.addr(), stream(user, 2000, 0.02)).await.unwrap();
    let name = answer.headers()["x-difygate-instance"].to_str().unwrap().to_owned();
    (answer, name)
}

/// Reloads a configuration with these Difys, which keep their names.
async fn only(rig: &Rig, names: &[&str], settings: &str) {
    let mut text = configuration(&rig.difys, &format!("{settings}\n"), ", max_concurrent: 70");
    for (number, dify) in (1..).zip(&rig.difys) {
        if !names.contains(&format!("dify{number}").as_str()) {
            text = text
                .lines()
                .filter(|line| !line.contains(&dify.url()))
                .fold(String::new(), |text, line| text + line + "\n");
        }
    }
    std::fs::write(&rig.config_path, text).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
}

/// Waits until as many instances drain; the test's own time limit ends it.
async fn until_draining(rig: &Rig, count: usize) -> Value {
    loop {
        let draining = rig.status().await["draining_instances"].clone();
        if draining.as_array().unwrap().len() == count {
            return draining;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_removed_instance_drains_its_stream_to_the_end_and_is_forgotten() {
    let rig = Plan::new(2).start().await;
    let answer = open(rig.addr(), stream("alice", 60, 0.02)).await.unwrap();
    let home = answer.headers()["x-difygate-instance"].to_str().unwrap().to_owned();
    let other = if home == "dify1" { "dify2" } else { "dify1" };
    only(&rig, &[other], "").await;
    let draining = until_draining(&rig, 1).await;
    assert_eq!((&draining[0]["app"], &draining[0]["instance"]), (&json!("shop"), &json!(home)));
    assert_eq!(draining[0]["in_flight"], 1);
    assert_eq!(draining[0]["address"], rig.dify(&home).addr().to_string());
    let removed = rig.gateway.shared().snapshot().removed.clone();
    assert_eq!(removed.len(), 2, "one for each app");
    // Requests that come now go to the other one, also after a reload that changes nothing here.
    only(&rig, &[other], "workers: 1").await;
    assert_eq!(rig.instance_of("alice").await, other);
    until_draining(&rig, 1).await;

    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("message_end"));
    until_draining(&rig, 0).await;
    // Its idle connection is dropped within two seconds, and nothing keeps it then.
    while removed.iter().any(|removed| removed.instance().is_some()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    only(&rig, &[other], "").await;
    assert!(rig.gateway.shared().snapshot().removed.is_empty());
}

#[tokio::test]
async fn an_instance_that_comes_back_while_it_drains_is_the_same() {
    let rig = Plan::new(2).start().await;
    let (_running, home) = long_stream(&rig, "alice").await;
    let other = if home == "dify1" { "dify2" } else { "dify1" };
    let instance = |rig: &Rig| {
        let snapshot = rig.gateway.shared().snapshot();
        let all: Vec<_> = snapshot.instances().cloned().collect();
        let address = rig.dify(&home).addr().to_string();
        all.into_iter().find(|instance| instance.address().to_string() == address)
    };
    let before = instance(&rig).unwrap().id();
    // Twice: the second time it is no longer in the configuration before.
    for settings in ["", "workers: 1"] {
        only(&rig, &[other], settings).await;
        assert!(instance(&rig).is_none());
    }
    only(&rig, &["dify1", "dify2"], "").await;
    assert_eq!(instance(&rig).unwrap().id(), before);
    until_draining(&rig, 0).await;
    let status = &rig.status().await["applications"]["shop"]["instances"][&home];
    assert_eq!((&status["in_flight"], &status["connections"]), (&json!(1), &json!(1)));
    assert_eq!((&status["requests"], &status["max_concurrent"]), (&json!(1), &json!(70)));
}

/// GETs and POSTs, one after the other, until told to end: how many were answered.
async fn load(addr: SocketAddr, client: usize, ended: Arc<AtomicBool>) -> usize {
    let mut answered = 0;
    while !ended.load(Ordering::Acquire) {
        let user = format!("u{client}-{answered}");
        let path = format!("/v1/parameters?user={user}");
        let request = match answered % 2 {
            0 => chat(&user),
            _ => request("GET", &path).body(Bytes::new()).unwrap(),
        };
        let answer = try_send(addr, request).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answered += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    answered
}

#[tokio::test]
async fn no_request_and_no_stream_is_dropped_by_100_reloads() {
    let rig = Plan::new(3).start().await;
    let before = rig.instance_of("alice").await;
    // They outlast the reloads: read only after them.
    let mut streams = Vec::new();
    for user in 0..20 {
        streams.push(open(rig.addr(), stream(&format!("s{user}"), 100, 0.05)).await.unwrap());
    }
    let ended = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..40).map(|client| tokio::spawn(load(rig.addr(), client, Arc::clone(&ended)))).collect();
    for round in 0..100 {
        // Each reload changes something: limits, a whole instance, and what is hashed.
        match round % 4 {
            0 => only(&rig, &["dify1", "dify2"], "").await,
            1 => only(&rig, &["dify2", "dify3"], "max_load: 1.25").await,
            2 => only(&rig, &["dify3", "dify1"], "method: rendezvous").await,
            _ => only(&rig, &["dify1", "dify2", "dify3"], "").await,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ended.store(true, Ordering::Release);
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    for stream in streams {
        let text = stream.into_body().collect().await.unwrap().to_bytes();
        assert!(has_event(&String::from_utf8_lossy(&text), "message_end"));
    }
    let status = rig.status().await;
    let shop = &status["applications"]["shop"];
    assert!(status["configuration"]["generation"].as_u64() >= Some(100), "{status}");
    assert_eq!(status["stats"]["in_flight"], 0);
    assert_eq!(status["stats"]["by_reason"]["answered"], answered + 21);
    assert_eq!(shop["total_requests"], answered + 21);
    let sum = |key: &str| -> u64 {
        let instances = shop["instances"].as_object().unwrap().values();
        instances.map(|instance| instance[key].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("in_flight"), sum("waiting"), sum("failures")), (0, 0, 0));
    assert_eq!(until_draining(&rig, 0).await, json!([]));
    assert_eq!(rig.instance_of("alice").await, before);
    // Slots come back: idle connections go within two seconds.
    let connections = async |rig: &Rig| {
        let status = rig.status().await;
        let instances = status["applications"]["shop"]["instances"].as_object().unwrap().clone();
        instances.values().map(|instance| instance["connections"].as_u64().unwrap()).sum::<u64>()
    };
    while connections(&rig).await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn health_survives_a_reload() {
    let rig = Rig::start(2).await;
    let home = rig.instance_of("alice").await;
    rig.dify(&home).set_fault(Fault::Refused).await.unwrap();
    for _ in 0..3 {
        rig.chat("alice").await;
    }
    let unhealthy = async |rig: &Rig| {
        let status = rig.status().await;
        status["applications"]["shop"]["instances"][&home]["status"] == "unhealthy"
    };
    assert!(unhealthy(&rig).await);
    only(&rig, &["dify1", "dify2"], "").await;
    assert!(unhealthy(&rig).await);
}

#[tokio::test]
async fn a_drain_ends_the_running_stream_whole() {
    let rig = Rig::start(1).await;
    let running = open(rig.addr(), stream("alice", 20, 0.05)).await.unwrap();
    let body = tokio::spawn(http_body_util::BodyExt::collect(running.into_body()));
    let addr = rig.addr();
    rig.gateway.drain().await;
    let text = body.await.unwrap().unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("message_end"));
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

/// Waits until the rig's token is or is not known; the test's own time limit ends it.
async fn until(addr: SocketAddr, status: StatusCode) {
    while send(addr, chat("alice")).await.status != status {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_file_that_is_rewritten_or_replaced_by_another_is_read_again() {
    let rig = Rig::start(1).await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let other = text.replace("[usertoken--shop]", "[usertoken--new]");
    until(rig.addr(), StatusCode::OK).await;
    std::fs::write(&rig.config_path, &other).unwrap();
    until(rig.addr(), StatusCode::UNAUTHORIZED).await;
    let new = rig.config_path.with_extension("new");
    std::fs::write(&new, &text).unwrap();
    std::fs::rename(&new, &rig.config_path).unwrap();
    until(rig.addr(), StatusCode::OK).await;
    // The replaced file is watched as the first one was.
    std::fs::write(&rig.config_path, &other).unwrap();
    until(rig.addr(), StatusCode::UNAUTHORIZED).await;
}

/// A config map of Kubernetes: the file is a link through `..data`, which is swapped.
#[tokio::test]
async fn a_swapped_link_and_a_changed_secret_are_read_again() {
    let rig = Rig::start(1).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    for (version, token) in [("..1", "usertoken--old"), ("..2", "\"file:token\"")] {
        std::fs::create_dir(at(version)).unwrap();
        let text = text.replace("[usertoken--shop]", &format!("[{token}]"));
        std::fs::write(at(version).join("difygate.yaml"), text).unwrap();
    }
    std::fs::write(at("token"), "usertoken--shop\n").unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/difygate.yaml", at("difygate.yaml")).unwrap();
    let loaded = config::load(&at("difygate.yaml"), &Environment::default()).unwrap();
    let gateway = Gateway::start(loaded.config, at("difygate.yaml"), None).await.unwrap();
    until(gateway.listen(), StatusCode::UNAUTHORIZED).await;

    symlink("..2", at("..new")).unwrap();
    std::fs::rename(at("..new"), at("..data")).unwrap();
    until(gateway.listen(), StatusCode::OK).await;
    std::fs::write(at("token"), "usertoken--another\n").unwrap();
    until(gateway.listen(), StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn nobody_waits_for_a_reload_that_takes_its_time() {
    let rig = Rig::start(1).await;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("key");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let key = format!("token: \"file:{}\"", pipe.display());
    std::fs::write(&rig.config_path, text.replace("token: app-shop-1", &key)).unwrap();
    // Both ends wait for each other to open the pipe; then the reload waits for the key.
    let (is_read, reading) = oneshot::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        let mut pipe = OpenOptions::new().write(true).open(pipe).unwrap();
        let _ = is_read.send(());
        // If everybody waits, the test shall fail and not hang.
        let _ = wait.recv_timeout(Duration::from_secs(20));
        pipe.write_all(b"app-shop-1\n").unwrap();
    });
    let reloader = rig.gateway.reloader().clone();
    let reload = tokio::spawn(async move { reloader.reload().await });
    reading.await.unwrap();
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
    rig.status().await;
    assert!(!reload.is_finished());
    go.send(()).unwrap();
    reload.await.unwrap().unwrap();
    writer.join().unwrap();
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
}
