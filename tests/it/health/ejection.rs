//! What takes an instance out without a probe, how many of them, and what brings it back.

use std::time::Duration;

use dify_sim::Fault;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::stage::{instance, of_home, reload, until, until_state};
use crate::rig::{Plan, Rig, has_event, open, post, request, requests, stream};

#[tokio::test]
async fn three_bad_statuses_in_a_row_eject_although_probes_are_answered() {
    let rig = Rig::start(2).await;
    let home = rig.instance_of("alice").await;
    for _ in 0..3 {
        // A run in between that is answered begins the count anew.
        rig.dify(&home).set_fault(Fault::RunStatus(503)).await.unwrap();
        assert_eq!(rig.chat("alice").await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(rig.chat("alice").await.status, StatusCode::SERVICE_UNAVAILABLE);
        rig.dify(&home).set_fault(Fault::None).await.unwrap();
        assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
    }
    assert_eq!(instance(&rig, &home).await["state"], "up");
    let users = of_home(&rig, &home, 3).await;
    rig.dify(&home).set_fault(Fault::RunStatus(503)).await.unwrap();
    for user in &users {
        assert_eq!(rig.chat(user).await.status, StatusCode::SERVICE_UNAVAILABLE);
        // Lists say nothing of runs: they are served from the database alone.
        let get = request("GET", "/v1/conversations?user=alice").body("").unwrap();
        rig.send(get).await;
    }
    assert_ne!(rig.instance_of(&users[0]).await, home);
    let ejected = instance(&rig, &home).await;
    assert_eq!((&ejected["state"], &ejected["status"]), (&json!("ejected"), &json!("unhealthy")));
    assert!(ejected["reason"].as_str().unwrap().contains("answered 503"), "{ejected}");
    assert_eq!(ejected["ejections"], 1);
    let at = ejected["probe"]["at"].clone();
    let probed = until(&rig, &home, |instance| instance["probe"]["at"] != at).await;
    assert_eq!((&probed["probe"]["good"], &probed["state"]), (&json!(true), &json!("ejected")));
}

#[tokio::test]
async fn a_restart_that_cut_streams_does_not_keep_an_instance_out() {
    let rig = Plan::new(1).with_instances(", fail_timeout: 1h").start().await;
    let mut streams = Vec::new();
    for user in 0..4 {
        let request = stream(&format!("user-{user}"), 100_000, 0.02);
        streams.push(open(rig.addr(), request).await.unwrap().into_body());
    }
    until_state(&rig, "dify1", "up").await;
    rig.difys[0].set_fault(Fault::Killed).await.unwrap();
    for body in streams {
        let text = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        assert!(has_event(&String::from_utf8_lossy(&text), "error"));
    }
    let down = until_state(&rig, "dify1", "down").await;
    assert_eq!(down["ejections"], 1, "{down}");
    rig.difys[0].set_fault(Fault::None).await.unwrap();
    until_state(&rig, "dify1", "up").await;
}

#[tokio::test]
async fn a_trial_with_a_bad_status_fails_and_one_without_brings_it_back() {
    let rig = Plan::new(2).with_instances(", fail_timeout: 300ms").start().await;
    let home = rig.instance_of("alice").await;
    let users = of_home(&rig, &home, 3).await;
    rig.dify(&home).set_fault(Fault::RunStatus(500)).await.unwrap();
    for user in users {
        assert_eq!(rig.chat(&user).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    until_state(&rig, &home, "half_open").await;
    assert_eq!(rig.chat("alice").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(instance(&rig, &home).await["ejections"], 2);
    rig.dify(&home).set_fault(Fault::None).await.unwrap();
    until_state(&rig, &home, "half_open").await;
    assert_eq!(rig.instance_of("alice").await, home);
    assert_eq!(instance(&rig, &home).await["state"], "up");
}

#[tokio::test]
async fn errors_of_clients_and_models_eject_nobody() {
    let rig = Plan::new(1).with_instances(", max_fails: 1").start().await;
    for query in ["error400", "error401", "error429", "error500", "errconn"] {
        let body =
            json!({ "inputs": {}, "query": query, "response_mode": "blocking", "user": "a" });
        let answer = rig.send(post("/v1/chat-messages", &body)).await;
        assert!(answer.status.is_client_error(), "{query}: {answer:?}");
    }
    let unknown = "/v1/messages?conversation_id=7f1ad7ae-7f2c-4d3c-8d0e-2ad1ad8a2a10&user=a";
    for path in [unknown, "/v1/no/such/path"] {
        let answer = rig.send(request("GET", path).body("").unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    }
    let instance = instance(&rig, "dify1").await;
    assert_eq!((&instance["status"], &instance["ejections"]), (&json!("healthy"), &json!(0)));
}

#[tokio::test]
async fn statuses_that_are_not_listed_count_nothing() {
    let rig =
        Plan::new(2).with("fail_statuses: [502]").with_instances(", max_fails: 1").start().await;
    let home = rig.instance_of("alice").await;
    rig.dify(&home).set_fault(Fault::RunStatus(503)).await.unwrap();
    for _ in 0..5 {
        assert_eq!(rig.chat("alice").await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    rig.dify(&home).set_fault(Fault::RunStatus(502)).await.unwrap();
    assert_eq!(rig.chat("alice").await.status, StatusCode::BAD_GATEWAY);
    assert_ne!(rig.instance_of("alice").await, home);
}

#[tokio::test]
async fn without_probes_a_trial_brings_an_instance_back() {
    let plan = Plan::new(2).without_probes().with_instances(", max_fails: 1, fail_timeout: 300ms");
    let rig = plan.start().await;
    let home = rig.instance_of("alice").await;
    rig.dify(&home).set_fault(Fault::Killed).await.unwrap();
    for _ in 0..3 {
        assert_ne!(rig.instance_of("alice").await, home);
    }
    let out = instance(&rig, &home).await;
    assert_eq!((&out["status"], &out["probe"]), (&json!("unhealthy"), &Value::Null));
    rig.dify(&home).set_fault(Fault::None).await.unwrap();
    let back = async {
        while rig.instance_of("alice").await != home {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), back).await.unwrap();
    assert!(rig.difys.iter().all(|dify| requests(dify).len() == dify.served_count()));
}

#[tokio::test]
async fn no_more_than_the_share_are_taken_out() {
    let plan = Plan::new(2).with("max_ejected_share: 50%\nlast_resort: refuse");
    let rig = plan.without_probes().start().await;
    let home = rig.instance_of("alice").await;
    let other = if home == "dify1" { "dify2" } else { "dify1" };
    let users = of_home(&rig, &home, 2).await;
    for dify in &rig.difys {
        dify.set_fault(Fault::RunStatus(503)).await.unwrap();
    }
    for user in users.iter().cycle().take(20) {
        let answer = rig.chat(user).await;
        assert!(answer.header("x-difygate-instance").is_some(), "{answer:?}");
    }
    assert_eq!(instance(&rig, &home).await["state"], "ejected");
    let held = instance(&rig, other).await;
    assert_eq!((&held["status"], &held["ejections"]), (&json!("healthy"), &json!(0)));
    let reason = held["reason"].as_str().unwrap();
    assert!(reason.starts_with("would be out, but `max_ejected_share` holds it in"), "{reason}");
}

#[tokio::test]
async fn who_is_down_is_refused_or_tried_as_the_last_resort_says() {
    let rig = Plan::new(2).with("last_resort: refuse").start().await;
    for (dify, name) in rig.difys.iter().zip(["dify1", "dify2"]) {
        dify.set_fault(Fault::Status(500)).await.unwrap();
        until_state(&rig, name, "down").await;
    }
    let answer = rig.chat("alice").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
    reload(&rig, |text| text.replace("last_resort: refuse", "last_resort: try")).await;
    assert_eq!(rig.chat("alice").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}
