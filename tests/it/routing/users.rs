//! Which instance answers whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dify_sim::Release;
use http::{Request, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::rig::{Plan, Rig, TOKEN, chat, post, release, request, requests};

#[tokio::test]
async fn a_user_always_lands_on_the_same_instance() {
    let rig = Rig::start(3).await;
    let first = rig.instance_of("alice").await;
    for _ in 0..99 {
        assert_eq!(rig.instance_of("alice").await, first);
    }
    assert_eq!(rig.served().iter().max(), Some(&100));
}

#[tokio::test]
async fn ten_users_use_all_three_instances() {
    let rig = Rig::start(3).await;
    let mut used = BTreeSet::new();
    for user in 0..10 {
        used.insert(rig.instance_of(&format!("user-{user}")).await);
    }
    assert_eq!(used.len(), 3, "{used:?}");
}

#[tokio::test]
async fn the_instance_gets_its_own_key_and_never_the_users_token() {
    let rig = Rig::start(3).await;
    for user in 0..10 {
        rig.chat(&format!("user-{user}")).await;
    }
    for (number, dify) in (1..).zip(&rig.difys) {
        for served in requests(dify) {
            assert_eq!(served.key.as_deref(), Some(format!("app-shop-{number}").as_str()));
            assert!(served.headers.iter().all(|(_, value)| !value.contains(TOKEN)));
        }
    }
}

#[tokio::test]
async fn requests_without_a_user_are_spread() {
    let rig = Rig::start(3).await;
    let mut answered = BTreeMap::new();
    for _ in 0..9 {
        let answer = rig.send(request("GET", "/v1/parameters").body("").unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        *answered.entry(answer.instance()).or_insert(0) += 1;
    }
    assert_eq!(answered.into_values().collect::<Vec<_>>(), [3, 3, 3]);
}

#[tokio::test]
async fn the_root_answers_without_a_key() {
    let rig = Rig::start(1).await;
    let answer = rig.send(Request::get("/v1/").body("").unwrap()).await;
    // 200 up to 1.7, and 404 since: what Dify says is passed on.
    let (status, version) = match release() {
        Release::V1_5 => (StatusCode::OK, "1.5.0"),
        newer => (StatusCode::NOT_FOUND, newer.version()),
    };
    assert_eq!((answer.status, answer.header("x-version")), (status, Some(version)));
    let wrong = Request::get("/v1/").header("authorization", "Bearer wrong").body("").unwrap();
    assert_eq!(rig.send(wrong).await.status, status);
    assert!(rig.difys[0].served().iter().all(|served| served.key.is_none()));
}

/// A server that is no Dify: it counts requests and answers each with `plain`.
async fn plain_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, served) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = socket.read(&mut head).await;
            count.fetch_add(1, Ordering::SeqCst);
            let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nplain";
            let _ = socket.write_all(ok).await;
        }
    });
    (addr, served)
}

#[tokio::test]
async fn a_request_is_proxied_to_a_pool_without_an_app_a_key_or_dify() {
    let rig = Rig::start(1).await;
    let (plain, served) = plain_server().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let pool = [("closed", closed), ("plain", plain)].map(|(name, addr)| {
        format!("      - {{ name: {name}, url: \"http://{addr}\", token: app-x }}\n")
    });
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let text: String = text
        .lines()
        .map(|line| match line.contains("- { name: dify1,") {
            true => pool.concat(),
            false => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&rig.config_path, text).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    for _ in 0..4 {
        let answer = rig.send(Request::get("/v1/").body("").unwrap()).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "plain".to_owned()));
        assert_eq!(answer.instance(), "plain");
    }
    // Probes come beside them.
    assert!(served.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn a_path_below_v1_that_the_gateway_does_not_know_is_forwarded() {
    let rig = Rig::start(2).await;
    let answer = rig.send(post("/v1/next-year/feature", &json!({ "user": "alice" }))).await;
    // Dify's own 404 is a page.
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.instance(), rig.instance_of("alice").await);
}

#[tokio::test]
async fn outside_v1_nothing_is_served() {
    let rig = Rig::start(1).await;
    for path in ["/", "/console/api/setup", "/v2/info"] {
        let answer = rig.send(request("GET", path).body("").unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.json()["code"], "not_found");
    }
    assert_eq!(rig.served(), [0]);
}

#[tokio::test]
async fn a_token_of_several_apps_names_its_app_by_header() {
    let rig = Plan::new(1).start().await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    std::fs::write(
        &rig.config_path,
        text.replace("[usertoken--flow]", "[usertoken--flow, usertoken--shop]"),
    )
    .unwrap();
    rig.gateway.reloader().reload().await.unwrap();

    let answer = rig.send(request("GET", "/v1/info").body("").unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["code"], "invalid_param");
    assert!(answer.text().contains("shop, flow"), "{answer:?}");

    for (app, mode) in [("shop", "chat"), ("flow", "workflow")] {
        let named = request("GET", "/v1/info").header("x-difygate-app", app).body("").unwrap();
        assert_eq!(rig.send(named).await.json()["mode"], mode);
    }
    let other = request("GET", "/v1/info").header("x-difygate-app", "other").body("").unwrap();
    assert_eq!(rig.send(other).await.status, StatusCode::BAD_REQUEST);
    assert!(
        requests(&rig.difys[0])
            .iter()
            .all(|r| r.headers.iter().all(|(n, _)| n != "x-difygate-app"))
    );
}

#[tokio::test]
async fn a_heavier_instance_gets_more_users() {
    let rig = Rig::start(2).await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let heavier = text.replace("token: app-shop-2", "token: app-shop-2, weight: 9");
    std::fs::write(&rig.config_path, heavier).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    for user in 0..60 {
        assert_eq!(rig.send(chat(&format!("user-{user}"))).await.status, StatusCode::OK);
    }
    let served = rig.served();
    assert!(served[1] > 40 && served[0] > 0, "{served:?}");
}
