//! Connections to an instance: never more than it serves, never older than it allows.

use std::time::Duration;

use http::{Request, StatusCode};
use tokio::time::sleep;

use crate::rig::{Plan, chat, open, request, send, stream, try_send};

#[tokio::test]
async fn no_more_connections_than_slots_and_everybody_is_served() {
    let rig = Plan::new(1)
        .with_instances(", max_concurrent: 4")
        .with_difys(|setup| setup.with_slots(4))
        .start()
        .await;
    let most = {
        let dify = rig.difys[0].clone();
        tokio::spawn(async move {
            let mut most = 0;
            for _ in 0..200 {
                most = most.max(dify.open_connections());
                sleep(Duration::from_millis(5)).await;
            }
            most
        })
    };
    let turns = (0..40).map(|user| {
        let request = stream(&format!("user-{user}"), 5, 0.01);
        tokio::spawn(try_send(rig.addr(), request))
    });
    for turn in turns.collect::<Vec<_>>() {
        assert_eq!(turn.await.unwrap().unwrap().status, StatusCode::OK);
    }
    let most = most.await.unwrap();
    assert!((1..=4).contains(&most), "{most} connections at once");
}

#[tokio::test]
async fn a_full_queue_is_429_with_retry_after() {
    let rig = Plan::new(1)
        .with_instances(", max_concurrent: 1, queue: { size: 1, timeout: 300ms }")
        .start()
        .await;
    let _running = open(rig.addr(), stream("alice", 1000, 0.02)).await.unwrap();
    let waiting = tokio::spawn(try_send(rig.addr(), chat("alice")));
    while rig.status().await["applications"]["shop"]["instances"]["dify1"]["waiting"] != 1 {
        sleep(Duration::from_millis(10)).await;
    }
    for answer in [rig.chat("alice").await, waiting.await.unwrap().unwrap()] {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
        assert_eq!(answer.json()["code"], "too_many_requests");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // A full instance is not a broken one.
    let status = rig.status().await;
    assert_eq!(status["applications"]["shop"]["instances"]["dify1"]["status"], "healthy");
}

#[tokio::test]
async fn a_request_without_a_user_passes_a_full_instance_over() {
    let rig = Plan::new(2)
        .with_instances(", max_concurrent: 1, queue: { size: 0, timeout: 1s }")
        .start()
        .await;
    let running = open(rig.addr(), stream("alice", 1000, 0.02)).await.unwrap();
    let busy = running.headers()["x-difygate-instance"].to_str().unwrap().to_owned();
    for _ in 0..6 {
        let answer = rig.send(request("GET", "/v1/info").body("").unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_ne!(answer.instance(), busy);
    }
}

#[tokio::test]
async fn an_idle_connection_is_reused_until_its_time_is_up() {
    // What is closed here is closed by the gateway.
    let patient = |setup: dify_sim::Setup| setup.with_keep_alive(Duration::from_secs(120));
    let kept = "workers: 1\ntimeouts: { upstream_idle: 60s }";
    let rig = Plan::new(1).with(kept).without_probes().with_difys(patient).start().await;
    for _ in 0..5 {
        rig.chat("alice").await;
    }
    assert_eq!(rig.difys[0].accepted_connections(), 1);

    for dropped in ["workers: 1\ntimeouts: { upstream_idle: 50ms }", "workers: 1"] {
        let rig = Plan::new(1).with(dropped).without_probes().with_difys(patient).start().await;
        rig.chat("alice").await;
        let dropped = rig.difys[0].wait_for_open(0);
        tokio::time::timeout(Duration::from_secs(20), dropped).await.unwrap();
    }
}

#[tokio::test]
async fn an_idle_connection_gives_way_to_a_request_on_another_worker() {
    let rig = Plan::new(1)
        .with("workers: 4")
        .with_instances(", max_concurrent: 1, queue: { size: 10, timeout: 800ms }")
        .start()
        .await;
    // Connections fall on the workers as the kernel likes; each holds the only slot when idle.
    for _ in 0..40 {
        assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_connection_that_the_instance_closed_meanwhile_costs_a_get_nothing() {
    let rig = Plan::new(1)
        .with("workers: 1")
        .with_difys(|setup| setup.with_keep_alive(Duration::from_millis(20)))
        .start()
        .await;
    // Around the instance's time limit a request and the closing cross. `once.rs` has what becomes of a POST.
    for round in 0..60 {
        let get = Request::get("/v1/parameters?user=alice");
        let get = get.header("authorization", "Bearer usertoken--shop").body("").unwrap();
        assert_eq!(send(rig.addr(), get).await.status, StatusCode::OK, "round {round}");
        sleep(Duration::from_millis(15 + round % 10)).await;
    }
    let status = rig.status().await;
    assert_eq!(status["applications"]["shop"]["instances"]["dify1"]["failures"], 0, "{status}");
}

#[tokio::test]
async fn a_half_sent_body_takes_no_slot() {
    use tokio::io::AsyncWriteExt;

    let rig = Plan::new(1).without_probes().start().await;
    let mut stalled = tokio::net::TcpStream::connect(rig.addr()).await.unwrap();
    let head = format!(
        "POST /v1/chat-messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"user\": ",
        crate::rig::TOKEN
    );
    stalled.write_all(head.as_bytes()).await.unwrap();
    while rig.status().await["stats"]["in_flight"] != 1 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.difys[0].accepted_connections(), 0);
}
