//! A POST that an instance may have acted on is sent once, also where the connection to it was used before:
//! what tells is what the instance's system has acknowledged, and no clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dify_sim::Fault;
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::rig::{Plan, Rig, TOKEN, post};

/// One worker, so that the connection of one request is there for the next.
async fn one_worker(difys: usize) -> Rig {
    Plan::new(difys).with("workers: 1").without_probes().start().await
}

fn posts(rig: &Rig) -> usize {
    let served = rig.difys.iter().flat_map(dify_sim::Dify::served);
    served.filter(|served| served.method == "POST").count()
}

#[tokio::test]
async fn a_post_that_was_read_is_not_sent_again_on_a_new_connection() {
    for fault in [Fault::CloseAfterRequest, Fault::Reset] {
        let rig = one_worker(2).await;
        let home = rig.instance_of("alice").await;
        rig.dify(&home).set_fault(fault).await.unwrap();
        let answer = rig.chat("alice").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{fault:?}: {answer:?}");
        let served = rig.dify(&home).served();
        assert_eq!(served[0].connection, served[1].connection, "{fault:?}: it was not reused");
        assert_eq!(posts(&rig), 2, "{fault:?}");
    }
}

/// What an instance does with a POST that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Answers, and keeps the connection.
    Keep,
    /// Answers, and closes the connection a little later.
    Close,
    /// Closes the connection without an answer.
    Die,
}

impl After {
    fn of(number: u64) -> Self {
        // Scattered, so that each comes behind each.
        match (number.wrapping_mul(0x9e37_79b9) >> 16) % 3 {
            0 => Self::Keep,
            1 => Self::Close,
            _ => Self::Die,
        }
    }
}

/// How often each POST was read whole.
type Read = Arc<Mutex<BTreeMap<u64, usize>>>;

/// An instance that closes its connections whenever it likes.
async fn unsteady(read: Read) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&read)));
        }
    });
    addr
}

async fn serve(mut stream: TcpStream, read: Read) {
    while let Some(number) = next_post(&mut stream).await {
        *read.lock().await.entry(number).or_default() += 1;
        if After::of(number) == After::Die {
            return;
        }
        let body = json!({ "answer": number.to_string() }).to_string();
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        if After::of(number) == After::Close {
            // Before, while and after the next one comes.
            let end = std::time::Instant::now() + Duration::from_micros(number * 37 % 700);
            while std::time::Instant::now() < end {
                tokio::task::yield_now().await;
            }
            return;
        }
    }
}

/// The number in the next request's body; none at the end of the connection.
async fn next_post(stream: &mut TcpStream) -> Option<u64> {
    let (mut got, mut some) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((_, rest)) = text.split_once("question-")
            && let Some((number, _)) = rest.split_once('.')
            && text.ends_with('}')
        {
            return Some(number.parse().unwrap());
        }
        match stream.read(&mut some).await {
            Ok(count) if count > 0 => got.extend_from_slice(&some[..count]),
            _ => return None,
        }
    }
}

/// Sends POSTs one right behind the other's answer, and gives the status of each.
async fn statuses(gateway: SocketAddr, count: u64) -> Vec<u16> {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let mut statuses = Vec::new();
    for number in 0..count {
        let body = json!({
            "inputs": {}, "query": format!("question-{number}."), "response_mode": "blocking",
            "user": "alice",
        });
        let request = post("/v1/chat-messages", &body);
        let (body, length) = (body.to_string(), request.body().len());
        let text = format!(
            "POST /v1/chat-messages HTTP/1.1\r\nHost: dify\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        statuses.push(status(&mut stream).await);
    }
    statuses
}

/// The status of an answer that is read to its end.
async fn status(stream: &mut TcpStream) -> u16 {
    let (mut got, mut some) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&got).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                return head[9..12].parse().unwrap();
            }
        }
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "{text}");
        got.extend_from_slice(&some[..count]);
    }
}

#[tokio::test]
async fn no_post_is_read_twice_however_its_connection_ends() {
    let read = Read::default();
    let instance = unsteady(Arc::clone(&read)).await;
    // It stays in, however often it fails.
    let rig = Plan::new(1).with("workers: 1").without_probes().with_instances(", max_fails: 10000");
    let rig = rig.start().await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let text = text.replace(&rig.difys[0].url(), &format!("http://{instance}"));
    std::fs::write(&rig.config_path, text).unwrap();
    rig.gateway.reloader().reload().await.unwrap();

    let statuses = statuses(rig.addr(), 900).await;
    let read = read.lock().await;
    let mut answered = 0;
    for (number, status) in (0..).zip(statuses) {
        let times = read.get(&number).copied().unwrap_or_default();
        assert!(times <= 1, "{number} was read {times} times");
        match (status, times) {
            (200, 1) => answered += 1,
            // It may have been acted on.
            (502, 1) => assert_eq!(After::of(number), After::Die, "{number}"),
            // It was not, and nobody could know: the connection before was being closed.
            (502, 0) => assert_eq!(After::of(number - 1), After::Close, "{number}"),
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(answered > 200, "{answered} were answered");
}
