//! What clients do: calls, streams, uploads, and leaving in the middle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::client::{Clients, Via};
use crate::load::{Kind, Outcome, USERS, judge, request};
use crate::soak::Random;

/// Requests a second.
const RATE: u32 = 100;
/// Longer than any fault lasts that makes a request wait. What takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// For all to be served again at the end: longer than an instance is out for bad answers.
const RECOVERY: Duration = Duration::from_secs(60);

/// What became of the requests.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Requests that are over.
    pub done: u64,
    /// What their clients noticed, and how often.
    pub noticed: BTreeMap<String, u64>,
    /// Those that took longer than any fault explains.
    pub hung: u64,
    /// Answers that look whole and are not.
    pub cut_unseen: u64,
}

/// Sends requests for as long as it is polled.
pub async fn working(
    clients: Arc<Clients>,
    token: &'static str,
    seed: u64,
    tally: Arc<Mutex<Tally>>,
) {
    let mut random = Random::new(seed);
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tasks = JoinSet::new();
    for number in 0.. {
        ticks.tick().await;
        while tasks.try_join_next().is_some() {}
        let (clients, tally) = (Arc::clone(&clients), Arc::clone(&tally));
        let dice = random.below(100);
        let size = 1 + random.below(512 * 1024);
        tasks.spawn(async move {
            let outcome = timeout(LIMIT, async {
                match dice {
                    0..15 => stream(&clients, token, number, false).await,
                    15..25 => stream(&clients, token, number, true).await,
                    25..30 => upload(&clients, token, number, size as usize).await,
                    _ => call(&clients, token, number).await,
                }
            });
            let outcome = outcome.await;
            let mut tally = tally.lock().await;
            tally.done += 1;
            match outcome {
                Ok(Outcome::Good) => {}
                Ok(Outcome::Lost(what)) => *tally.noticed.entry(what).or_default() += 1,
                Ok(Outcome::CutUnseen) => tally.cut_unseen += 1,
                Err(_) => tally.hung += 1,
            }
        });
    }
}

/// Waits until a few hundred requests in a row are served, or for `RECOVERY`.
///
/// # Errors
/// What the last client noticed.
pub async fn all_served(clients: &Clients, token: &str) -> Result<(), String> {
    let deadline = Instant::now() + RECOVERY;
    loop {
        let mut problem = None;
        for number in 0..2 * USERS {
            if let Outcome::Lost(what) = call(clients, token, number).await {
                problem = Some(what);
                break;
            }
        }
        match problem {
            None => return Ok(()),
            Some(what) if Instant::now() > deadline => return Err(what),
            Some(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

async fn call(clients: &Clients, token: &str, number: u64) -> Outcome {
    let Ok(request) = request(token, number) else { return lost("no request") };
    let answer = clients.send(request, Via::Kept, LIMIT).await;
    answer.map_or_else(Outcome::Lost, |answer| judge(Kind::of(number), number, &answer))
}

fn lost(what: &str) -> Outcome {
    Outcome::Lost(what.to_owned())
}

fn post(token: &str, path: &str, kind: &str, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
    Request::post(path)
        .header("host", "dify")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", kind)
        .body(Full::new(body))
}

/// A stream of half a second; who leaves does so after its first piece.
async fn stream(clients: &Clients, token: &str, number: u64, leaves: bool) -> Outcome {
    let user = format!("user-{}", number % USERS);
    let body = json!({
        "inputs": {}, "query": "tokens 25 0.02", "response_mode": "streaming", "user": user,
    });
    let body = Bytes::from(body.to_string());
    let Ok(request) = post(token, "/v1/chat-messages", "application/json", body) else {
        return lost("no request");
    };
    if !leaves {
        let answer = clients.send(request, Via::Kept, LIMIT).await;
        return answer.map_or_else(Outcome::Lost, |answer| judge(Kind::Stream, number, &answer));
    }
    match clients.open(request, Via::Fresh).await {
        Ok((_connection, answer)) if answer.status() != StatusCode::OK => {
            Outcome::Lost(answer.status().as_u16().to_string())
        }
        Ok((_connection, mut answer)) => match answer.body_mut().frame().await {
            Some(Ok(_)) => Outcome::Good,
            _ => lost("answer cut"),
        },
        Err(what) => Outcome::Lost(what),
    }
}

/// An upload that is kept in memory or spooled, as its size is.
async fn upload(clients: &Clients, token: &str, number: u64, size: usize) -> Outcome {
    let user = format!("user-{}", number % USERS);
    let part = "\r\nContent-Disposition: form-data; name=";
    let mut body = format!(
        "--soak{part}\"user\"\r\n\r\n{user}\r\n--soak{part}\"file\"; filename=\"a.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n"
    )
    .into_bytes();
    body.resize(body.len() + size, b'x');
    body.extend_from_slice(b"\r\n--soak--\r\n");
    let kind = "multipart/form-data; boundary=soak";
    let Ok(request) = post(token, "/v1/files/upload", kind, body.into()) else {
        return lost("no request");
    };
    match clients.send(request, Via::Kept, LIMIT).await {
        Ok(answer) if answer.status == StatusCode::CREATED => Outcome::Good,
        Ok(answer) => Outcome::Lost(answer.status.as_u16().to_string()),
        Err(what) => Outcome::Lost(what),
    }
}
