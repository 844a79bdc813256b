//! What comes out of the doors, for every mode of app.

use std::time::Duration;

use dify_sim::{App, Mode, RunEnd};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::calls::{ask, content, events, messages, plan_of, rig_of, runs};
use crate::rig::{Plan, Rig, open, post, request, send};

const MODES: [Mode; 6] = [
    Mode::Chat,
    Mode::AgentChat,
    Mode::AdvancedChat,
    Mode::Agent,
    Mode::Completion,
    Mode::Workflow,
];

#[tokio::test]
async fn every_mode_answers_at_once_and_in_a_stream() {
    for mode in MODES {
        let rig = rig_of(2, mode).await;
        let answer = rig.send(ask(&["hello big world"])).await;
        assert_eq!(answer.status, StatusCode::OK, "{mode:?}: {answer:?}");
        assert_eq!(content(&answer).trim_end(), "Echo: hello big world", "{mode:?}");
        let streamed = json!({"model": "shop", "messages": messages(&["hello big world"]),
            "stream": true, "stream_options": {"include_usage": true}, "user": "alice"});
        let answer = rig.send(post("/v1/chat/completions", &streamed)).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let events = events(&answer);
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{mode:?}: {events:?}");
        let chunks: Vec<Value> = events[..events.len() - 1]
            .iter()
            .map(|event| serde_json::from_str(event).unwrap())
            .collect();
        let text: String = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(text.trim_end(), "Echo: hello big world", "{mode:?}");
        assert!(chunks.last().unwrap()["usage"]["total_tokens"].as_u64().is_some(), "{mode:?}");
        for run in runs(&rig) {
            assert!(run.streamed && !run.auto_generate_name, "{mode:?}: {run:?}");
            assert!(run.user.ends_with(":alice"), "{mode:?}: {run:?}");
        }
    }
}

#[tokio::test]
async fn anthropics_client_and_responses_and_completions_are_answered() {
    let rig = Rig::start(1).await;
    let body = json!({"model": "shop", "max_tokens": 9, "messages": messages(&["hi"])});
    let answer = rig.send(post("/v1/messages", &body)).await;
    assert_eq!(answer.json()["content"][0]["text"], "Echo: hi", "{answer:?}");
    let answer = rig.send(post("/anthropic/v1/messages", &body)).await;
    assert_eq!(answer.json()["content"][0]["text"], "Echo: hi", "{answer:?}");
    let body = json!({"model": "shop", "input": "hi"});
    let answer = rig.send(post("/openai/v1/responses", &body)).await;
    assert_eq!(answer.json()["output"][0]["content"][0]["text"], "Echo: hi", "{answer:?}");
    let body = json!({"model": "shop", "prompt": "hi"});
    let answer = rig.send(post("/v1/completions", &body)).await;
    assert_eq!(answer.json()["choices"][0]["text"], "Echo: hi", "{answer:?}");
    // Dify's own path of the same name is still Dify's.
    let get = request("GET", "/v1/messages?user=alice&conversation_id=x").body("").unwrap();
    assert_eq!(rig.send(get).await.json()["code"], "invalid_param");
    let get = request("GET", "/dify/v1/info").body("").unwrap();
    assert_eq!(rig.send(get).await.json()["mode"], "chat");
}

#[tokio::test]
async fn a_key_sees_its_models_and_no_others() {
    let keys =
        "keys: [{ name: both, secret: sk-both }, { name: one, secret: sk-one, apps: [flow] }]";
    let rig = Plan::new(1).with(keys).start().await;
    let get = async |secret: &str, path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {secret}"));
        let answer = rig.send(request.body("").unwrap()).await;
        (answer.status.as_u16(), answer.json())
    };
    let ids = |list: &Value| -> Vec<String> {
        let data = list["data"].as_array().unwrap();
        data.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&get("sk-both", "/v1/models").await.1), ["shop", "flow"]);
    assert_eq!(ids(&get("sk-one", "/v1/models").await.1), ["flow"]);
    assert_eq!(get("sk-one", "/v1/models/flow").await.0, 200);
    for (secret, path, status, code) in [
        ("sk-one", "/v1/models/shop", 404, "model_not_found"),
        ("sk-both", "/v1/models/none", 404, "model_not_found"),
        ("sk-none", "/v1/models", 401, "invalid_api_key"),
        ("sk-both", "/openai/v1/embeddings", 404, "unsupported_endpoint"),
    ] {
        let (found, body) = get(secret, path).await;
        assert_eq!((found, &body["error"]["code"]), (status, &json!(code)), "{path}");
    }
    let wrong = json!({"model": "none", "max_tokens": 9, "messages": messages(&["hi"])});
    let answer = rig.send(post("/v1/messages", &wrong)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.json()["error"]["type"], "not_found_error");
}

#[tokio::test]
async fn a_run_that_fails_is_told_by_its_status_or_within_the_stream() {
    let rig = Rig::start(1).await;
    for (query, streamed) in [("error429 x", false), ("error429 x", true)] {
        let body = json!({"model": "shop", "messages": messages(&[query]), "stream": streamed});
        let answer = rig.send(post("/v1/chat/completions", &body)).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(answer.json()["error"]["type"], "server_error");
    }
    let body = json!({"model": "shop", "messages": messages(&["errmid a b c"]), "stream": true});
    let answer = rig.send(post("/v1/chat/completions", &body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let events = events(&answer);
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert!(last["error"]["message"].is_string(), "{events:?}");
    let body = json!({"model": "shop", "max_tokens": 9, "stream": true,
        "messages": messages(&["errmid a b c"])});
    let answer = rig.send(post("/v1/messages", &body)).await;
    assert!(answer.text().contains("event: error\n"), "{answer:?}");
    // What Dify says of our own key is not the client's business.
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    std::fs::write(&rig.config_path, text.replace("app-shop-1", "app-wrong")).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    let answer = rig.send(ask(&["hi"])).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], "upstream_auth");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_run_be_it_streamed_or_not() {
    let rig = Rig::start(1).await;
    for streamed in [true, false] {
        let body = json!({"model": "shop", "messages": messages(&["tokens 2000 0.05"]),
            "stream": streamed, "user": format!("alice-{streamed}")});
        let request = post("/v1/chat/completions", &body);
        if streamed {
            let mut answer = open(rig.addr(), request).await.unwrap();
            answer.body_mut().frame().await.unwrap().unwrap();
            drop(answer);
        } else {
            let asked = tokio::spawn(send(rig.addr(), request));
            until(&rig, |run| run.user.ends_with("alice-false")).await;
            asked.abort();
        }
        let stopped = |run: &dify_sim::Ran| {
            run.user.ends_with(&format!("alice-{streamed}")) && run.end == RunEnd::Stopped
        };
        until(&rig, stopped).await;
    }
}

/// Waits until a run is like this.
async fn until(rig: &Rig, like: impl Fn(&dify_sim::Ran) -> bool) {
    let found = async {
        while !runs(rig).iter().any(&like) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), found).await.unwrap();
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_and_stops_the_run() {
    let rig = Rig::start(1).await;
    let body = json!({"model": "shop", "messages": messages(&["tokens 2000 0.02"]), "stop": ["tok3"],
        "user": "alice"});
    let answer = rig.send(post("/v1/chat/completions", &body)).await;
    assert_eq!(content(&answer), "tok0 tok1 tok2 ");
    until(&rig, |run| run.end == RunEnd::Stopped).await;
    // The client goes on with what it got.
    let next = rig.send(ask(&["tokens 2000 0.02", "tok0 tok1 tok2 ", "recall"])).await;
    assert_eq!(content(&next), "Recall: tokens 2000 0.02");
}

#[tokio::test]
async fn files_are_uploaded_to_the_instance_that_answers() {
    let takes_files = |key| App::new(Mode::Chat, key).with_uploads(["image", "document"]);
    let rig = plan_of(3, takes_files).start().await;
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    for user in 0..6 {
        let content = json!([
            {"type": "text", "text": "what is it"},
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{png}")}},
            {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="}},
            {"type": "image_url", "image_url": {"url": "https://pictures.example/b.png"}},
        ]);
        let body = json!({"model": "shop", "messages": [{"role": "user", "content": content}],
            "user": format!("user-{user}")});
        let answer = rig.send(post("/v1/chat/completions", &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let text = super::calls::content(&answer);
        for part in
            ["[image ", "image/png", "[document ", "text/plain", "local_file", "b.png remote_url"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let broken = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}]);
    let body = json!({"model": "shop", "messages": [{"role": "user", "content": broken}]});
    let answer = rig.send(post("/v1/chat/completions", &body)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["param"], "messages[0].content[0].image_url.url");
}

#[tokio::test]
async fn sound_becomes_text_and_text_sound() {
    let speaking = |key| App::new(Mode::Chat, key).with_speech();
    let rig = plan_of(2, speaking).start().await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nshop\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\
        Content-Type: audio/mpeg\r\n\r\nsound\r\n--b--\r\n";
    let send = |form: &str| {
        let request = request("POST", "/v1/audio/transcriptions");
        let request = request.header("content-type", "multipart/form-data; boundary=b");
        request.body(form.to_owned()).unwrap()
    };
    let answer = rig.send(send(form)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    // Dify 1.5.0 takes no `audio/mpeg`.
    assert_eq!(answer.json()["text"], "Heard 5 bytes of audio/mp3 in a.mp3");
    let answer = rig.send(send(&form.replace("sound", &"sound".repeat(400_000)))).await;
    assert_eq!(answer.json()["text"], "Heard 2000000 bytes of audio/mp3 in a.mp3");
    let answer = rig.send(send(&form.replace("\"file\"", "\"other\""))).await;
    assert_eq!(answer.json()["error"]["param"], "file", "{answer:?}");
    let body = json!({"model": "shop", "input": "good day", "voice": "alloy"});
    let answer = rig.send(post("/v1/audio/speech", &body)).await;
    assert_eq!(answer.header("content-type"), Some("audio/mpeg"), "{answer:?}");
    assert!(answer.text().contains("good day"), "{answer:?}");
    let body = json!({"model": "flow", "input": "good day", "voice": "alloy"});
    let request = Request::post("/v1/audio/speech").header("api-key", "usertoken--flow");
    let answer = rig.send(request.body(body.to_string()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
}

#[tokio::test]
async fn a_stream_that_is_long_in_coming_is_kept_alive() {
    let slow = dify_sim::Pace { first_token: Duration::from_secs(6), ..dify_sim::Pace::default() };
    let rig = Plan::new(1).with_difys(move |setup| setup.with_pace(slow)).start().await;
    let ask = |query: &str| {
        let body = json!({"model": "shop", "messages": messages(&[query]), "stream": true});
        open(rig.addr(), post("/v1/chat/completions", &body))
    };
    let (good, bad) = tokio::join!(ask("hello"), ask("error429 x"));
    for (answer, ending) in [(good.unwrap(), "data: [DONE]\n\n"), (bad.unwrap(), "}}\n\n")] {
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.starts_with(": keep-alive\n\n") && text.ends_with(ending), "{text}");
    }
}

#[tokio::test]
async fn a_browser_may_send_what_ai_clients_send() {
    let rig = Rig::start(1).await;
    let preflight = Request::options("/v1/chat/completions")
        .header("origin", "https://chat.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, x-stainless-os");
    let answer = rig.send(preflight.body("").unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let allowed = answer.header("access-control-allow-headers");
    assert_eq!(allowed, Some("authorization, x-stainless-os"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://chat.example"));
}

#[tokio::test]
async fn each_request_at_a_door_ends_in_one_record_that_says_how() {
    let rig = Plan::new(1).without_probes().start().await;
    assert_eq!(rig.send(ask(&["hello"])).await.status, StatusCode::OK);
    let body =
        json!({"model": "shop", "messages": messages(&["tokens 2000 0.02"]), "stop": ["tok3"]});
    assert_eq!(rig.send(post("/v1/chat/completions", &body)).await.status, StatusCode::OK);
    let wrong = json!({"model": "shop", "messages": []});
    assert_eq!(rig.send(post("/v1/chat/completions", &wrong)).await.status, 400);
    let none = json!({"model": "none", "messages": messages(&["hi"])});
    assert_eq!(rig.send(post("/v1/chat/completions", &none)).await.status, 404);
    rig.difys[0].set_fault(dify_sim::Fault::Refused).await.unwrap();
    assert_eq!(rig.send(ask(&["hello"])).await.status, StatusCode::BAD_GATEWAY);
    let ended = async {
        loop {
            let stats = rig.status().await["stats"]["by_reason"].clone();
            let sum: u64 = stats.as_object().unwrap().values().filter_map(Value::as_u64).sum();
            // Some answers are still read to their end after their clients have them.
            if sum >= 5 {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    let count = |reason: &str| ended[reason].as_u64().unwrap_or(0);
    let wrong = (count("answered"), count("bad_request"), count("no_route"));
    assert_eq!(wrong, (2, 1, 1), "{ended}");
    // Which of both it is depends on whether an idle connection was still there.
    assert_eq!(count("connect_failed") + count("instance_closed"), 1, "{ended}");
    let expected = [("2xx", 2), ("4xx", 0), ("5xx", 1)].map(|(class, count)| {
        format!("difygate_app_requests_total{{app=\"shop\",status=\"{class}\"}} {count}\n")
    });
    let counted = async {
        loop {
            let request = Request::get("/metrics").body("").unwrap();
            let metrics = send(rig.gateway.admin(), request).await.text();
            if expected.iter().all(|line| metrics.contains(line)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.unwrap();
}
