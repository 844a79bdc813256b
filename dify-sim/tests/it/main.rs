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
mod limits;
mod recordings;
mod runs;

use client::Client;
use dify_sim::{App, Dify, Mode, Release, Setup};
use serde_json::Value;

/// A Dify 1.5 with one app of each kind; the keys are the names of the modes.
async fn dify() -> Dify {
    Dify::start(setup()).await.unwrap()
}

fn setup() -> Setup {
    let modes = [Mode::Chat, Mode::AgentChat, Mode::AdvancedChat, Mode::Completion, Mode::Workflow];
    modes.into_iter().fold(Setup::default().with_release(Release::V1_5), |setup, mode| {
        setup.with_app(App::new(mode, mode.name()))
    })
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
