//! Who is in rotation and who is not: probes, answers that count, slow start, drain.

use std::collections::BTreeMap;
use std::time::Duration;

use dify_sim::{Fault, Release};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rig::{
    Answer, Plan, Rig, chat, has_event, open, post, release, request, requests, send, stream,
};

/// An instance of `shop` in `/status`.
async fn instance(rig: &Rig, name: &str) -> Value {
    rig.status().await["applications"]["shop"]["instances"][name].clone()
}

/// Waits until an instance's status is as wanted, and gives it.
async fn until(rig: &Rig, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    let reached = timeout(Duration::from_secs(20), async {
        loop {
            seen = instance(rig, name).await;
            if is_wanted(&seen) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(reached.await.is_ok(), "{seen}");
    seen
}

async fn until_state(rig: &Rig, name: &str, state: &str) -> Value {
    until(rig, name, |instance| instance["state"] == state).await
}

/// Users whose instance is `home`.
async fn of_home(rig: &Rig, home: &str, count: usize) -> Vec<String> {
    let mut users = Vec::new();
    for number in 0.. {
        if users.len() == count {
            break;
        }
        let user = format!("at-home-{number}");
        if rig.instance_of(&user).await == home {
            users.push(user);
        }
    }
    users
}

/// The value of a line of `/metrics`.
async fn metric(rig: &Rig, line: &str) -> u64 {
    let text = metrics(rig).await;
    let value = text.lines().find_map(|text| text.strip_prefix(line));
    value.unwrap_or_else(|| panic!("{line}\n{text}")).trim().parse().unwrap()
}

async fn metrics(rig: &Rig) -> String {
    send(rig.gateway.admin(), Request::get("/metrics").body("").unwrap()).await.text()
}

/// Waits for so many more probes with this result at the first Dify.
async fn more_probes(rig: &Rig, result: &str, count: u64) {
    let address = rig.difys[0].addr();
    let line = format!("difygate_probes_total{{address=\"{address}\",result=\"{result}\"}}");
    let before = metric(rig, &line).await;
    let reached = async {
        while metric(rig, &line).await < before + count {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), reached).await.unwrap();
}

/// Changes the configuration and has it read.
async fn reload(rig: &Rig, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    std::fs::write(&rig.config_path, changed).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
}

/// Replaces something in one Dify's lines.
fn with_instance(text: &str, number: usize, settings: &str) -> String {
    ["shop", "flow"].into_iter().fold(text.to_owned(), |text, app| {
        let token = format!("token: app-{app}-{number}");
        text.replace(&token, &format!("{token}{settings}"))
    })
}

async fn homes(rig: &Rig) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for number in 0..30 {
        let user = format!("user-{number}");
        let home = rig.instance_of(&user).await;
        homes.insert(user, home);
    }
    homes
}

fn number(name: &str) -> usize {
    name.strip_prefix("dify").unwrap().parse().unwrap()
}

/// A conversation of a user, asked for by its id.
fn messages(user: &str, answer: &Answer) -> Request<&'static str> {
    let id = answer.json()["conversation_id"].as_str().unwrap().to_owned();
    request("GET", &format!("/v1/messages?conversation_id={id}&user={user}")).body("").unwrap()
}

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
