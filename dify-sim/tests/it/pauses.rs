//! Runs that wait for a human: the form, its submission, and the rest of the run.

use crate::{ask, events, get, newer, post};
use dify_sim::{App, Dify, Flow, Mode, Release};
use serde_json::{Value, json};

async fn paused() -> (Dify, String, String) {
    let app = App::new(Mode::Workflow, "human").with_flow(Flow::HumanInput);
    let dify = Dify::start(newer(Release::Main).with_app(app)).await.unwrap();
    let body = json!({"inputs": {"query": "hello"}, "response_mode": "streaming", "user": "alice"});
    let run = ask(&dify, &post("/v1/workflows/run", "human", &body)).await;
    assert!(run.complete);
    let seen = events(&run);
    let paused = seen.last().unwrap();
    assert_eq!(paused["event"], "workflow_paused");
    let asked = seen.iter().find(|event| event["event"] == "human_input_required").unwrap();
    let token = asked["data"]["form_token"].as_str().unwrap().to_owned();
    let run = paused["workflow_run_id"].as_str().unwrap().to_owned();
    (dify, run, token)
}

#[tokio::test]
async fn a_filled_form_lets_the_run_go_on() {
    let (dify, run, token) = paused().await;
    let path = format!("/v1/form/human_input/{token}");
    let form = ask(&dify, &get(&path, "human")).await;
    let form: Value = serde_json::from_slice(&form.body).unwrap();
    let action = form["user_actions"][0]["id"].clone();
    let filled = json!({"inputs": {"comment": "well"}, "action": action, "user": "alice"});
    let submitted = ask(&dify, &post(&path, "human", &filled)).await;
    assert!(submitted.head.starts_with("HTTP/1.1 200"), "{}", submitted.head);
    let path_of_events = format!("/v1/workflow/{run}/events?user=alice");
    let rest = ask(&dify, &get(&path_of_events, "human")).await;
    let seen = events(&rest);
    assert_eq!(seen.last().unwrap()["event"], "workflow_finished");
    assert_eq!(seen.last().unwrap()["data"]["outputs"]["comment"], "well");
    let again = ask(&dify, &post(&path, "human", &filled)).await;
    assert!(again.head.starts_with("HTTP/1.1 412"), "{}", again.head);
}

#[tokio::test]
async fn a_form_is_known_to_its_own_app_alone() {
    let (dify, _, token) = paused().await;
    let path = format!("/v1/form/human_input/{token}");
    for (key, path) in [("workflow", path.as_str()), ("human", "/v1/form/human_input/nobodys")] {
        let answer = ask(&dify, &get(path, key)).await;
        assert!(answer.head.starts_with("HTTP/1.1 404"), "{key} {path}: {}", answer.head);
    }
}
