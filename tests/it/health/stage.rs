//! What tests of health look at and change.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::rig::{Answer, Rig, request, send};

/// An instance of `shop` in `/status`.
pub(super) async fn instance(rig: &Rig, name: &str) -> Value {
    rig.status().await["applications"]["shop"]["instances"][name].clone()
}

/// Waits until an instance's status is as wanted, and gives it.
pub(super) async fn until(rig: &Rig, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
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

pub(super) async fn until_state(rig: &Rig, name: &str, state: &str) -> Value {
    until(rig, name, |instance| instance["state"] == state).await
}

/// Users whose instance is `home`.
pub(super) async fn of_home(rig: &Rig, home: &str, count: usize) -> Vec<String> {
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
pub(super) async fn metric(rig: &Rig, line: &str) -> u64 {
    let text = metrics(rig).await;
    let value = text.lines().find_map(|text| text.strip_prefix(line));
    value.unwrap_or_else(|| panic!("{line}\n{text}")).trim().parse().unwrap()
}

pub(super) async fn metrics(rig: &Rig) -> String {
    send(rig.gateway.admin(), Request::get("/metrics").body("").unwrap()).await.text()
}

/// Waits for so many more probes with this result at the first Dify.
pub(super) async fn more_probes(rig: &Rig, result: &str, count: u64) {
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
pub(super) async fn reload(rig: &Rig, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    std::fs::write(&rig.config_path, changed).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
}

/// Replaces something in one Dify's lines.
pub(super) fn with_instance(text: &str, number: usize, settings: &str) -> String {
    ["shop", "flow"].into_iter().fold(text.to_owned(), |text, app| {
        let token = format!("token: app-{app}-{number}");
        text.replace(&token, &format!("{token}{settings}"))
    })
}

pub(super) async fn homes(rig: &Rig) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for number in 0..30 {
        let user = format!("user-{number}");
        let home = rig.instance_of(&user).await;
        homes.insert(user, home);
    }
    homes
}

pub(super) fn number(name: &str) -> usize {
    name.strip_prefix("dify").unwrap().parse().unwrap()
}

/// A conversation of a user, asked for by its id.
pub(super) fn messages(user: &str, answer: &Answer) -> Request<&'static str> {
    let id = answer.json()["conversation_id"].as_str().unwrap().to_owned();
    request("GET", &format!("/v1/messages?conversation_id={id}&user={user}")).body("").unwrap()
}
