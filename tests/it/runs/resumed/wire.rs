//! What instances send byte by byte: the recorded kill of a Dify, events in pieces, a run that nobody does
//! any more.

use std::net::SocketAddr;
use std::time::Duration;

use dify_sim::{Fault, Pace, Release};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::stage::{Begun, events, kill, lead_to, plan, resumed, settles, told, turn};

/// Answers each connection's one request as the script has it for a path that holds this, then closes
/// the connection.
async fn scripted(script: Vec<(&'static str, Vec<Vec<u8>>)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 * 1024];
            let read = socket.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let told = script.iter().find(|(path, _)| request.contains(path));
            let (_, pieces) = told.unwrap_or_else(|| panic!("{request}"));
            for piece in pieces {
                socket.write_all(piece).await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
        }
    });
    addr
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream; \
    charset=utf-8\r\nX-Version: 1.14.2\r\n\r\n";

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A recorded answer as it came over the wire.
fn recorded(case: &str) -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dify-sim/recordings-1.14");
    let text = std::fs::read(format!("{folder}/{case}.json")).unwrap();
    let recording: Value = serde_json::from_slice(&text).unwrap();
    let mut pieces = vec![recording["head"].as_str().unwrap().as_bytes().to_vec()];
    for piece in recording["chunks"].as_array().unwrap() {
        pieces.extend(piece[1].as_str().filter(|piece| !piece.is_empty()).map(chunk));
    }
    if recording["complete"] == true {
        pieces.push(b"0\r\n\r\n".to_vec());
    }
    pieces
}

#[tokio::test]
async fn the_recorded_kill_of_a_dify_is_whole_for_its_client() {
    let rig = plan(Release::V1_14).start().await;
    let further = recorded("crash-kill9-resume-events");
    let first = recorded("crash-kill9-resume-original");
    let script = vec![("/v1/workflow/", further), ("/v1/chat-messages", first)];
    lead_to(&rig, scripted(script).await).await;
    let stream = Begun::until(&rig, turn("resume", "25"), ("", 0)).await.rest().await;
    let told = told(&stream);
    assert_eq!(told.text, "Before the wait. After: slept 25.0", "{stream}");
    assert_eq!(told.ends, ["workflow_started", "message_end", "workflow_finished"], "{stream}");
    let nodes = ["a1", "a2", "slow", "start"];
    let nodes = nodes.map(|node| ["node_finished", "node_started"].map(|name| (node, name)));
    let heard: Vec<_> = told.nodes.iter().map(|(node, name)| (&**node, &**name)).collect();
    assert_eq!(heard, nodes.concat(), "{stream}");
    assert_eq!(resumed(&rig, "continued").await, 1);
    settles(&rig).await;
}

#[tokio::test]
async fn a_client_that_has_its_whole_answer_hears_of_no_error() {
    let ids = "\"task_id\":\"1\",\"workflow_run_id\":\"857a332c-e870-4897-b4ff-7e9d0f0e94fc\"";
    let ids = format!("\"message_id\":\"6ce8d4c4-3220-4956-90c0-05d815eba0f8\",{ids}");
    let whole = format!(
        "event: ping\n\ndata: {{\"event\":\"workflow_started\",{ids}}}\n\ndata: {{\"event\":\"message\",\
         {ids},\"answer\":\"a\"}}\n\ndata: {{\"event\":\"message_end\",{ids}}}\n\n"
    );
    let finished = format!("data: {{\"event\":\"workflow_finished\",{ids},\"data\":{{}}}}\n\n");
    let unknown = b"HTTP/1.1 404 NOT FOUND\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (stream, asked) in [(whole.clone(), 1), (whole + &finished, 0)] {
        let first = vec![HEAD.into(), chunk(&stream)];
        let script = vec![("/v1/workflow/", vec![unknown.clone()]), ("/v1/chat-messages", first)];
        let rig = plan(Release::Main).start().await;
        lead_to(&rig, scripted(script).await).await;
        let told = Begun::until(&rig, turn("alice", "x"), ("", 0)).await.rest().await;
        assert_eq!(told, stream);
        assert_eq!(resumed(&rig, "failed").await, asked);
    }
}

#[tokio::test]
async fn events_that_come_in_pieces_reach_the_client_as_they_were() {
    let chat = "data: {\"event\":\"message\",\"task_id\":\"1\",\"answer\":\"a\"}\n\ndata: {\"event\": \
        \"message\",\"answer\":\"b\"}\n\ndata: {\"event\":\"message_end\"}\n\nno event";
    let flow = "event: ping\n\ndata: {\"event\":\"workflow_started\",\"task_id\":\"1\",\
        \"workflow_run_id\":\"857a332c-e870-4897-b4ff-7e9d0f0e94fc\"}\n\ndata: {\"event\":\"message\",\
        \"answer\":\"a\"}\n\ndata: {\"event\":\"workflow_finished\"}\n\nno event";
    for stream in [chat.to_owned(), flow.to_owned(), chat.replace('\n', "\r\n")] {
        for size in [1, 50, 61, 90, 150] {
            let pieces = stream.as_bytes().chunks(size);
            let pieces = pieces.map(|piece| chunk(str::from_utf8(piece).unwrap()));
            let all = [HEAD.into()].into_iter().chain(pieces).chain([b"0\r\n\r\n".to_vec()]);
            let rig = plan(Release::Main).start().await;
            lead_to(&rig, scripted(vec![("/v1/chat-messages", all.collect())]).await).await;
            let told = Begun::until(&rig, turn("alice", "x"), ("", 0)).await.rest().await;
            assert_eq!(told, stream, "{size}");
        }
    }
}

#[tokio::test]
async fn a_run_that_no_worker_does_any_more_ends_although_the_api_pings() {
    let pace = Pace { ping_interval: Duration::from_millis(100), ..Pace::default() };
    let quick = plan(Release::Main).with_difys(|setup| setup.with_pace(pace));
    let rig = quick.with("timeouts: { idle: 1s }").start().await;
    let begun = Begun::until(&rig, turn("alice", "tokens 400 0.1"), ("\"message\"", 3)).await;
    kill(&rig.difys[0]).await;
    rig.difys[0].set_fault(Fault::WorkerKilled).await.unwrap();
    let stream = begun.rest().await;
    assert_eq!(events(&stream).last().unwrap()["event"], "error", "{stream}");
    let pings = stream.matches("event: ping").count();
    assert!(pings > 3, "it was listened to: {stream}");
    rig.difys[0].set_fault(Fault::None).await.unwrap();
    settles(&rig).await;
}
