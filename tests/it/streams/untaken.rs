//! Clients that do not take their answers, or too slowly.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::rig::{Plan, Rig, TOKEN};

/// Generous: a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for a long stream, on a connection that takes in little ahead.
async fn ask(rig: &Rig, path: &str, body: &Value) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(rig.addr()).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// More than the buffers of the system hold.
const LONG: &str = "tokens 100000 0";

fn native() -> Value {
    json!({ "inputs": {}, "query": LONG, "response_mode": "streaming", "user": "slow" })
}

async fn until_free(rig: &Rig) {
    let free = async {
        loop {
            let shop = rig.status().await["applications"]["shop"].clone();
            if shop["instances"]["dify1"]["in_flight"] == 0 {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, free).await.expect("it holds its slot");
}

/// Waits until there are two more runs.
async fn until_runs(rig: &Rig, runs: &mut usize) {
    let more = async {
        while rig.difys[0].runs().len() < *runs + 2 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, more).await.expect("they did not run");
    *runs = rig.difys[0].runs().len();
}

#[tokio::test]
async fn a_client_that_never_reads_is_one_that_went_away() {
    let rig = Plan::new(1)
        .with("timeouts: { write: 1s }")
        .with_instances(", max_concurrent: 2, queue: { size: 9, timeout: 60s }")
        .start()
        .await;
    let at_ai = json!({ "model": "shop", "stream": true,
        "messages": [{ "role": "user", "content": LONG }] });
    let mut runs = 0;
    for (path, body) in [("/v1/chat-messages", native()), ("/v1/chat/completions", at_ai)] {
        let held = [ask(&rig, path, &body).await, ask(&rig, path, &body).await];
        // Both run, or one has run and been ended already.
        until_runs(&rig, &mut runs).await;
        until_free(&rig).await;
        // The slots are free, although the connections were never read from.
        assert_eq!(rig.chat("alice").await.status, StatusCode::OK, "{path}");
        runs += 1;
        drop(held);
    }
}

#[tokio::test]
async fn a_client_that_takes_a_little_at_a_time_is_let_be() {
    let rig = Plan::new(1).with("timeouts: { write: 2s }").start().await;
    let mut slow = ask(&rig, "/v1/chat-messages", &native()).await;
    let mut piece = vec![0; 64 * 1024];
    for _ in 0..25 {
        slow.read_exact(&mut piece).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(rig.status().await["applications"]["shop"]["stopped"], 0);
    drop(slow);
    until_free(&rig).await;
}

#[tokio::test]
async fn a_client_below_the_least_rate_is_one_that_went_away() {
    let settings = "timeouts: { write: 1s }\nlimits: { min_answer_rate: 1MiB }";
    let rig = Plan::new(1).with(settings).start().await;
    let mut slow = ask(&rig, "/v1/chat-messages", &native()).await;
    let mut piece = vec![0; 16 * 1024];
    let cut = async {
        while slow.read_exact(&mut piece).await.is_ok() {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, cut).await.expect("it was let be");
    until_free(&rig).await;
}
