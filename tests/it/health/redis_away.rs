//! Dify without its Redis: from 1.12 on every request with a key hangs, and all others are served.

use std::time::Duration;

use dify_sim::{Fault, Pace, Release};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::stage::more_probes;
use crate::rig::{Plan, Rig, chat, request, send};

/// Half a minute of Dify's is 15 s.
fn plan(release: Release) -> Plan {
    let pace = Pace { second: Duration::from_millis(500), ..Pace::default() };
    Plan::new(2).with_difys(move |setup| setup.with_release(release).with_pace(pace))
}

/// Waits until `/status` says so of an instance of `shop`.
async fn until(rig: &Rig, name: &str, state: &str) -> Value {
    let reached = async {
        loop {
            let status = rig.status().await;
            let now = status["applications"]["shop"]["instances"][name].clone();
            if now["state"] == state {
                return now;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(40), reached).await.unwrap()
}

/// A user whose home is this instance.
async fn user_of(rig: &Rig, name: &str) -> String {
    for number in 0.. {
        let user = format!("user-{number}");
        if rig.instance_of(&user).await == name {
            return user;
        }
    }
    unreachable!()
}

#[tokio::test]
async fn an_instance_whose_keyed_requests_hang_is_out_and_comes_back_by_itself() {
    for release in [Release::V1_12, Release::V1_14] {
        let rig = plan(release).start().await;
        let user = user_of(&rig, "dify1").await;
        rig.difys[0].set_fault(Fault::RedisDown).await.unwrap();
        // A run hangs there: nobody else gets it, and it is the only one to notice.
        let addr = rig.addr();
        let hanging = tokio::spawn(send(addr, chat(&user)));
        let out = until(&rig, "dify1", "down").await;
        assert!(out["reason"].as_str().unwrap().contains("/v1/info with a key"), "{out}");
        assert_eq!(rig.instance_of(&user).await, "dify2", "{release}");
        // What answers without a key does not bring it back: it is asked with one.
        more_probes(&rig, "bad", 1).await;
        assert_eq!(until(&rig, "dify1", "down").await["status"], "unhealthy");
        rig.difys[0].set_fault(Fault::None).await.unwrap();
        until(&rig, "dify1", "up").await;
        assert_eq!(rig.instance_of(&user).await, "dify1", "{release}");
        hanging.abort();
    }
}

#[tokio::test]
async fn gets_that_hang_move_on_and_take_it_out_also_while_runs_fill_it() {
    let rig = plan(Release::V1_14).with_instances(", max_concurrent: 5").start().await;
    let user = user_of(&rig, "dify1").await;
    rig.difys[0].set_fault(Fault::RedisDown).await.unwrap();
    let addr = rig.addr();
    let get = || request("GET", &format!("/v1/parameters?user={user}")).body("").unwrap();
    let gets: Vec<_> = (0..3).map(|_| tokio::spawn(send(addr, get()))).collect();
    sleep(Duration::from_millis(200)).await;
    let runs: Vec<_> = (0..8).map(|_| tokio::spawn(send(addr, chat(&user)))).collect();
    for get in gets {
        let answer = get.await.unwrap();
        assert_eq!((answer.status, answer.instance().as_str()), (StatusCode::OK, "dify2"));
    }
    until(&rig, "dify1", "down").await;
    runs.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_slow_blocking_run_takes_nobody_out() {
    for release in [Release::V1_5, Release::V1_14] {
        let pace = Pace { blocking: Duration::from_secs(6), ..Pace::default() };
        let rig = Plan::new(2).with_difys(move |setup| setup.with_release(release).with_pace(pace));
        let rig = rig.start().await;
        let answer = rig.chat("alice").await;
        assert_eq!(answer.status, StatusCode::OK, "{release}");
        let dify = rig.dify(&answer.instance());
        // It was asked meanwhile, with a key, and answered.
        assert!(dify.served().iter().any(|served| served.path == "/v1/info"), "{release}");
        let status = rig.status().await;
        let now = &status["applications"]["shop"]["instances"][answer.instance()];
        assert_eq!((&now["state"], &now["ejections"]), (&json!("up"), &json!(0)), "{now}");
    }
}
