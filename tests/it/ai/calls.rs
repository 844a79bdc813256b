//! OpenAI's and Anthropic's clients in front of the apps, on real sockets.

use bytes::Bytes;
use dify_sim::{App, Mode, Ran};
use http::Request;
use serde_json::{Value, json};

use crate::rig::{Answer, Plan, Rig, post};

/// A rig whose app `shop` is of a mode.
pub(super) fn plan_of(count: usize, app: impl Fn(String) -> App) -> Plan {
    Plan::new(count).with_difys(move |mut setup| {
        for known in &mut setup.apps {
            if known.key.starts_with("app-shop-") {
                *known = app(known.key.clone());
            }
        }
        setup
    })
}

pub(super) async fn rig_of(count: usize, mode: Mode) -> Rig {
    plan_of(count, |key| App::new(mode, key).with_flow(dify_sim::Flow::Llm)).start().await
}

/// A transcript, roles in turn: user, assistant, user …
pub(super) fn messages(texts: &[&str]) -> Value {
    let roles = ["user", "assistant"].into_iter().cycle();
    let message = |(role, text): (&str, &&str)| json!({"role": role, "content": text});
    roles.zip(texts).map(message).collect()
}

/// A question to `shop`.
pub(super) fn ask(texts: &[&str]) -> Request<Bytes> {
    post(
        "/v1/chat/completions",
        &json!({"model": "shop", "messages": messages(texts), "user": "alice"}),
    )
}

/// The answer's text.
pub(super) fn content(answer: &Answer) -> String {
    let json = answer.json();
    json["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}

/// All runs of all Difys.
pub(super) fn runs(rig: &Rig) -> Vec<Ran> {
    rig.difys.iter().flat_map(dify_sim::Dify::runs).collect()
}

/// The data of each event of a stream.
pub(super) fn events(answer: &Answer) -> Vec<String> {
    let text = answer.text();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}
