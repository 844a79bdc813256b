//! A new configuration without a dropped request.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use http::{Request, StatusCode};

use crate::rig::{Plan, Rig, chat, configuration, open, send, stream, try_send};

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
async fn a_changed_listener_is_said_to_need_a_restart() {
    let rig = Rig::start(1).await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    std::fs::write(&rig.config_path, format!("workers: 3\n{text}")).unwrap();
    assert_eq!(reload(&rig).await.json()["needs_restart"], serde_json::json!(["workers"]));
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
async fn no_request_and_no_stream_is_dropped_by_reloads() {
    let rig = Plan::new(3).start().await;
    let streams: Vec<_> = (0..20)
        .map(|user| tokio::spawn(try_send(rig.addr(), stream(&format!("s{user}"), 40, 0.05))))
        .collect();
    let addr = rig.addr();
    let load = tokio::spawn(async move {
        let mut answered = 0;
        for round in 0..100 {
            let turns: Vec<_> = (0..4)
                .map(|user| tokio::spawn(try_send(addr, chat(&format!("u{round}-{user}")))))
                .collect();
            for turn in turns {
                assert_eq!(turn.await.unwrap().unwrap().status, StatusCode::OK);
                answered += 1;
            }
        }
        answered
    });
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    for round in 0..20 {
        // Each reload changes something: an instance's limit, and a whole instance.
        let two = configuration(&rig.difys[..2], "", ", max_concurrent: 50");
        std::fs::write(&rig.config_path, if round % 2 == 0 { &two } else { &text }).unwrap();
        rig.gateway.reloader().reload().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(load.await.unwrap(), 400);
    for stream in streams {
        let answer = stream.await.unwrap().unwrap();
        assert!(answer.text().contains("\"event\": \"message_end\""), "{answer:?}");
    }
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
