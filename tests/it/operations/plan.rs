//! `difygate plan`: against a running gateway and against a file.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::rig::process::{command, text};
use crate::rig::{Plan, Rig, configuration, open, send, stream};

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// A file beside the rig's.
fn write(rig: &Rig, text: &str) -> PathBuf {
    let path = rig.config_path.with_file_name("new.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

fn current(rig: &Rig) -> String {
    std::fs::read_to_string(&rig.config_path).unwrap()
}

async fn planned(rig: &Rig, new: &Path, more: &[&str]) -> Output {
    let admin = format!("http://{}", rig.gateway.admin());
    let new = new.to_str().unwrap();
    command(&[&["plan", new, "--admin", &admin], more].concat()).await
}

#[tokio::test]
async fn the_running_configuration_changes_nothing() {
    let rig = Rig::start(2).await;
    let output = planned(&rig, &rig.config_path, &["--max-moved", "0"]).await;
    let said = text(&output.stdout);
    assert_eq!(code(&output), Some(0), "{output:?}");
    assert!(said.ends_with("\n\nNothing changes.\n"), "{said}");
}

#[tokio::test]
async fn it_says_who_moves_what_drains_and_what_needs_a_restart() {
    let rig = Plan::new(3).start().await;
    let answer = open(rig.addr(), stream("alice", 2000, 0.02)).await.unwrap();
    let home = answer.headers()["x-difygate-instance"].to_str().unwrap().to_owned();
    let gone = format!("{}\", token: app-shop", rig.dify(&home).url());
    let text_: String = current(&rig)
        .lines()
        .filter(|line| !line.contains(&gone))
        .flat_map(|l| [l, "\n"])
        .collect();
    let new = text_
        .replace("[usertoken--flow]", "[usertoken--other]")
        .replace("token: app-flow-1", "token: app-secret-9, weight: 2");
    let new = write(&rig, &format!("workers: 9\ntimeouts: {{ idle: 60s }}\n{new}"));
    let output = planned(&rig, &new, &["--json", "--max-moved", "10%"]).await;
    let said = text(&output.stdout);
    for secret in ["usertoken--", "app-flow", "app-shop", "app-secret"] {
        assert!(!said.contains(secret), "{said}");
    }
    let report: Value = serde_json::from_str(&said).unwrap();
    let changes = &report["changes"];
    assert_eq!(changes["needs_restart"], json!(["workers"]));
    let shop = &changes["apps"][0];
    assert_eq!(shop["instances"].as_array().unwrap().len(), 1);
    assert_eq!(shop["instances"][0]["instance"], home);
    assert_eq!(shop["instances"][0]["fate"], "removed");
    assert_eq!(shop["instances"][0]["draining"], 1);
    let moved =
        shop["moves"]["moved"].as_f64().unwrap() / shop["moves"]["sample"].as_f64().unwrap();
    assert!((0.2..0.5).contains(&moved), "{shop}");
    assert!(shop["moves"]["between"].as_array().unwrap().iter().all(|way| way["from"] == home));
    let flow = &changes["apps"][1];
    assert_eq!(flow["settings"], json!([{ "key": "user_tokens", "from": "***", "to": "***" }]));
    let keys: Vec<_> = flow["instances"][0]["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["token", "weight"]);
    assert_eq!(code(&output), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("of the users of shop would lose their instance"), "{complaint}");

    // As text, against the file that runs, which knows nothing of what is under way.
    let files = [new.to_str().unwrap(), rig.config_path.to_str().unwrap()];
    let output = command(&["plan", files[0], "--from", files[1]]).await;
    assert_eq!(code(&output), Some(0));
    let said = text(&output.stdout);
    for line in [
        "~ app shop",
        "token: changed",
        "user_tokens: changed",
        "weight: 1 -> 2",
        "timeouts.idle: 1h -> 1m",
        "Only after a restart: workers",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("under way"), "{said}");
}

#[tokio::test]
async fn a_wrong_configuration_or_no_gateway_is_said() {
    let rig = Rig::start(1).await;
    let wrong = write(&rig, &current(&rig).replace("instances:", "instnaces:"));
    let output = planned(&rig, &wrong, &[]).await;
    assert_eq!(code(&output), Some(2));
    assert!(text(&output.stderr).contains("instnaces"), "{output:?}");
    // Port 1 is nobody's.
    let good = rig.config_path.to_str().unwrap();
    let output = command(&["plan", good, "--admin", "127.0.0.1:1"]).await;
    assert_eq!(code(&output), Some(3));
    assert!(text(&output.stderr).contains("`--from CURRENT`"), "{output:?}");
    let output = command(&["plan", good, "--from", "/nowhere.yaml"]).await;
    assert_eq!(code(&output), Some(2));
    for share in ["-1", "101%", "many"] {
        let output = command(&["plan", good, "--max-moved", share]).await;
        assert_eq!(code(&output), Some(2), "{share}");
    }
}

#[tokio::test]
async fn a_gateway_tells_its_shape_to_operators_and_marks_only_what_they_know() {
    let rig = Rig::start(1).await;
    let ask = |known: &[&str]| {
        let question = json!({ "salt": "x", "known": known }).to_string();
        http::Request::post("/shape").header("content-type", "application/json").body(question)
    };
    let answer = send(rig.gateway.admin(), ask(&[]).unwrap()).await;
    let token = &answer.json()["shape"]["apps"]["shop"]["instances"]["dify1"]["token"];
    assert_eq!(*token, json!({ "secret": null }), "{answer:?}");
    assert!(!answer.text().contains("app-shop"));
    // The main listener does not know the path, and no operator, no answer.
    let answer = rig.send(ask(&[]).unwrap()).await;
    assert_eq!(answer.status, http::StatusCode::NOT_FOUND);
    let text = configuration(&rig.difys, "", "");
    let closed = "admin: { listen: 127.0.0.1:0, token: admin-secret }";
    std::fs::write(&rig.config_path, text.replace("admin: { listen: 127.0.0.1:0 }", closed))
        .unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    let answer = send(rig.gateway.admin(), ask(&[]).unwrap()).await;
    assert_eq!(answer.status, http::StatusCode::FORBIDDEN);
    // The command takes the token from the new configuration, or from its arguments.
    let output = planned(&rig, &rig.config_path, &["--admin-token", "admin-secret"]).await;
    assert_eq!(code(&output), Some(0), "{output:?}");
}
