//! Instances that are drained, and those that come back.

use dify_sim::Fault;
use http::{Request, StatusCode};
use serde_json::json;

use super::stage::{homes, instance, messages, metric, number, reload, until_state, with_instance};
use crate::rig::{Plan, Rig, send};

#[tokio::test]
async fn what_is_drained_keeps_its_conversations_and_takes_nothing_new() {
    let rig = Rig::start(2).await;
    let home = rig.instance_of("alice").await;
    let turn = rig.chat("alice").await;
    reload(&rig, |text| with_instance(text, number(&home), ", drain: true")).await;
    let draining = instance(&rig, &home).await;
    assert_eq!((&draining["status"], &draining["state"]), (&json!("draining"), &json!("draining")));
    assert_ne!(rig.instance_of("alice").await, home);
    let answer = rig.send(messages("alice", &turn)).await;
    assert_eq!((answer.status, answer.instance()), (StatusCode::OK, home.clone()));
    let ready = || send(rig.gateway.admin(), Request::get("/ready").body("").unwrap());
    assert_eq!(ready().await.status, StatusCode::OK);
    let labels = format!("{{app=\"shop\",instance=\"{home}\"}}");
    assert_eq!(metric(&rig, &format!("difygate_instance_draining{labels}")).await, 1);

    // All are drained: nobody is ready, and as a last resort they serve all the same, those that
    // answer first.
    let other = if home == "dify1" { "dify2" } else { "dify1" };
    reload(&rig, |text| with_instance(text, number(other), ", drain: true")).await;
    assert_eq!(ready().await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(rig.instance_of("alice").await, home);
    rig.dify(&home).set_fault(Fault::Frozen).await.unwrap();
    until_state(&rig, &home, "down").await;
    assert_eq!(rig.instance_of("alice").await, other);
}

#[tokio::test]
async fn after_a_return_users_come_home_one_by_one() {
    let rig = Plan::new(2).with("slow_start: 1h").start().await;
    let before = homes(&rig).await;
    assert!(before.values().any(|home| home == "dify2"), "slow start has nothing to do at a start");
    let user = before.iter().find(|(_, home)| *home == "dify2").unwrap().0;
    let turn = rig.chat(user).await;
    rig.difys[1].set_fault(Fault::Killed).await.unwrap();
    until_state(&rig, "dify2", "down").await;
    rig.difys[1].set_fault(Fault::None).await.unwrap();
    let back = until_state(&rig, "dify2", "up").await;
    assert_eq!(back["reason"], "slow start: 0 % of its users are back");
    let during = homes(&rig).await;
    let at_home = during.values().filter(|home| *home == "dify2").count();
    assert!(at_home <= 1, "{during:?}");
    // What is there is not to be had elsewhere.
    let answer = rig.send(messages(user, &turn)).await;
    assert_eq!((answer.status, answer.instance()), (StatusCode::OK, "dify2".to_owned()));
    // Nobody else is left: no reason to let anybody wait.
    rig.difys[0].set_fault(Fault::Killed).await.unwrap();
    until_state(&rig, "dify1", "down").await;
    assert_eq!(rig.instance_of(user).await, "dify2");
    rig.difys[0].set_fault(Fault::None).await.unwrap();
    until_state(&rig, "dify1", "up").await;

    reload(&rig, |text| text.replace("slow_start: 1h", "slow_start: 1ms")).await;
    assert_eq!(homes(&rig).await, before);
}
