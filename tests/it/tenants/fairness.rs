//! What one user or one app does harms neither the other users nor the other apps.

use dify_sim::Fault;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::rig::{Answer, Plan, Rig, post, request, send};

async fn instance(rig: &Rig, app: &str, name: &str) -> Value {
    rig.status().await["applications"][app]["instances"][name].clone()
}

/// Users of `shop` whose instance is that of the first of them.
async fn of_one_home(rig: &Rig, count: usize) -> (String, Vec<String>) {
    let home = rig.instance_of("alice").await;
    let mut users = vec!["alice".to_owned()];
    for number in 0.. {
        if users.len() == count {
            break;
        }
        let user = format!("user-{number}");
        if rig.instance_of(&user).await == home {
            users.push(user);
        }
    }
    (home, users)
}

/// A run of the other app.
async fn flow(rig: &Rig, user: &str) -> Answer {
    let inputs = json!({ "text": "hello" });
    let body = json!({ "inputs": inputs, "response_mode": "blocking", "user": user });
    let request =
        Request::post("/v1/workflows/run").header("authorization", "Bearer usertoken--flow");
    let request = request.header("content-type", "application/json");
    rig.send(request.body(body.to_string()).unwrap()).await
}

/// A user of the other app whose instance is `home`.
async fn flow_user(rig: &Rig, home: &str) -> String {
    for number in 0.. {
        let user = format!("flow-{number}");
        let answer = flow(rig, &user).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        if answer.instance() == home {
            return user;
        }
    }
    unreachable!()
}

async fn metrics(rig: &Rig) -> String {
    send(rig.gateway.admin(), Request::get("/metrics").body("").unwrap()).await.text()
}

#[tokio::test]
async fn what_one_user_alone_breaks_takes_nothing_from_the_others() {
    let rig = Plan::new(2).with("last_resort: refuse").start().await;
    let (home, users) = of_one_home(&rig, 2).await;
    let other_app = flow_user(&rig, &home).await;
    // Others have just succeeded there.
    rig.dify(&home).set_fault(Fault::RunStatus(500)).await.unwrap();
    for _ in 0..5 {
        assert_eq!(rig.chat("alice").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    rig.dify(&home).set_fault(Fault::None).await.unwrap();
    for app in ["shop", "flow"] {
        let instance = instance(&rig, app, &home).await;
        assert_eq!((&instance["state"], &instance["ejections"]), (&json!("up"), &json!(0)));
    }
    assert_eq!(rig.instance_of(&users[1]).await, home);
    assert_eq!(rig.instance_of("alice").await, home);
    assert_eq!(flow(&rig, &other_app).await.instance(), home);
}

#[tokio::test]
async fn who_fails_with_nobody_else_around_goes_elsewhere_alone() {
    let rig = Plan::new(2).start().await;
    let home = rig.instance_of("alice").await;
    rig.dify(&home).set_fault(Fault::RunStatus(500)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(rig.chat("alice").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_ne!(rig.instance_of("alice").await, home);
    let shown = instance(&rig, "shop", &home).await;
    assert_eq!((&shown["state"], &shown["ejections"]), (&json!("up"), &json!(0)), "{shown}");
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.starts_with("one user's requests fail there and go elsewhere"), "{reason}");
    // Somebody else succeeds: it was not the instance's fault.
    rig.dify(&home).set_fault(Fault::None).await.unwrap();
    let mut others = (0..).map(|number| format!("user-{number}"));
    while rig.instance_of(&others.next().unwrap()).await != home {}
    assert_eq!(rig.instance_of("alice").await, home);
    assert_eq!(instance(&rig, "shop", &home).await["reason"], Value::Null);
}

#[tokio::test]
async fn what_fails_for_many_users_of_an_app_is_out_for_that_app_alone() {
    let rig = Plan::new(2).start().await;
    let (home, users) = of_one_home(&rig, 3).await;
    let other_app = flow_user(&rig, &home).await;
    rig.dify(&home).set_fault(Fault::RunStatus(500)).await.unwrap();
    for user in &users {
        assert_eq!(rig.chat(user).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    rig.dify(&home).set_fault(Fault::None).await.unwrap();
    let out = instance(&rig, "shop", &home).await;
    assert_eq!((&out["state"], &out["ejections"]), (&json!("ejected"), &json!(1)), "{out}");
    let reason = out["reason"].as_str().unwrap();
    assert!(reason.starts_with("for this app alone: it answered 500, 3 such"), "{reason}");
    for user in &users {
        assert_ne!(rig.instance_of(user).await, home);
    }
    assert_eq!(flow(&rig, &other_app).await.instance(), home);
    let other = instance(&rig, "flow", &home).await;
    assert_eq!((&other["state"], &other["ejections"]), (&json!("up"), &json!(0)), "{other}");
    let metrics = metrics(&rig).await;
    for (app, out) in [("shop", 1), ("flow", 0)] {
        let labels = format!("{{app=\"{app}\",instance=\"{home}\"}} {out}");
        assert!(metrics.contains(&format!("difygate_instance_ejected{labels}")), "{metrics}");
        let counted = format!("difygate_instance_app_ejections_total{labels}");
        assert!(metrics.contains(&counted), "{metrics}");
    }
    let address = rig.dify(&home).addr();
    let healthy = format!("difygate_instance_healthy{{address=\"{address}\"}} 1");
    assert!(metrics.contains(&healthy), "{metrics}");
}

#[tokio::test]
async fn connections_that_break_for_one_app_alone_take_no_address_out() {
    let rig = Plan::new(2).without_probes().start().await;
    let (home, users) = of_one_home(&rig, 3).await;
    let other_app = flow_user(&rig, &home).await;
    rig.dify(&home).set_fault(Fault::CloseAfterRequest).await.unwrap();
    // Two more than `max_fails`: from the third on they count for the app alone.
    for user in users.iter().cycle().take(5) {
        assert_eq!(rig.chat(user).await.status, StatusCode::BAD_GATEWAY);
    }
    assert_ne!(rig.instance_of(&users[0]).await, home);
    let out = instance(&rig, "shop", &home).await;
    let reason = out["reason"].as_str().unwrap();
    assert!(reason.starts_with("for this app alone: "), "{out}");
    rig.dify(&home).set_fault(Fault::None).await.unwrap();
    assert_eq!(flow(&rig, &other_app).await.instance(), home);
    assert_eq!(instance(&rig, "flow", &home).await["state"], "up");
    // As soon as they break for others, too, it is the instance.
    rig.dify(&home).set_fault(Fault::CloseAfterRequest).await.unwrap();
    assert_eq!(flow(&rig, &other_app).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(instance(&rig, "flow", &home).await["state"], "ejected");
    assert_ne!(flow(&rig, &other_app).await.instance(), home);
}

#[tokio::test]
async fn made_up_ids_teach_nothing_and_push_out_nothing() {
    let rig = Plan::new(2).with("owners: { max_entries: 1000 }").start().await;
    let turn = rig.chat("alice").await.json();
    let known = async || rig.status().await["owners"]["known"].as_u64().unwrap();
    let before = known().await;
    assert!(before > 0);
    // 675 requests with 80 ids each, as many as Dify takes in a line.
    for _ in 0..27 {
        let mut asking = JoinSet::new();
        for _ in 0..25 {
            let ids = (0..80).map(|_| format!("&first_id={}", Uuid::new_v4())).collect::<String>();
            let path = format!("/v1/conversations?user=mallory{ids}");
            asking.spawn(send(rig.addr(), request("GET", &path).body("").unwrap()));
        }
        for answer in asking.join_all().await {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
    }
    assert_eq!(known().await, before);
    // What was known is known still: the turn goes to who has the conversation.
    let body = json!({ "inputs": {}, "query": "hello", "response_mode": "blocking",
                       "user": "alice", "conversation_id": turn["conversation_id"] });
    let next = rig.send(post("/v1/chat-messages", &body)).await.json();
    assert_eq!(next["conversation_id"], turn["conversation_id"]);
    assert_eq!(rig.status().await["owners"]["asked_around"], 0);
}
