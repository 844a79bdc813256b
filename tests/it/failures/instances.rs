//! Instances fail; what the client sees, and what is sent twice.

use std::collections::BTreeMap;
use std::time::Duration;

use dify_sim::Fault;
use http::StatusCode;
use tokio::time::{sleep, timeout};

use crate::rig::{Plan, Rig, request, requests};

const SHORT_IDLE: &str = "timeouts: { upstream_idle: 50ms }";

const USERS: usize = 30;

async fn homes(rig: &Rig) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for number in 0..USERS {
        let user = format!("user-{number}");
        let home = rig.instance_of(&user).await;
        homes.insert(user, home);
    }
    homes
}

/// Waits until `/status` says so of an instance.
async fn until(rig: &Rig, instance: &str, status: &str) {
    let reached = async {
        while rig.status().await["applications"]["shop"]["instances"][instance]["status"] != status
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(10), reached).await.unwrap();
}

#[tokio::test]
async fn users_of_a_stopped_instance_are_served_by_the_others_and_come_back() {
    let rig = Rig::start(3).await;
    let before = homes(&rig).await;
    assert!(before.values().any(|home| home == "dify2"));

    rig.difys[1].set_fault(Fault::Killed).await.unwrap();
    let during = homes(&rig).await;
    for (user, home) in &before {
        let now = &during[user];
        assert_ne!(now, "dify2", "{user}");
        assert!(home == "dify2" || home == now, "{user} moved from {home} to {now}");
    }
    let heirs: Vec<_> = during.iter().filter(|(user, _)| before[*user] == "dify2").collect();
    assert!(heirs.iter().any(|(_, home)| *home == "dify1"), "{heirs:?}");
    assert!(heirs.iter().any(|(_, home)| *home == "dify3"), "{heirs:?}");
    until(&rig, "dify2", "unhealthy").await;
    let reason = &rig.status().await["applications"]["shop"]["instances"]["dify2"]["reason"];
    assert!(reason.as_str().unwrap().contains("refused"), "{reason}");

    rig.difys[1].set_fault(Fault::None).await.unwrap();
    until(&rig, "dify2", "healthy").await;
    assert_eq!(homes(&rig).await, before);
}

#[tokio::test]
async fn a_second_try_carries_the_second_instances_key() {
    let rig = Rig::start(2).await;
    let home = rig.instance_of("alice").await;
    rig.refuse(&home).await;
    let other = rig.instance_of("alice").await;
    assert_ne!(other, home);
    let number = other.strip_prefix("dify").unwrap();
    let served = requests(rig.dify(&other));
    assert_eq!(served.last().unwrap().key.as_deref(), Some(format!("app-shop-{number}").as_str()));
}

#[tokio::test]
async fn a_post_that_may_have_been_executed_is_not_sent_to_another() {
    for fault in [Fault::CloseAfterRequest, Fault::Reset, Fault::Garbage, Fault::HalfHead] {
        let rig = Plan::new(3).with(SHORT_IDLE).without_probes().start().await;
        let home = rig.instance_of("alice").await;
        rig.difys.iter().for_each(dify_sim::Dify::clear_served);
        // Idle connections must not stand in for a fresh one.
        rig.until_disconnected().await;
        rig.dify(&home).set_fault(fault).await.unwrap();
        let answer = rig.chat("alice").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{fault:?}: {answer:?}");
        assert_eq!(answer.json()["code"], "bad_gateway");
        let elsewhere: usize = rig
            .difys
            .iter()
            .filter(|d| d.url() != rig.dify(&home).url())
            .map(|d| d.served().len())
            .sum();
        assert_eq!(elsewhere, 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_get_moves_on_when_an_instance_breaks_or_hangs() {
    for fault in [Fault::CloseAfterRequest, Fault::Reset, Fault::Garbage, Fault::Frozen] {
        let rig = Plan::new(2).with("timeouts: { first_byte_idempotent: 300ms }").start().await;
        let home = rig.instance_of("alice").await;
        rig.dify(&home).set_fault(fault).await.unwrap();
        let get = request("GET", "/v1/conversations?user=alice").body("").unwrap();
        let answer = rig.send(get).await;
        assert_eq!(answer.status, StatusCode::OK, "{fault:?}: {answer:?}");
        assert_ne!(answer.instance(), home);
    }
}

#[tokio::test]
async fn an_instance_that_does_not_answer_in_time_is_504() {
    let rig = Plan::new(1).with("timeouts: { first_byte: 300ms }").start().await;
    rig.difys[0].set_fault(Fault::Frozen).await.unwrap();
    let answer = rig.chat("alice").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.json()["code"], "gateway_timeout");
}

#[tokio::test]
async fn all_out_are_tried_as_a_last_resort_or_refused() {
    let rig = Plan::new(2).start().await;
    for dify in &rig.difys {
        dify.set_fault(Fault::Refused).await.unwrap();
    }
    for _ in 0..8 {
        assert_eq!(rig.chat("alice").await.status, StatusCode::BAD_GATEWAY);
    }

    let rig = Plan::new(2).with("last_resort: refuse").start().await;
    for dify in &rig.difys {
        dify.set_fault(Fault::Refused).await.unwrap();
    }
    for _ in 0..3 {
        rig.chat("alice").await;
    }
    let answer = rig.chat("alice").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_single_instance_is_never_refused_because_of_its_breaker() {
    let rig = Plan::new(1).with("last_resort: refuse").start().await;
    rig.difys[0].set_fault(Fault::Refused).await.unwrap();
    for _ in 0..6 {
        assert_eq!(rig.chat("alice").await.status, StatusCode::BAD_GATEWAY);
    }
    rig.difys[0].set_fault(Fault::None).await.unwrap();
    assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_instance_whose_answers_are_garbled_is_taken_out_for_its_term() {
    let plan = Plan::new(2).with_instances(", max_fails: 3, fail_timeout: 2s");
    let rig = plan.without_probes().start().await;
    let home = rig.instance_of("alice").await;
    rig.dify(&home).set_fault(Fault::Garbage).await.unwrap();
    let mut failed = 0;
    while rig.chat("alice").await.status != StatusCode::OK {
        failed += 1;
        assert!(failed <= 5, "it is still in rotation");
    }
    assert_eq!(failed, 3);
    rig.dify(&home).set_fault(Fault::None).await.unwrap();
    let back = async {
        while rig.instance_of("alice").await != home {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(10), back).await.unwrap();
}
