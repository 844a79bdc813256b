//! How runs end for AI clients: paused, failed, or as JSON where a stream was asked for.

use std::net::SocketAddr;

use dify_sim::{App, Flow, Mode, Release};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::calls::{ask, content, events, messages, plan_of};
use crate::rig::{Answer, Rig, post, request};

async fn rig(release: Release, mode: Mode, flow: Flow, settings: &str) -> Rig {
    let plan = plan_of(1, move |key| App::new(mode, key).with_flow(flow));
    plan.with_difys(move |setup| setup.with_release(release)).with(settings).start().await
}

fn streamed(text: &str) -> Request<bytes::Bytes> {
    let body = json!({"model": "shop", "messages": messages(&[text]), "stream": true});
    post("/v1/chat/completions", &body)
}

/// The text of a stream, and its last event.
fn said(events: &[String]) -> (String, Value) {
    let values = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let values: Vec<_> = values.collect();
    let text = |value: &Value| value["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    (values.iter().filter_map(text).collect(), values.last().cloned().unwrap())
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_is_told_with_its_form() {
    for mode in [Mode::Workflow, Mode::AdvancedChat] {
        let rig = rig(Release::Main, mode, Flow::HumanInput, "").await;
        let answer = rig.send(ask(&["the text"])).await;
        assert_eq!(answer.status, StatusCode::OK, "{mode:?}: {answer:?}");
        let forms = answer.json()["x_dify"]["human_input"].clone();
        let token = forms[0]["form_token"].as_str().unwrap().to_owned();
        let submit = format!("POST /v1/form/human_input/{token}");
        assert!(content(&answer).contains("[comment]"), "{mode:?}: {answer:?}");
        assert!(content(&answer).contains(&submit), "{mode:?}: {answer:?}");
        let events = events(&rig.send(streamed("the text")).await);
        let (text, last) = said(&events);
        assert!(text.contains("[comment]") && text.contains("/v1/form/human_input/"), "{text}");
        assert_eq!(last["choices"][0]["finish_reason"], "stop", "{mode:?}");
        assert_eq!(last["x_dify"]["human_input"].as_array().unwrap().len(), 1, "{mode:?}");
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
        let message = json!({"model": "shop", "max_tokens": 9, "messages": messages(&["hi"])});
        let answer = rig.send(post("/v1/messages", &message)).await;
        assert!(answer.json()["x_dify"]["human_input"][0]["form_token"].is_string(), "{answer:?}");
        // Whoever was told can submit it through the gateway.
        let form = format!("/v1/form/human_input/{token}");
        let filled = json!({"action": "approve", "inputs": {"comment": "ok"}, "user": "alice"});
        let answer = rig.send(post(&form, &filled)).await;
        assert_eq!(answer.status, StatusCode::OK, "{mode:?}: {answer:?}");
        let again = rig.send(request("GET", &form).body("").unwrap()).await;
        assert_eq!(again.status, StatusCode::PRECONDITION_FAILED, "{mode:?}: {again:?}");
    }
}

#[tokio::test]
async fn a_form_is_told_with_a_link_to_its_page() {
    let plan = || {
        let plan = plan_of(1, |key| App::new(Mode::AdvancedChat, key).with_flow(Flow::HumanInput));
        plan.with_difys(|setup| setup.with_release(Release::V1_14))
    };
    let link = |answer: &Answer| {
        let form = answer.json()["x_dify"]["human_input"][0].clone();
        let [url, token] = ["form_url", "form_token"].map(|name| form[name].as_str().unwrap());
        assert!(content(answer).contains(&format!("Fill it in at {url}\n")), "{answer:?}");
        url.strip_suffix(token).unwrap().to_owned()
    };
    // It leads to the gateway, where the client has found it.
    let rig = plan().start().await;
    let mut asked = ask(&["the text"]);
    asked.headers_mut().insert("host", "ai.example.org:8080".parse().unwrap());
    assert_eq!(link(&rig.send(asked).await), "http://ai.example.org:8080/form/");
    // Or to the web app of the instance that has it.
    let web_url = ", web_url: \"https://dify.example.org/\"";
    let rig = plan().with_instances(web_url).start().await;
    assert_eq!(link(&rig.send(ask(&["the text"])).await), "https://dify.example.org/form/");
    let (text, _) = said(&events(&rig.send(streamed("the text")).await));
    assert!(text.contains("Fill it in at https://dify.example.org/form/"), "{text}");
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_may_be_an_error() {
    let settings = "ai: { human_input: error }";
    let rig = rig(Release::V1_14, Mode::AdvancedChat, Flow::HumanInput, settings).await;
    for request in [ask(&["hi"]), streamed("hi")] {
        let answer = rig.send(request).await;
        let text = answer.text();
        assert!(text.contains("human_input_required"), "{answer:?}");
        assert!(!text.contains("/v1/form/human_input"), "{answer:?}");
    }
    assert_eq!(rig.send(ask(&["hi"])).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_failed_flow_says_why_to_client_and_log() {
    for release in [Release::V1_5, Release::V1_14] {
        for mode in [Mode::AdvancedChat, Mode::Workflow] {
            let rig = rig(release, mode, Flow::Failing, "").await;
            let beside = rig.beside().await;
            let answer = beside.send(ask(&["hello"])).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{release} {mode:?}: {answer:?}");
            let error = answer.json()["error"].clone();
            assert_eq!(error["code"], "upstream_run_failed", "{release} {mode:?}: {error}");
            let message = error["message"].as_str().unwrap().to_owned();
            let (_, why) = message.split_once("failed: ").unwrap();
            assert!(why.len() > 5, "{message}");
            let streamed = beside.send(streamed("hello")).await.text();
            assert!(streamed.contains("upstream_run_failed"), "{release} {mode:?}: {streamed}");
            assert!(!streamed.contains("[DONE]"), "{release} {mode:?}: {streamed}");
            let logged = beside.logged().await;
            assert!(logged.len() >= 2, "{logged:?}");
            for line in logged {
                let detail = line["detail"].as_str().unwrap_or_default();
                assert!(detail.contains(why), "{release} {mode:?}: {why}: {line}");
            }
        }
    }
}

/// What answers everything with this JSON, as something before Dify that gathers streams would.
async fn gatherer(body: String) -> (tokio::task::JoinHandle<()>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let task = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let answer = head.clone() + &body;
            tokio::spawn(async move {
                let mut request = [0; 8192];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
                // Until the other side has read it.
                while socket.read(&mut request).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    (task, addr)
}

#[tokio::test]
async fn plain_json_is_an_answer_where_a_stream_was_asked_for() {
    // The app's mode and form, and its answer, in one.
    let chat = json!({"mode": "chat", "user_input_form": [], "event": "message",
        "message_id": "m-1", "conversation_id": "11111111-2222-4333-8444-555555555555",
        "answer": "plain words", "created_at": 7,
        "metadata": {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}});
    let failed = json!({"mode": "workflow", "workflow_run_id": "r-1", "task_id": "t-1",
        "user_input_form": [{"text-input": {"variable": "q", "label": "q", "required": true}}],
        "data": {"id": "r-1", "status": "failed", "error": "no sandbox", "outputs": {}}});
    for (body, words) in [(chat, "plain words"), (failed, "no sandbox")] {
        let (task, addr) = gatherer(body.to_string()).await;
        let rig = Rig::start(1).await;
        let text = std::fs::read_to_string(&rig.config_path).unwrap();
        let text = text.replace(&rig.difys[0].url(), &format!("http://{addr}"));
        std::fs::write(&rig.config_path, text + "probe: { enabled: false }\n").unwrap();
        rig.gateway.reloader().reload().await.unwrap();
        let answer = rig.send(ask(&["hi"])).await;
        assert!(answer.text().contains(words), "{answer:?}");
        let is_answer = words == "plain words";
        assert_eq!(answer.status == StatusCode::OK, is_answer, "{answer:?}");
        let streamed = rig.send(streamed("hi")).await.text();
        assert!(streamed.contains(words), "{streamed}");
        assert_eq!(streamed.ends_with("data: [DONE]\n\n"), is_answer, "{streamed}");
        task.abort();
    }
}
