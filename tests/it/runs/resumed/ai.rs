//! AI clients of flows whose API process is killed.

use std::time::Duration;

use bytes::Bytes;
use dify_sim::{Release, RunEnd};
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::stage::{Begun, events, kill, lead_to, plan, resumed, start, turn};
use crate::rig::{post, send};

/// The text of a stream of chat completions, and how it ended.
fn completion(stream: &str) -> (String, Vec<Value>) {
    let (mut text, mut ends) = (String::new(), Vec::new());
    for json in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let Ok(chunk) = serde_json::from_str::<Value>(json) else { continue };
        let choice = &chunk["choices"][0];
        text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        ends.extend([&chunk["error"], &choice["finish_reason"]].into_iter().cloned());
    }
    ends.retain(|end| !end.is_null());
    (text, ends)
}

fn question(stream: bool) -> Request<Bytes> {
    let messages = json!([{ "role": "user", "content": "tokens 40 1" }]);
    let body = json!({ "model": "shop", "stream": stream, "user": "alice", "messages": messages });
    post("/v1/chat/completions", &body)
}

#[tokio::test]
async fn ai_clients_get_all_of_a_run_whose_api_process_died() {
    for release in [Release::V1_14, Release::Main] {
        let rig = plan(release).start().await;
        let whole = completion(&Begun::until(&rig, question(true), ("", 0)).await.rest().await);
        assert_eq!(whole.1, [json!("stop")]);
        let begun = Begun::until(&rig, question(true), ("\"content\"", 5)).await;
        kill(&rig.difys[0]).await;
        start(&rig.difys[0]).await;
        let stream = begun.rest().await;
        assert_eq!(completion(&stream), whole, "{release} {stream}");
        assert!(stream.ends_with("data: [DONE]\n\n"), "{stream}");

        let asking = tokio::spawn(send(rig.addr(), question(false)));
        let runs = async {
            while rig.difys[0].runs().len() < 3 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), runs).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        kill(&rig.difys[0]).await;
        start(&rig.difys[0]).await;
        let answer = asking.await.unwrap();
        assert_eq!(answer.json()["choices"][0]["message"]["content"], json!(whole.0), "{answer:?}");

        // It ends while nobody could tell it.
        let begun = Begun::until(&rig, question(true), ("\"content\"", 5)).await;
        kill(&rig.difys[0]).await;
        while rig.difys[0].runs().iter().any(|ran| ran.end == RunEnd::Running) {
            sleep(Duration::from_millis(20)).await;
        }
        start(&rig.difys[0]).await;
        let stream = begun.rest().await;
        assert_eq!(completion(&stream), whole, "{release} {stream}");
        assert_eq!(resumed(&rig, "continued").await, 3, "{release}");
    }
}

/// Before a Dify: all passes through, but what a run's further events say.
async fn liar(dify: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = vec![0; 64 * 1024];
                let read = socket.read(&mut head).await.unwrap_or(0);
                head.truncate(read);
                let text = String::from_utf8_lossy(&head).into_owned();
                let Some((_, rest)) = text.split_once("/v1/workflow/") else {
                    let mut dify = TcpStream::connect(dify).await?;
                    dify.write_all(&head).await?;
                    return tokio::io::copy_bidirectional(&mut socket, &mut dify).await;
                };
                let run = rest.split('/').next().unwrap();
                let data = json!({ "id": run, "status": "succeeded", "total_tokens": 3,
                    "created_at": 1, "outputs": { "answer": "something else" } });
                let event = json!({ "event": "workflow_finished", "task_id": run,
                    "workflow_run_id": run, "data": data });
                let event = format!("data: {event}\n\n");
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{event}",
                    event.len()
                );
                socket.write_all(answer.as_bytes()).await.map(|()| (0, 0))
            });
        }
    });
    addr
}

#[tokio::test]
async fn text_that_does_not_continue_is_replaced_for_dify_s_clients_and_an_error_for_others() {
    let rig = plan(Release::Main).start().await;
    let (dify, before) = (&rig.difys[0], rig.difys[0].addr());
    let between = liar(before).await;
    lead_to(&rig, between).await;
    let begun = Begun::until(&rig, turn("alice", "tokens 40 1"), ("\"message\"", 3)).await;
    kill(dify).await;
    start(dify).await;
    let stream = begun.rest().await;
    let events = events(&stream);
    let [.., replaced, end, finished] = &events[..] else { panic!("{stream}") };
    assert_eq!(
        (&replaced["event"], &replaced["answer"]),
        (&json!("message_replace"), &json!("something else"))
    );
    assert_eq!(
        (&end["event"], &finished["event"]),
        (&json!("message_end"), &json!("workflow_finished"))
    );

    let begun = Begun::until(&rig, question(true), ("\"content\"", 5)).await;
    kill(dify).await;
    start(dify).await;
    let stream = begun.rest().await;
    let (text, ends) = completion(&stream);
    assert!(!text.contains("something else"), "{stream}");
    assert!(ends.len() == 1 && ends[0]["message"].is_string(), "an error: {stream}");
    assert_eq!(resumed(&rig, "differs").await, 2);
}
