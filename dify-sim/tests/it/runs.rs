//! Runs: events, stops, ids, disconnects, speed.

use crate::client::Client;
use crate::{ask, dify, get, post, setup};
use dify_sim::{App, Dify, Flow, Mode, Pace};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn chat(key: &str, query: &str, more: Value) -> Vec<u8> {
    let mut body =
        json!({"inputs": {}, "query": query, "response_mode": "streaming", "user": "alice"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    post("/v1/chat-messages", key, &body)
}

fn event(chunk: &str) -> Value {
    serde_json::from_str(chunk.strip_prefix("data: ").unwrap()).unwrap()
}

fn names(client: &Client) -> Vec<String> {
    let events = client.chunks.iter().filter(|chunk| chunk.starts_with("data"));
    events.map(|chunk| event(chunk)["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_event_is_one_write_at_its_time() {
    let pace = Pace { between_tokens: Duration::from_millis(60), ..Pace::default() };
    let dify = Dify::start(setup().with_pace(pace)).await.unwrap();
    let mut client = Client::send(dify.addr(), &chat("chat", "a b c", json!({}))).await;
    let mut seen = Vec::new();
    while !client.complete {
        let count = client.chunks.len();
        client.read_chunks(count + 1).await;
        seen.push((Instant::now(), client.waiting()));
    }
    // Four tokens at 0, 60, 120 and 180 ms; after each there is nothing more to read.
    assert!(seen[3].0 - seen[0].0 >= Duration::from_millis(170));
    assert!(seen[..3].iter().all(|(_, waiting)| *waiting == 0), "{seen:?}");
    assert_eq!(client.chunks.iter().filter(|chunk| chunk.contains("\"message\"")).count(), 5);
}

#[tokio::test]
async fn a_stop_by_its_user_ends_the_stream_and_keeps_the_text() {
    let dify = dify().await;
    for (key, last) in [("chat", "message_end"), ("agent-chat", "message_end")] {
        let mut client = Client::send(dify.addr(), &chat(key, "tokens 9 3600", json!({}))).await;
        client.read_chunks(2 - usize::from(key == "chat")).await;
        let first = event(&client.chunks[0]);
        let task = first["task_id"].as_str().unwrap();
        let path = format!("/v1/chat-messages/{task}/stop");
        let other = ask(&dify, &post(&path, key, &json!({"user": "bob"}))).await;
        assert_eq!(other.body, b"{\"result\": \"success\"}\n");
        ask(&dify, &post(&path, key, &json!({"user": "alice"}))).await;
        client.read_all("POST").await;
        assert!(client.complete);
        assert_eq!(names(&client).last().unwrap(), last);
        let conversation = first["conversation_id"].as_str().unwrap();
        let list = format!("/v1/messages?user=alice&conversation_id={conversation}");
        let list = ask(&dify, &get(&list, key)).await;
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        assert_eq!(list["data"][0]["answer"], "tok0");
    }
}

#[tokio::test]
async fn ids_mean_nothing_to_another_instance() {
    let (one, two) = (dify().await, dify().await);
    let answer = ask(&one, &chat("chat", "x", json!({"response_mode": "blocking"}))).await;
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let again = chat("chat", "y", json!({"conversation_id": answer["conversation_id"]}));
    assert!(ask(&one, &again).await.head.starts_with("HTTP/1.1 200"));
    let refused = ask(&two, &again).await;
    assert!(refused.head.starts_with("HTTP/1.1 404"));
    assert!(String::from_utf8_lossy(&refused.body).contains("Conversation Not Exists."));
    let list = ask(&two, &get("/v1/conversations?user=alice", "chat")).await;
    assert!(String::from_utf8_lossy(&list.body).contains("\"data\": []"));
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_loses_the_answer_and_frees_the_slot() {
    let pace = Pace { between_tokens: Duration::from_millis(5), ..Pace::default() };
    let dify = Dify::start(setup().with_pace(pace)).await.unwrap();
    let mut client = Client::send(dify.addr(), &chat("chat", "tokens 100000", json!({}))).await;
    client.read_chunks(1).await;
    let first = event(&client.chunks[0]);
    drop(client);
    dify.finished().await;
    let conversation = first["conversation_id"].as_str().unwrap();
    let list = format!("/v1/messages?user=alice&conversation_id={conversation}");
    let list = ask(&dify, &get(&list, "chat")).await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list["data"][0]["answer"], "");
}

#[tokio::test]
async fn a_client_that_leaves_a_blocking_run_finds_its_answer_stored() {
    let pace = Pace { blocking: Duration::from_millis(100), ..Pace::default() };
    let dify = Dify::start(setup().with_pace(pace)).await.unwrap();
    let body = chat("chat", "kept", json!({"response_mode": "blocking"}));
    let client = Client::send(dify.addr(), &body).await;
    dify.wait_for_served(1).await;
    drop(client);
    dify.finished().await;
    let list = ask(&dify, &get("/v1/conversations?user=alice", "chat")).await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    let id = list["data"][0]["id"].as_str().unwrap();
    let messages = format!("/v1/messages?user=alice&conversation_id={id}");
    let messages = ask(&dify, &get(&messages, "chat")).await;
    assert!(String::from_utf8_lossy(&messages.body).contains("\"answer\": \"Echo: kept\""));
}

#[tokio::test]
async fn naming_holds_the_first_turn_of_a_chat_open() {
    let pace = Pace { title_delay: Duration::from_millis(300), ..Pace::default() };
    let dify = Dify::start(setup().with_pace(pace)).await.unwrap();
    for (more, held) in [(json!({}), true), (json!({"auto_generate_name": false}), false)] {
        let mut client = Client::send(dify.addr(), &chat("chat", "x", more)).await;
        client.read_chunks(4).await;
        assert_eq!(event(&client.chunks[3])["event"], "message_end");
        let end = tokio::time::timeout(Duration::from_millis(100), client.read_chunks(5)).await;
        assert_eq!(end.is_err(), held);
        client.read_all("POST").await;
        assert!(client.complete);
    }
}

#[tokio::test]
async fn pings_come_by_the_clock_of_the_run_before_and_between_tokens() {
    let pace = Pace {
        first_token: Duration::from_millis(250),
        ping_interval: Duration::from_millis(100),
        ..Pace::default()
    };
    let dify = Dify::start(setup().with_pace(pace)).await.unwrap();
    let mut client = Client::send(dify.addr(), &chat("chat", "x", json!({}))).await;
    client.read_all("POST").await;
    assert_eq!(client.chunks[..2], ["event: ping\n\n", "event: ping\n\n"]);
    let answer = ask(&dify, &chat("chat", "x", json!({"response_mode": "blocking"}))).await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("ping"));
}

#[tokio::test]
async fn a_workflow_with_a_model_streams_its_text_in_chunks() {
    let app = App::new(Mode::Workflow, "flow").with_flow(Flow::Llm);
    let dify = Dify::start(setup().with_app(app)).await.unwrap();
    let run = |text: &str, mode: &str| {
        let body = json!({"inputs": {"text": text}, "response_mode": mode, "user": "u"});
        post("/v1/workflows/run", "flow", &body)
    };
    let client = ask(&dify, &run("big world", "streaming")).await;
    assert_eq!(
        names(&client).join(" "),
        "workflow_started node_started node_finished node_started text_chunk text_chunk \
         text_chunk node_finished node_started node_finished workflow_finished"
    );
    let end = event(&client.chunks[10]);
    assert_eq!(end["data"]["outputs"]["out"], "Echo: big world");
    assert_eq!(end["data"]["total_tokens"], 10);
    let answer = ask(&dify, &run("error500", "blocking")).await;
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["data"]["status"], "failed");
    assert_eq!(answer["data"]["error"], "[fake] server 500");
}

#[tokio::test]
async fn a_connection_serves_on_after_a_stream() {
    let dify = dify().await;
    let mut bytes = chat("advanced-chat", "x", json!({}));
    bytes.extend(get("/health", ""));
    let mut client = Client::send(dify.addr(), &bytes).await;
    client.read_all("POST").await;
    assert!(client.complete);
    client.forget_answer();
    client.read_all("GET").await;
    assert!(client.head.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn signed_file_urls_work_on_their_own_instance_only() {
    let files = || {
        let app = App::new(Mode::AdvancedChat, "files").with_flow(Flow::Files);
        Dify::start(setup().with_app(app))
    };
    let (one, two) = (files().await.unwrap(), files().await.unwrap());
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
        Content-Type: text/plain\r\n\r\nhello\r\n--b--\r\n";
    let upload = format!(
        "POST /v1/files/upload HTTP/1.1\r\nAuthorization: Bearer files\r\nContent-Type: \
         multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let uploaded = ask(&one, upload.as_bytes()).await;
    let uploaded: Value = serde_json::from_slice(&uploaded.body).unwrap();
    let file = json!({"type": "document", "transfer_method": "local_file",
        "upload_file_id": uploaded["id"]});
    let turn = chat("files", "q", json!({"response_mode": "blocking", "files": [file]}));
    assert!(ask(&two, &turn).await.head.starts_with("HTTP/1.1 400"));
    let answer = ask(&one, &turn).await;
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let text = answer["answer"].as_str().unwrap();
    let url = text.split(['(', ')']).nth(1).unwrap();
    let path = url.strip_prefix(&one.url()).unwrap();
    assert_eq!(ask(&one, &get(path, "")).await.body, b"hello");
    assert!(ask(&two, &get(path, "")).await.head.starts_with("HTTP/1.1 404"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_streams_run_at_once_on_several_threads() {
    let pace = Pace { between_tokens: Duration::from_millis(2), ..Pace::default() };
    let dify = Dify::start(setup().with_slots(1000).with_pace(pace)).await.unwrap();
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let addr = dify.addr();
        streams.spawn(async move {
            let mut client = Client::send(addr, &chat("chat", "tokens 50", json!({}))).await;
            client.read_all("POST").await;
            client.complete && client.chunks.len() == 53
        });
    }
    assert!(streams.join_all().await.into_iter().all(|whole| whole));
    assert_eq!(dify.served().len(), 300);
}
