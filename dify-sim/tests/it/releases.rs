//! What differs from one Dify to the other.

use crate::client::Client;
use crate::{ask, events, get, newer, post};
use dify_sim::{App, Dify, Flow, Mode, Pace, Release};
use serde_json::{Value, json};
use std::time::Duration;

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn turn(key: &str, mode: &str, more: &Value) -> Vec<u8> {
    let mut body = json!({"inputs": {}, "query": "x", "response_mode": mode, "user": "alice"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    post("/v1/chat-messages", key, &body)
}

fn status(client: &Client) -> u16 {
    client.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap()
}

#[tokio::test]
async fn the_bare_address_of_the_api_is_gone_since_1_12() {
    for release in Release::ALL {
        let dify = Dify::start(newer(release)).await.unwrap();
        let answer = ask(&dify, &get("/v1/", "")).await;
        let expected = if release == Release::V1_5 { 200 } else { 404 };
        assert_eq!(status(&answer), expected, "{release}");
        assert_eq!(answer.header("X-Version"), Some(release.version()));
    }
}

#[tokio::test]
async fn an_unknown_conversation_is_refused_ignored_or_never_heard_of_again() {
    for release in Release::ALL {
        let pace = Pace { silence: Duration::from_millis(300), ..newer(release).pace };
        let dify = Dify::start(newer(release).with_pace(pace)).await.unwrap();
        let more = json!({"conversation_id": NOBODY});
        let chat = ask(&dify, &turn("chat", "streaming", &more)).await;
        assert_eq!(status(&chat), 404, "chat, {release}");
        let blocking = ask(&dify, &turn("advanced-chat", "blocking", &more)).await;
        let streamed = ask(&dify, &turn("advanced-chat", "streaming", &more)).await;
        let seen = (status(&blocking), status(&streamed), events(&streamed).is_empty());
        let expected = match release {
            Release::V1_5 | Release::V1_12 => (404, 404, true),
            Release::V1_13 | Release::V1_14 => (404, 200, true),
            Release::Main => (200, 200, false),
        };
        assert_eq!(seen, expected, "{release}");
    }
}

#[tokio::test]
async fn a_file_of_another_user_is_refused_since_1_14() {
    for release in [Release::V1_5, Release::V1_13, Release::Main] {
        let dify = Dify::start(newer(release)).await.unwrap();
        let part = "--b\r\nContent-Disposition: form-data; name=";
        let body = format!(
            "{part}\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\nx\r\n\
             {part}\"user\"\r\n\r\nbob\r\n--b--\r\n"
        );
        let upload = format!(
            "POST /v1/files/upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer advanced-chat\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let file = ask(&dify, upload.as_bytes()).await;
        assert_eq!(status(&file), 201, "{}", String::from_utf8_lossy(&file.body));
        let file: Value = serde_json::from_slice(&file.body).unwrap();
        let path = format!("/v1/files/{}/preview?user=alice", file["id"].as_str().unwrap());
        let preview = ask(&dify, &get(&path, "advanced-chat")).await;
        assert_eq!(status(&preview), 404, "preview of a file no message has, {release}");
        let more = json!({"files": [{"type": "image", "transfer_method": "local_file",
            "upload_file_id": file["id"]}]});
        let answer = ask(&dify, &turn("advanced-chat", "blocking", &more)).await;
        let expected = if release >= Release::V1_14 { 400 } else { 200 };
        assert_eq!(status(&answer), expected, "{release}");
    }
}

#[tokio::test]
async fn another_user_may_stop_a_flow_since_1_12() {
    for release in [Release::V1_5, Release::V1_12, Release::Main] {
        let app = App::new(Mode::AdvancedChat, "slow").with_flow(Flow::Slow);
        let pace = Pace { second: Duration::from_millis(10), ..newer(release).pace };
        let dify = Dify::start(newer(release).with_pace(pace).with_app(app)).await.unwrap();
        let more = json!({"query": "100"});
        let mut stream = Client::send(dify.addr(), &turn("slow", "streaming", &more)).await;
        stream.read_chunks(3).await;
        let task = events(&stream)[0]["task_id"].clone();
        let path = format!("/v1/chat-messages/{}/stop", task.as_str().unwrap());
        ask(&dify, &post(&path, "slow", &json!({"user": "bob"}))).await;
        stream.read_all("POST").await;
        let whole = String::from_utf8_lossy(&stream.body).contains("slept 100.0");
        assert_eq!(whole, release != Release::Main, "{release}");
        let seen = events(&stream);
        let end = seen.iter().find(|event| event["event"] == "workflow_finished").unwrap();
        let expected = if release == Release::V1_5 { "succeeded" } else { "failed" };
        assert_eq!(end["data"]["status"], expected, "{release}");
    }
}

#[tokio::test]
async fn first_turns_of_an_unseen_user_at_once_make_several_users() {
    let pace = Pace { newcomer: Duration::from_millis(200), ..newer(Release::Main).pace };
    for (release, lost) in [(Release::V1_5, false), (Release::Main, true)] {
        let dify = Dify::start(newer(release).with_pace(pace)).await.unwrap();
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(Client::send(dify.addr(), &turn("chat", "blocking", &json!({}))).await);
        }
        let mut missing = 0;
        for client in &mut clients {
            client.read_all("POST").await;
            let answer: Value = serde_json::from_slice(&client.body).unwrap();
            let more = json!({"conversation_id": answer["conversation_id"]});
            let again = ask(&dify, &turn("chat", "blocking", &more)).await;
            missing += usize::from(status(&again) == 404);
        }
        assert_eq!(missing > 0, lost, "{missing} of 6, {release}");
    }
}

#[tokio::test]
async fn one_run_too_many_is_refused() {
    for release in Release::ALL {
        let app = App::new(Mode::Chat, "narrow").with_max_active_requests(1);
        let dify = Dify::start(newer(release).with_app(app)).await.unwrap();
        let more = json!({"query": "tokens 9 3600"});
        let mut first = Client::send(dify.addr(), &turn("narrow", "streaming", &more)).await;
        first.read_chunks(1).await;
        let second = ask(&dify, &turn("narrow", "blocking", &json!({}))).await;
        let text = String::from_utf8_lossy(&second.body);
        assert!(text.contains("Too many"), "{release}: {} {text}", second.head);
    }
}
