//! `difygate explain` and `POST /explain`: the same instance as requests get, and why.

use std::time::Duration;

use dify_sim::Fault;
use difygate::affinity::{AppTag, Durability, now_s};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::rig::process::{command, text};
use crate::rig::{Answer, Plan, Rig, TOKEN, configuration, open, send, stream};

async fn ask(rig: &Rig, question: &Value) -> Answer {
    let request = Request::post("/explain").header("content-type", "application/json");
    send(rig.gateway.admin(), request.body(question.to_string()).unwrap()).await
}

async fn explained(rig: &Rig, user: &str) -> Value {
    let answer = ask(rig, &json!({ "token": TOKEN, "user": user })).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

fn names(explanation: &Value) -> Vec<&str> {
    let instances = explanation["instances"].as_array().unwrap();
    instances.iter().map(|instance| instance["name"].as_str().unwrap()).collect()
}

fn asked(explanation: &Value) -> Vec<&str> {
    explanation["asked"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_names_the_instance_that_requests_get_and_those_after_it() {
    for settings in ["", "method: rendezvous", "consistent_hash: { hash_algorithm: xxh3 }"] {
        let rig = Plan::new(3).with(settings).start().await;
        let mut first = Vec::new();
        for user in 0..8 {
            let user = format!("user-{user}");
            let explanation = explained(&rig, &user).await;
            assert_eq!(explanation["key"], format!("shop:{user}"));
            assert_eq!(asked(&explanation), names(&explanation));
            assert_eq!(asked(&explanation).len(), 3);
            assert_eq!(rig.instance_of(&user).await, asked(&explanation)[0], "{settings}");
            first.push((user, explanation));
        }
        // With an instance out its users get the second that was named for them; the order stays.
        rig.refuse("dify1").await;
        for (user, before) in first.iter().chain(&first) {
            assert_eq!(rig.chat(user).await.status, StatusCode::OK);
            let now = explained(&rig, user).await;
            assert_eq!(names(&now), names(before));
        }
        while rig.status().await["applications"]["shop"]["instances"]["dify1"]["status"]
            == "healthy"
        {
            let (user, _) = first.iter().find(|(_, e)| names(e)[0] == "dify1").unwrap();
            rig.chat(user).await;
        }
        for (user, before) in &first {
            let now = explained(&rig, user).await;
            let expected: Vec<_> =
                names(before).into_iter().filter(|name| *name != "dify1").collect();
            assert_eq!(asked(&now), expected);
            assert_eq!(rig.instance_of(user).await, expected[0]);
            let out = now["instances"].as_array().unwrap().iter().find(|i| i["name"] == "dify1");
            let out = out.unwrap();
            let why = out["passed_over"].as_str().unwrap();
            assert!(["down", "ejected"].contains(&why) && out["status"] == "unhealthy", "{out}");
            assert!(out["reason"].as_str().unwrap().contains("refused"), "{out}");
        }
        let served = rig.served();
        explained(&rig, &first[0].0).await;
        assert_eq!(rig.served(), served, "nothing is sent to explain");
    }
}

#[tokio::test]
async fn an_instance_that_drains_is_passed_over_and_still_first() {
    let rig = Rig::start(2).await;
    let home = rig.instance_of("alice").await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let drains = text.replace(&format!("name: {home},"), &format!("name: {home}, drain: true,"));
    std::fs::write(&rig.config_path, drains).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    let explanation = explained(&rig, "alice").await;
    assert_eq!(names(&explanation)[0], home);
    assert_eq!(explanation["instances"][0]["passed_over"], "draining");
    assert_eq!(asked(&explanation), [rig.instance_of("alice").await]);
}

#[tokio::test]
async fn all_out_are_tried_anyway_or_refused() {
    for (settings, last_resort) in [("last_resort: refuse", "refuse"), ("", "try")] {
        let rig = Plan::new(2).with(settings).start().await;
        for dify in &rig.difys {
            dify.set_fault(Fault::Refused).await.unwrap();
        }
        let unhealthy = async || {
            let instances = rig.status().await["applications"]["shop"]["instances"].clone();
            instances.as_object().unwrap().values().all(|i| i["status"] == "unhealthy")
        };
        while !unhealthy().await {
            rig.chat("alice").await;
        }
        let explanation = explained(&rig, "alice").await;
        assert_eq!(explanation["last_resort"], last_resort);
        assert_eq!(asked(&explanation).len(), if last_resort == "try" { 2 } else { 0 });
    }
}

#[tokio::test]
async fn what_is_asked_must_name_an_app_and_no_answer_holds_the_token() {
    let rig = Rig::start(1).await;
    let text = configuration(&rig.difys, "", "").replace("usertoken--flow", "usertoken--shop");
    std::fs::write(&rig.config_path, text).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    for (question, message) in [
        (json!({ "user": "alice" }), "give a user token or an app"),
        (json!({ "token": "usertoken--wrong" }), "no app has this user token"),
        (json!({ "app": "none" }), "there is no app `none`"),
        (json!({ "token": TOKEN }), "this user token opens shop, flow: name one of them"),
        (
            json!({ "token": TOKEN, "app": "x" }),
            "this user token opens shop, flow, and not the app that is named",
        ),
    ] {
        let answer = ask(&rig, &question).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{question}");
        assert_eq!(answer.json()["message"], message);
        assert!(!answer.text().contains("usertoken--"), "{answer:?}");
    }
    let one = ask(&rig, &json!({ "token": TOKEN, "app": "flow", "user": "alice" })).await;
    assert_eq!(one.json()["key"], "flow:alice");
    let question = Request::post("/explain").header("content-type", "application/json");
    let answer = rig.send(question.body(json!({ "app": "shop" }).to_string()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "the main listener does not know it");
}

#[tokio::test]
async fn methods_without_a_user_say_so_and_ip_hash_wants_an_address() {
    let rig = Plan::new(2).with("method: ip_hash").start().await;
    assert_eq!(ask(&rig, &json!({ "app": "shop", "user": "alice" })).await.status.as_u16(), 400);
    let here = json!({ "app": "shop", "user": "alice", "address": "127.0.0.1" });
    let explanation = ask(&rig, &here).await.json();
    assert_eq!(explanation["key"], "shop:127.0.0.1");
    assert_eq!(rig.instance_of("bob").await, asked(&explanation)[0]);
    for method in ["weighted_round_robin", "least_connections"] {
        let rig = Plan::new(2).with(&format!("method: {method}")).start().await;
        let explanation = explained(&rig, "alice").await;
        assert_eq!(
            (&explanation["key"], &explanation["when_full"]),
            (&json!(null), &json!("goes_on"))
        );
        assert_eq!((asked(&explanation).len(), names(&explanation).len()), (2, 2));
    }
}

#[tokio::test]
async fn a_loaded_instance_is_passed_over_by_new_work_and_not_by_a_conversation() {
    let rig = Plan::new(2).with("max_load: 1").start().await;
    let home = rig.instance_of("alice").await;
    let _running = open(rig.addr(), stream("alice", 2000, 0.02)).await.unwrap();
    while rig.status().await["applications"]["shop"]["instances"][&home]["in_flight"] != 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let free = explained(&rig, "alice").await;
    assert_eq!((names(&free)[0], asked(&free)[0] != home), (home.as_str(), true), "{free}");
    assert_eq!(free["instances"][0]["above_max_load"], true);
    let question = json!({ "app": "shop", "user": "alice", "conversation": "0b799e6d-9af7-4a5f-9f9a-2a5a2e4c1f4a" });
    let tied = ask(&rig, &question).await.json();
    assert_eq!((asked(&tied)[0], &tied["when_full"]), (home.as_str(), &json!("waits")));
    assert_eq!(tied["owner"], json!(null));
    // Who has it, once that has been learned.
    let id = "0b799e6d-9af7-4a5f-9f9a-2a5a2e4c1f4a".parse().unwrap();
    rig.gateway.shared().owners().learn_all(
        [(id, Durability::Durable)],
        &"dify2".into(),
        AppTag::default(),
        now_s(),
    );
    let tied = ask(&rig, &question).await.json();
    assert_eq!((&tied["owner"], &tied["asked"]), (&json!("dify2"), &json!(["dify2"])), "{tied}");
    // The same without a user, and all instances are listed.
    let question = json!({ "app": "shop", "conversation": question["conversation"] });
    let tied = ask(&rig, &question).await.json();
    assert_eq!((asked(&tied), names(&tied)), (vec!["dify2"], vec!["dify2", "dify1"]));
    // What is no id of Dify's ties nothing down, as in requests.
    let question = json!({ "app": "shop", "user": "alice", "conversation": "none" });
    assert_ne!(asked(&ask(&rig, &question).await.json())[0], home);
}

#[tokio::test]
async fn the_command_prints_it_for_people_and_for_scripts() {
    let rig = Rig::start(2).await;
    let admin = rig.gateway.admin().to_string();
    let file = rig.config_path.with_file_name("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let home = rig.instance_of("alice").await;
    let arguments =
        ["explain", "--user", "alice", "--token-file", file.to_str().unwrap(), "--admin", &admin];
    let output = command(&arguments).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stdout);
    assert!(
        said.starts_with(&format!("alice of shop goes to {home}.\n\nKey `shop:alice`")),
        "{said}"
    );
    assert!(said.contains(&format!("If {home} died now: GETs")), "{said}");
    let output = command(&[&arguments[..], &["--json"]].concat()).await;
    let report: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(report["asked"][0], home);
    let output = command(&["explain", "--app", "none", "--admin", &admin]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there is no app `none`"), "{output:?}");
    assert_eq!(command(&["explain", "--user", "alice"]).await.status.code(), Some(2));
}
