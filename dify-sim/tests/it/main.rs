//! Tests of the simulation on real sockets, in one binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its own functions too"
)]

mod answers;
mod client;
mod control;
mod faults;
mod landscape;
mod limits;
mod pauses;
mod recordings;
mod releases;
mod runs;
mod worker;

use client::Client;
use dify_sim::{App, Dify, Mode, Pace, Release, Setup};
use serde_json::Value;
use std::time::Duration;

/// A Dify 1.5 with one app of each kind; the keys are the names of the modes.
async fn dify() -> Dify {
    Dify::start(setup()).await.unwrap()
}

fn setup() -> Setup {
    newer(Release::V1_5)
}

/// The same apps on another release, whose streams end soon after their last event.
fn newer(release: Release) -> Setup {
    let pace = Pace { linger: Duration::from_millis(5), ..Pace::default() };
    let modes = [Mode::Chat, Mode::AgentChat, Mode::AdvancedChat, Mode::Completion, Mode::Workflow];
    let setup = Setup::default().with_release(release).with_pace(pace);
    modes.into_iter().fold(setup, |setup, mode| setup.with_app(App::new(mode, mode.name())))
}

/// The events of a stream, without pings.
fn events(client: &Client) -> Vec<Value> {
    let data = client.chunks.iter().filter_map(|chunk| chunk.strip_prefix("data: "));
    data.map(|event| serde_json::from_str(event).unwrap()).collect()
}

/// A request with a JSON body as bytes.
fn post(path: &str, key: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A request without a body as bytes.
fn get(path: &str, key: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n").into_bytes()
}

/// One request on a connection of its own, and its whole answer.
async fn ask(dify: &Dify, bytes: &[u8]) -> Client {
    let mut client = Client::send(dify.addr(), bytes).await;
    client.read_all("POST").await;
    client
}
