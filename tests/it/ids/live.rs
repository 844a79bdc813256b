//! The same ids over whole lives, in front of simulated Difys of several versions.

use std::cell::Cell;

use dify_sim::{App, Dify, Flow, Mode, Release};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Answer, Plan, Rig, requests, send, upload};

/// Three Difys of a release, whose workflow waits for a person and is a server of tools.
async fn rig(release: Release) -> Rig {
    let number = Cell::new(0);
    let plan = Plan::new(3).without_probes().with_instances(", dataset_token: dataset-key");
    let plan = plan.with_difys(|setup| {
        number.set(number.get() + 1);
        let flow = App::new(Mode::Workflow, format!("app-flow-{}", number.get()));
        let flow = flow.with_mcp(format!("code{}", number.get()), "tools");
        let flow = if release >= Release::V1_14 { flow.with_flow(Flow::HumanInput) } else { flow };
        setup
            .with_release(release)
            .with_app(flow)
            .with_dataset_key("dataset-key")
            .with_files_url("")
    });
    plan.start().await
}

fn request(line: &str, token: Option<&str>, body: &Value) -> Request<String> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_null() {
        return request.body(String::new()).unwrap();
    }
    request.header("content-type", "application/json").body(body.to_string()).unwrap()
}

async fn flow(rig: &Rig, line: &str, body: Value) -> Answer {
    rig.send(request(line, Some("usertoken--flow"), &body)).await
}

/// How many Difys were asked anything since.
fn asked(rig: &Rig) -> usize {
    let asked = rig.difys.iter().filter(|dify| !requests(dify).is_empty()).count();
    rig.difys.iter().for_each(Dify::clear_served);
    asked
}

#[tokio::test]
async fn a_run_waits_for_a_person_and_goes_on() {
    for release in [Release::V1_14, Release::Main] {
        let rig = rig(release).await;
        for user in ["alice", "bob", "carol"] {
            let body =
                json!({ "inputs": { "query": "x" }, "response_mode": "streaming", "user": user });
            let run = flow(&rig, "POST /v1/workflows/run", body).await;
            let (owner, text) = (run.instance(), run.text());
            let value = |key: &str| {
                let rest =
                    text.split(&format!("\"{key}\":\"")).nth(1).unwrap_or_else(|| panic!("{text}"));
                rest.split('"').next().unwrap().to_owned()
            };
            let form = format!("/v1/form/human_input/{}", value("form_token"));
            let events = format!("/v1/workflow/{}/events?user={user}", value("workflow_run_id"));
            asked(&rig);
            let answer = flow(&rig, &format!("GET {form}"), Value::Null).await;
            assert_eq!((answer.status, answer.instance()), (StatusCode::OK, owner.clone()));
            let body = json!({
                "action": "approve", "inputs": { "comment": "fine" }, "user": "somebody",
            });
            let answer = flow(&rig, &format!("POST {form}"), body.clone()).await;
            assert_eq!((answer.status, answer.instance()), (StatusCode::OK, owner.clone()));
            let answer = flow(&rig, &format!("GET {events}"), Value::Null).await;
            assert!(answer.text().contains("workflow_finished"), "{answer:?}");
            assert_eq!(answer.instance(), owner);
            assert_eq!(asked(&rig), 1, "nobody but {owner}");
            // Another gateway finds all of it, and 412 is the owner's word.
            let other = rig.beside().await;
            let line = format!("POST {form}");
            let again = send(other.addr(), request(&line, Some("usertoken--flow"), &body)).await;
            assert_eq!(again.status, StatusCode::PRECONDITION_FAILED, "{again:?}");
            let line = format!("GET {events}");
            let again = request(&line, Some("usertoken--flow"), &Value::Null);
            assert_eq!(send(other.addr(), again).await.instance(), owner);
        }
    }
}

#[tokio::test]
async fn the_link_of_an_upload_is_followed_without_a_key() {
    for release in [Release::V1_12, Release::V1_14, Release::Main] {
        let rig = rig(release).await;
        for user in ["alice", "bob", "carol"] {
            let parts: [(&str, Option<&str>, &[u8]); 2] =
                [("file", Some("a.txt"), b"the text"), ("user", None, user.as_bytes())];
            let uploaded = rig.send(upload(&parts)).await;
            let (owner, uploaded) = (uploaded.instance(), uploaded.json());
            let link = uploaded["source_url"].as_str().unwrap_or_else(|| panic!("{uploaded}"));
            assert!(link.starts_with("/files/"), "{link}");
            asked(&rig);
            for addr in [rig.addr(), rig.beside().await.addr()] {
                for method in ["GET", "HEAD"] {
                    let line = format!("{method} {link}");
                    let answer = send(addr, request(&line, None, &Value::Null)).await;
                    assert_eq!((answer.status, answer.instance()), (StatusCode::OK, owner.clone()));
                    let text = if method == "GET" { "the text" } else { "" };
                    assert_eq!(answer.text(), text);
                }
                let user = uploaded["created_by"].as_str().unwrap();
                let line = format!("GET /v1/end-users/{user}");
                let answer =
                    send(addr, request(&line, Some("usertoken--shop"), &Value::Null)).await;
                assert_eq!((answer.status, answer.instance()), (StatusCode::OK, owner.clone()));
            }
        }
    }
}

#[tokio::test]
async fn each_code_is_the_server_of_tools_of_its_dify() {
    for release in [Release::V1_12, Release::Main] {
        let rig = rig(release).await;
        for round in 0..2 {
            for number in 1..=3 {
                let line = format!("POST /mcp/server/code{number}/mcp");
                let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
                let answer = rig.send(request(&line, None, &body)).await;
                assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                assert_eq!(answer.instance(), format!("dify{number}"));
                if round > 0 {
                    assert_eq!(asked(&rig), 1, "it is known");
                }
            }
            asked(&rig);
        }
    }
}

#[tokio::test]
async fn a_dataset_lives_on_one_dify() {
    for release in [Release::V1_12, Release::Main] {
        let rig = rig(release).await;
        let body = json!({ "name": "words", "indexing_technique": "economy" });
        let made = flow(&rig, "POST /v1/datasets", body).await;
        let (owner, made) = (made.instance(), made.json());
        let dataset = format!("/v1/datasets/{}", made["id"].as_str().unwrap());
        let text = json!({
            "name": "one", "text": "a text", "indexing_technique": "economy",
            "process_rule": { "mode": "automatic" },
        });
        asked(&rig);
        let line = format!("POST {dataset}/document/create_by_text");
        let document = flow(&rig, &line, text.clone()).await;
        assert_eq!((document.status, document.instance()), (StatusCode::OK, owner.clone()));
        let id = document.json()["document"]["id"].as_str().unwrap().to_owned();
        for path in ["", "/documents", &format!("/documents/{id}")] {
            let answer = flow(&rig, &format!("GET {dataset}{path}"), Value::Null).await;
            assert_eq!(
                (answer.status, answer.instance()),
                (StatusCode::OK, owner.clone()),
                "{path}"
            );
        }
        assert_eq!(asked(&rig), 1);
        // A gateway that does not know it asks, and only then sends what changes it.
        for line in [line, format!("DELETE {dataset}/documents/{id}"), format!("DELETE {dataset}")]
        {
            let other = rig.beside().await;
            asked(&rig);
            let body = if line.starts_with("POST") { text.clone() } else { Value::Null };
            let request = request(&line, Some("usertoken--flow"), &body);
            let answer = send(other.addr(), request).await;
            assert!(answer.status.is_success(), "{line}: {answer:?}");
            assert_eq!(answer.instance(), owner);
            for (number, dify) in (1..).zip(&rig.difys) {
                let changes = requests(dify).iter().filter(|asked| asked.method != "GET").count();
                assert_eq!(changes, usize::from(owner == format!("dify{number}")), "{line}");
            }
        }
    }
}
