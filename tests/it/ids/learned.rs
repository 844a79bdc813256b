//! Ids that one instance alone knows are learned from answers and lead there. The answers are those of
//! a real Dify 1.14.2.

use http::StatusCode;
use serde_json::{Value, json};

use super::stage::{Stage, body_of, line_of, text_of};

const FORM: &str = "/v1/form/human_input/oEcgx6CHnmFM96Eoel4b4R";

fn run(user: &str, mode: &str) -> String {
    json!({ "inputs": { "query": "x" }, "response_mode": mode, "user": user }).to_string()
}

/// Runs a workflow that only `one` can until it does.
async fn run_on_one(stage: &Stage, mode: &str) {
    for number in 0..100 {
        let body = run(&format!("user-{number}"), mode);
        let answer = stage.send("POST /v1/workflows/run", &body).await;
        if answer.status == StatusCode::OK {
            stage.take();
            return;
        }
    }
    panic!("all users are on `two`");
}

/// The lines that `two` was asked, after a request that `one` alone can answer was sent four times.
async fn sent_four_times(stage: &Stage, line: &str, body: &str) -> usize {
    stage.take();
    for _ in 0..4 {
        let answer = stage.send(line, body).await;
        assert!(answer.status.is_success(), "{line}: {answer:?}");
        assert_eq!(answer.instance(), "dify1", "{line}");
    }
    let (one, two) = stage.take();
    assert_eq!(one.len(), 4, "{line}");
    two.len()
}

#[tokio::test]
async fn a_form_leads_to_the_run_that_waits_for_it() {
    let mut stage = Stage::start(
        &["human-workflow-stream-paused", "human-form-get", "human-form-post-ok"],
        &["human-form-get-other-instance", "human-form-post-other-instance"],
        "",
    )
    .await;
    run_on_one(&stage, "streaming").await;
    assert_eq!(sent_four_times(&stage, &format!("GET {FORM}"), "").await, 0);
    let body = json!({ "action": "approve", "inputs": {}, "user": "somebody else" }).to_string();
    assert_eq!(sent_four_times(&stage, &format!("POST {FORM}"), &body).await, 0);
    // Without the run it is asked around for, and known from then on.
    stage.forget().await;
    assert!(sent_four_times(&stage, &format!("GET {FORM}"), "").await <= 1);
    assert_eq!(sent_four_times(&stage, &format!("GET {FORM}"), "").await, 0);
    assert_eq!(sent_four_times(&stage, &format!("POST {FORM}"), &body).await, 0);
}

#[tokio::test]
async fn a_blocking_run_and_the_events_of_an_earlier_one_tell_their_forms_too() {
    let events = line_of("human-events-paused-snapshot");
    let told = text_of("human-events-paused-snapshot");
    let token = told.split("\"form_token\":\"").nth(1).unwrap().split('"').next().unwrap();
    let forms = [
        "GET /v1/form/human_input/hh3aTXVDeO9gX1hvSxQ5sN".to_owned(),
        format!("GET /v1/form/human_input/{token}"),
    ];
    let here = forms.each_ref().map(|line| format!("{line} = human-form-get"));
    let elsewhere = forms.each_ref().map(|line| format!("{line} = human-form-get-other-instance"));
    let mut stage = Stage::start(
        &["human-workflow-blocking-paused", "human-events-paused-snapshot", &here[0], &here[1]],
        &[&format!("{events} = events-other-instance"), &elsewhere[0], &elsewhere[1]],
        "",
    )
    .await;
    run_on_one(&stage, "blocking").await;
    assert_eq!(sent_four_times(&stage, &forms[0], "").await, 0);
    stage.forget().await;
    let answer = stage.send(&format!("{events}?user=alice"), "").await;
    assert!(answer.text().contains(token), "{answer:?}");
    assert_eq!(sent_four_times(&stage, &forms[1], "").await, 0);
    let events = format!("{events}?user=alice");
    assert_eq!(sent_four_times(&stage, &events, "").await, 0, "its run is known");
}

#[tokio::test]
async fn annotations_and_their_jobs_stay_where_they_were_made() {
    let (first, second) = ("annotation-add-chat", "annotation-add-chatflow");
    let made = |case: &str| body_of(case)["id"].as_str().unwrap().to_owned();
    let jobs = ["annotation-enable-status-chat", "annotation-enable-status-chatflow"];
    let (gone, unknown) = ("x-annotation-put", "annotation-enable-status-unknown");
    let at = |case: &str| format!("PUT /v1/apps/annotations/{}", made(case));
    let stage = Stage::start(
        &[
            first,
            "annotation-enable-chat",
            jobs[0],
            &format!("{} = {first}", at(first)),
            &format!("{} = {gone}", at(second)),
            &format!("{} = {unknown}", line_of(jobs[1])),
        ],
        &[
            second,
            "annotation-enable-chatflow",
            jobs[1],
            &format!("{} = {second}", at(second)),
            &format!("{} = {gone}", at(first)),
            &format!("{} = {unknown}", line_of(jobs[0])),
        ],
        "",
    )
    .await;
    let new = json!({ "question": "q", "answer": "a" }).to_string();
    for (post, key, path) in [
        ("POST /v1/apps/annotations", "id", "PUT /v1/apps/annotations/"),
        (
            "POST /v1/apps/annotation-reply/enable",
            "job_id",
            "GET /v1/apps/annotation-reply/enable/status/",
        ),
    ] {
        let answer = stage.send(post, &new).await;
        assert!(answer.status.is_success(), "{answer:?}");
        let (owner, made): (_, Value) = (answer.instance(), answer.json());
        let line = format!("{path}{}", made[key].as_str().unwrap());
        stage.take();
        for _ in 0..4 {
            let answer = stage.send(&line, if key == "id" { &new } else { "" }).await;
            assert!(answer.status.is_success(), "{line}: {answer:?}");
            assert_eq!(answer.instance(), owner, "{line}");
        }
        let (one, two) = stage.take();
        assert_eq!(one.len() + two.len(), 4, "nobody else was asked: {one:?} {two:?}");
    }
}

#[tokio::test]
async fn end_users_and_versions_of_workflows_are_found_and_remembered() {
    let version = line_of("workflow-by-id-blocking");
    let stage = Stage::start(
        &["end-user-get", "workflow-by-id-blocking"],
        &["end-user-get-other-instance", "workflow-by-id-other-instance"],
        "",
    )
    .await;
    for (line, body) in
        [(line_of("end-user-get"), String::new()), (version, run("alice", "blocking"))]
    {
        assert!(sent_four_times(&stage, &line, &body).await <= 1, "{line}");
        assert_eq!(sent_four_times(&stage, &line, &body).await, 0, "{line}");
    }
    let id = "6234de66-268d-4e94-8df7-568857fb0a3c";
    let line = format!("POST /v1/workflows/{id}x/run");
    let answer = stage.send(&line, &run("alice", "blocking")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_turn_that_names_a_version_goes_where_that_is() {
    let stage = Stage::start(
        &["chat-01-blocking-first"],
        &["POST /v1/chat-messages = chat-workflow-id-unknown-stream"],
        "",
    )
    .await;
    let version = "6234de66-268d-4e94-8df7-568857fb0a3c";
    let body = json!({
        "inputs": {}, "query": "q", "response_mode": "blocking", "user": "alice",
        "workflow_id": version,
    });
    let line = "POST /v1/chat-messages";
    assert!(sent_four_times(&stage, line, &body.to_string()).await <= 1);
    assert_eq!(sent_four_times(&stage, line, &body.to_string()).await, 0);
    for number in 0..8 {
        let mut body = body.clone();
        body["user"] = format!("user-{number}").into();
        assert_eq!(stage.send(line, &body.to_string()).await.instance(), "dify1");
    }
    assert_eq!(stage.take().1, []);
}

#[tokio::test]
async fn a_file_is_shown_by_who_has_it_and_not_forgotten_while_it_is_not_shown() {
    let preview = line_of("file-preview-ok");
    let stage = Stage::start(
        &["file-preview-ok"],
        &[&format!("{preview} = file-preview-other-instance")],
        "",
    )
    .await;
    assert!(sent_four_times(&stage, &preview, "").await <= 1);
    assert_eq!(sent_four_times(&stage, &preview, "").await, 0);
    // Nobody shows a file before a message has it, but one has it all the same.
    let unused = format!("{preview} = file-preview-unused");
    let cases = ["file-upload-for-preview", &*unused, "chat-01-blocking-first"];
    let stage = Stage::start(&cases, &cases, "").await;
    let uploaded = stage.send("POST /v1/files/upload", "{\"user\": \"alice\"}").await;
    let (owner, file) = (uploaded.instance(), uploaded.json()["id"].clone());
    assert!(preview.contains(file.as_str().unwrap()), "{uploaded:?}");
    let answer = stage.send(&preview, "").await;
    assert_eq!((answer.status, answer.instance()), (StatusCode::NOT_FOUND, owner.clone()));
    for number in 0..8 {
        let body = json!({
            "inputs": {}, "query": "q", "response_mode": "blocking", "user": format!("user-{number}"),
            "files": [{ "type": "image", "transfer_method": "local_file", "upload_file_id": file }],
        });
        let answer = stage.send("POST /v1/chat-messages", &body.to_string()).await;
        assert_eq!((answer.status, answer.instance()), (StatusCode::OK, owner.clone()));
    }
}

#[tokio::test]
async fn variables_are_those_of_their_conversation() {
    let (list, put) = (line_of("conv-variables"), line_of("conv-variable-put"));
    let strange = "conv-variable-put-other-instance";
    let stage = Stage::start(
        &["conv-variables", "conv-variable-put"],
        &[&format!("{list} = {strange}"), &format!("{put} = {strange}")],
        "",
    )
    .await;
    let body = json!({ "value": "de", "user": "alice" }).to_string();
    for (line, body) in [(format!("{list}?user=alice"), ""), (put, &*body)] {
        assert!(sent_four_times(&stage, &line, body).await <= 1, "{line}");
        assert_eq!(sent_four_times(&stage, &line, body).await, 0, "{line}");
    }
}
