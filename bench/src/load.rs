//! A steady stream of requests that does not wait for answers, and what became of each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{Answer, Clients, Via};

/// Users that take turns.
pub const USERS: u64 = 200;
/// After this a client gives up.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Between two tokens of a long stream.
const GAP: Duration = Duration::from_millis(100);
/// The numbers of long streams begin here.
const LONG_STREAMS: u64 = 1_000_000;
/// One request of so many is sent on a connection of its own.
const FRESH_EVERY: u64 = 8;

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Changes nothing.
    Get,
    /// A blocking chat turn.
    Post,
    /// A streamed one.
    Stream,
}

impl Kind {
    /// Half of the requests are POSTs, and one POST of five is streamed.
    #[must_use]
    pub fn of(number: u64) -> Self {
        match number % 10 {
            9 => Self::Stream,
            odd if odd % 2 == 1 => Self::Post,
            _ => Self::Get,
        }
    }
}

/// What the client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What it asked for.
    Good,
    /// An error it can see, in a word or two.
    Lost(String),
    /// An answer that looks whole and is not.
    CutUnseen,
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its number, which its query or its path carries.
    pub number: u64,
    /// Its kind.
    pub kind: Kind,
    /// When it was sent.
    pub started: Instant,
    /// When its client had the answer, or knew that there is none.
    pub ended: Instant,
    /// What its client got.
    pub outcome: Outcome,
}

/// Sends `rate` requests a second for `time` and gives them all, each with its end.
pub async fn run(
    clients: Arc<Clients>,
    token: &'static str,
    rate: u32,
    time: Duration,
) -> Vec<Sent> {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    // A late tick must not thin out the load.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sending = JoinSet::new();
    let count = time.as_millis() as u64 * u64::from(rate) / 1000;
    for number in 0..count {
        ticks.tick().await;
        let clients = Arc::clone(&clients);
        sending.spawn(async move { send(&clients, token, number).await });
    }
    sending.join_all().await
}

/// Opens so many streams that last for `time` and gives them all, each with its end.
pub async fn streams(
    clients: Arc<Clients>,
    token: &'static str,
    count: u64,
    time: Duration,
) -> Vec<Sent> {
    let mut sending = JoinSet::new();
    for stream in 0..count {
        let clients = Arc::clone(&clients);
        sending.spawn(async move {
            // Numbers of their own, which are no one else's.
            let number = LONG_STREAMS + stream;
            let tokens = time.as_millis() / GAP.as_millis();
            let query = format!("tokens {tokens} {}", GAP.as_secs_f64());
            let started = Instant::now();
            let answer = match turn(token, &query, "streaming", &format!("user-{stream}")) {
                Ok(request) => clients.send(request, Via::Fresh, time + LIMIT).await,
                Err(problem) => Err(problem.to_string()),
            };
            let kind = Kind::Stream;
            let outcome = answer.map_or_else(Outcome::Lost, |answer| judge(kind, number, &answer));
            Sent { number, kind, started, ended: Instant::now(), outcome }
        });
    }
    sending.join_all().await
}

async fn send(clients: &Clients, token: &str, number: u64) -> Sent {
    let kind = Kind::of(number);
    let via = if number.is_multiple_of(FRESH_EVERY) { Via::Fresh } else { Via::Kept };
    let started = Instant::now();
    let answer = match request(token, number) {
        Ok(request) => clients.send(request, via, LIMIT).await,
        Err(problem) => Err(problem.to_string()),
    };
    let outcome = match answer {
        Ok(answer) => judge(kind, number, &answer),
        Err(noticed) => Outcome::Lost(noticed),
    };
    Sent { number, kind, started, ended: Instant::now(), outcome }
}

/// The query of a POST, by which it is found in the instances' logs.
fn query(number: u64) -> String {
    format!("question-{number}.")
}

/// The number of a request that an instance has received: whole, or at least its head.
#[must_use]
pub fn number_of(path: &str, body: &[u8]) -> Option<u64> {
    if let Some((_, number)) = path.split_once("n=") {
        return number.parse().ok();
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    body["query"].as_str()?.strip_prefix("question-")?.strip_suffix('.')?.parse().ok()
}

/// The request of this number.
///
/// # Errors
/// Never, with a token that fits into a header.
pub fn request(token: &str, number: u64) -> http::Result<Request<Full<Bytes>>> {
    // Scattered, so that each user does all kinds.
    let user = format!("user-{}", (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % USERS);
    match Kind::of(number) {
        Kind::Get => {
            let path = if number.is_multiple_of(4) { "parameters" } else { "conversations" };
            let uri = format!("/v1/{path}?user={user}&n={number}");
            begin(token, &user).method("GET").uri(uri).body(Full::default())
        }
        Kind::Post => turn(token, &query(number), "blocking", &user),
        Kind::Stream => turn(token, &query(number), "streaming", &user),
    }
}

fn begin(token: &str, user: &str) -> http::request::Builder {
    Request::builder()
        .header("host", "dify")
        .header("authorization", format!("Bearer {token}"))
        // For those who cannot look into bodies.
        .header("x-user", user)
}

fn turn(token: &str, query: &str, mode: &str, user: &str) -> http::Result<Request<Full<Bytes>>> {
    let body = json!({ "inputs": {}, "query": query, "response_mode": mode, "user": user });
    begin(token, user)
        .method("POST")
        .uri("/v1/chat-messages")
        .header("content-type", "application/json")
        .body(Full::new(body.to_string().into()))
}

/// What an answer that is whole by its framing is worth.
#[must_use]
pub fn judge(kind: Kind, number: u64, answer: &Answer) -> Outcome {
    if answer.status != StatusCode::OK {
        return Outcome::Lost(answer.status.as_u16().to_string());
    }
    let text = String::from_utf8_lossy(&answer.body);
    if kind == Kind::Stream {
        // Newer Dify writes no blank after a colon.
        let has = |event| {
            [": ", ":"].iter().any(|colon| text.contains(&format!("\"event\"{colon}\"{event}\"")))
        };
        return match has("message_end") {
            true => Outcome::Good,
            false if has("error") => Outcome::Lost("error event".to_owned()),
            false => Outcome::CutUnseen,
        };
    }
    let Ok(body) = serde_json::from_str::<Value>(&text) else { return Outcome::CutUnseen };
    let good = match kind {
        Kind::Get => body.get("data").is_some() || body.get("user_input_form").is_some(),
        _ => body["answer"].as_str().is_some_and(|answer| answer.contains(&query(number))),
    };
    if good { Outcome::Good } else { Outcome::Lost("wrong body".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &'static str) -> Answer {
        Answer { status: StatusCode::OK, headers: http::HeaderMap::new(), body: body.into() }
    }

    #[test]
    fn half_are_posts_and_some_are_streamed() {
        let count = |kind| (0..1000).filter(|number| Kind::of(*number) == kind).count();
        assert_eq!((count(Kind::Get), count(Kind::Post), count(Kind::Stream)), (500, 400, 100));
    }

    #[test]
    fn every_request_is_found_again_by_its_number() {
        for number in 0..20 {
            let request = request("token", number).unwrap();
            let path = request.uri().to_string();
            let body = match Kind::of(number) {
                Kind::Get => String::new(),
                _ => json!({"query": query(number)}).to_string(),
            };
            assert_eq!(number_of(&path, body.as_bytes()), Some(number));
        }
        assert_eq!(number_of("/v1/", b""), None);
        assert_eq!(number_of("/v1/chat-messages", b"{\"query\": \"ques"), None);
    }

    #[test]
    fn an_answer_that_ends_too_early_is_told_from_one_that_says_so() {
        let lost = |text: &str| Outcome::Lost(text.to_owned());
        for (kind, body, outcome) in [
            (Kind::Get, r#"{"data": []}"#, Outcome::Good),
            (Kind::Get, r#"{"da"#, Outcome::CutUnseen),
            (Kind::Get, "{}", lost("wrong body")),
            (Kind::Post, r#"{"answer": "Echo: question-3."}"#, Outcome::Good),
            (Kind::Post, r#"{"answer": "Echo: question-30."}"#, lost("wrong body")),
            (Kind::Stream, r#"data: {"event": "message_end"}"#, Outcome::Good),
            (Kind::Stream, r#"data: {"event":"message_end"}"#, Outcome::Good),
            (Kind::Stream, r#"data: {"event": "message"}"#, Outcome::CutUnseen),
            (Kind::Stream, r#"data: {"event":"error"}"#, lost("error event")),
        ] {
            assert_eq!(judge(kind, 3, &answer(body)), outcome, "{kind:?} {body}");
        }
    }
}
