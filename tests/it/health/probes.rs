//! Who is in rotation and who is not: probes, and answers that count.

use dify_sim::{Fault, Release};
use http::StatusCode;
use serde_json::{Value, json};

use super::stage::{
    instance, metric, metrics, more_probes, reload, until, until_state, with_instance,
};
use crate::rig::{Plan, Rig, chat, open, release, request, send, stream};

#[tokio::test]
async fn a_frozen_instance_goes_and_comes_back_without_any_request() {
    let rig = Rig::start(2).await;
    until_state(&rig, "dify2", "up").await;
    rig.difys[1].set_fault(Fault::Frozen).await.unwrap();
    let down = until_state(&rig, "dify2", "down").await;
    assert_eq!((&down["status"], &down["probe"]["good"]), (&json!("unhealthy"), &json!(false)));
    assert_eq!(down["reason"], "its probe fails: no answer within 0.5 s");
    let since = down["since"].as_str().unwrap();
    assert!(since.len() == "2026-11-21T15:22:14.300Z".len() && since.ends_with('Z'), "{down}");
    assert_eq!(instance(&rig, "dify1").await["state"], "up");
    for user in 0..10 {
        assert_eq!(rig.instance_of(&format!("user-{user}")).await, "dify1");
    }
    let labels = "{app=\"shop\",instance=\"dify2\"}";
    assert_eq!(metric(&rig, &format!("difygate_instance_up{labels}")).await, 0);
    assert_eq!(metric(&rig, &format!("difygate_instance_ejected{labels}")).await, 0);

    rig.difys[1].set_fault(Fault::None).await.unwrap();
    let up = until_state(&rig, "dify2", "up").await;
    assert_eq!((&up["status"], &up["reason"]), (&json!("healthy"), &Value::Null));
    assert!(up["since"].as_str() > down["since"].as_str(), "{up} {down}");
    let label = format!("{{address=\"{}\"}}", rig.difys[1].addr());
    let changes = format!("difygate_instance_state_changes_total{label}");
    assert_eq!(metric(&rig, &changes).await, 2);
}

#[tokio::test]
async fn an_instance_that_our_own_streams_fill_stays_up() {
    // With one slot no probe can be sent; with two it hangs before a Dify that serves one.
    for slots in [1, 2] {
        let rig = Plan::new(1)
            .with_instances(&format!(", max_concurrent: {slots}"))
            .with_difys(|setup| setup.with_slots(1))
            .start()
            .await;
        let _running = open(rig.addr(), stream("alice", 100_000, 0.02)).await.unwrap();
        more_probes(&rig, "busy", 3).await;
        let instance = instance(&rig, "dify1").await;
        assert_eq!(instance["status"], "healthy", "{instance}");
        assert!(instance["probe"]["last"].as_str().unwrap().starts_with("busy"), "{instance}");
    }
}

#[tokio::test]
async fn a_late_answer_of_an_instance_that_we_fill_is_no_failure() {
    let rig = Plan::new(1)
        .with("timeouts: { first_byte: 300ms }")
        .with_instances(", max_concurrent: 2")
        .without_probes()
        .start()
        .await;
    let running = open(rig.addr(), stream("alice", 100_000, 0.02)).await.unwrap();
    rig.difys[0].set_fault(Fault::Frozen).await.unwrap();
    assert_eq!(rig.chat("bob").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(instance(&rig, "dify1").await["failures"], 0);
    drop(running);
    until(&rig, "dify1", |instance| instance["connections"] == 0).await;
    assert_eq!(rig.chat("bob").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(instance(&rig, "dify1").await["failures"], 1);
}

#[tokio::test]
async fn requests_that_had_room_count_although_later_ones_fill_the_instance() {
    let rig = Plan::new(2)
        .with("timeouts: { first_byte_idempotent: 300ms }")
        .with_instances(", max_concurrent: 4")
        .without_probes()
        .start()
        .await;
    let home = rig.instance_of("alice").await;
    rig.dify(&home).set_fault(Fault::Frozen).await.unwrap();
    let gets = (0..8).map(|_| {
        let get = request("GET", "/v1/conversations?user=alice").body("").unwrap();
        tokio::spawn(send(rig.addr(), get))
    });
    for get in gets.collect::<Vec<_>>() {
        assert_eq!(get.await.unwrap().status, StatusCode::OK);
    }
    until_state(&rig, &home, "ejected").await;
}

#[tokio::test]
async fn an_instance_that_answers_everything_with_503_goes_down() {
    let rig = Rig::start(1).await;
    rig.difys[0].set_fault(Fault::Status(503)).await.unwrap();
    let down = until_state(&rig, "dify1", "down").await;
    assert!(down["reason"].as_str().unwrap().contains("503 in "), "{down}");
    // All are out, so it is asked all the same, and its answer is passed on.
    assert_eq!(rig.chat("alice").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn only_a_probe_with_the_key_sees_a_database_that_is_down() {
    let rig = Plan::new(1).start().await;
    rig.difys[0].set_fault(Fault::DatabaseDown).await.unwrap();
    more_probes(&rig, "good", 2).await;
    assert_eq!(instance(&rig, "dify1").await["status"], "healthy");

    let rig = Plan::new(1).with("probe: { path: /v1/info, with_key: true }").start().await;
    until_state(&rig, "dify1", "up").await;
    rig.difys[0].set_fault(Fault::DatabaseDown).await.unwrap();
    let down = until_state(&rig, "dify1", "down").await;
    assert!(down["reason"].as_str().unwrap().contains("500 in "), "{down}");
    assert!(!down.to_string().contains("app-shop"), "{down}");
}

#[tokio::test]
async fn a_probe_sends_its_headers_and_looks_into_the_body() {
    let settings =
        "probe: { path: /health, headers: { X-Probe: hush }, expect: 200, expect_body: status }";
    let rig = Plan::new(1).with(settings).start().await;
    until_state(&rig, "dify1", "up").await;
    let probe = &rig.difys[0].served()[0];
    let header = |wanted: &str| {
        let mut headers = probe.headers.iter();
        headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    };
    assert_eq!(header("x-probe"), Some("hush"));
    assert_eq!(header("host"), Some(rig.difys[0].addr().to_string().as_str()));
    assert!(!rig.status().await.to_string().contains("hush"));
    assert!(!metrics(&rig).await.contains("hush"));

    reload(&rig, |text| text.replace("expect_body: status", "expect_body: other")).await;
    let down = until_state(&rig, "dify1", "down").await;
    assert!(down["reason"].as_str().unwrap().contains("without `expect_body`"), "{down}");
}

#[tokio::test]
async fn an_address_is_probed_once_for_all_apps_and_tells_its_version() {
    let rig = Plan::new(1).with("probe: { interval: 1h }").start().await;
    let up = until_state(&rig, "dify1", "up").await;
    let status = rig.status().await;
    assert_eq!(status["applications"]["flow"]["instances"]["dify1"]["state"], "up");
    let probes: Vec<_> =
        rig.difys[0].served().into_iter().filter(|served| served.path == "/v1/").collect();
    assert_eq!(probes.len(), 1, "{probes:?}");
    let status = if release() == Release::V1_5 { 200 } else { 404 };
    assert!(up["probe"]["last"].as_str().unwrap().starts_with(&format!("{status} in ")), "{up}");
    assert_eq!((&up["probe"]["path"], &up["probe"]["streak"]), (&json!("/v1/"), &json!(1)));
    assert_eq!(up["version"], release().version());
    assert_eq!((&up["hint"], &up["max_concurrent"]), (&Value::Null, &json!(10)));
    assert!(metrics(&rig).await.contains("difygate_probe_duration_seconds_count"));
}

#[tokio::test]
async fn health_survives_a_reload() {
    let rig = Rig::start(2).await;
    until_state(&rig, "dify2", "up").await;
    rig.difys[1].set_fault(Fault::Frozen).await.unwrap();
    let before = until_state(&rig, "dify2", "down").await;
    for round in 1..=5 {
        reload(&rig, |text| {
            let old = format!(", weight: {round}");
            let new = format!(", weight: {}", round + 1);
            let plain = text.replace(&old, "");
            with_instance(&plain, 2, &new)
        })
        .await;
        let now = instance(&rig, "dify2").await;
        assert_eq!((&now["state"], &now["since"]), (&json!("down"), &before["since"]), "{now}");
        let streak = |instance: &Value| instance["probe"]["streak"].as_u64().unwrap();
        assert!(streak(&now) >= streak(&before), "{now} {before}");
        assert_ne!(rig.send(chat("alice")).await.instance(), "dify2");
    }
    // Another probe is another judgement, which begins anew.
    reload(&rig, |text| format!("probe: {{ fall: 100 }}\n{text}")).await;
    assert_eq!(instance(&rig, "dify2").await["state"], "checking");
}
